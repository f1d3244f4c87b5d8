"""What is made from the results of benchmarks: statistics, tables, comparisons, charts and the page are right."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import charts, compare, documents, readme, report, report_page, report_rivals, report_tables, samples
from benchmarks.charts_svg import linear_ticks, log_ticks, number, spread, text_width
from benchmarks.roofline import reached


def measurement(case: str, rival: str, values: list[float], **more: Any) -> dict[str, Any]:
    """A measurement of the suite "models" in ms, unless more says otherwise."""
    return {"suite": "models", "case": case, "rival": rival, "unit": "ms", "better": "lower", "samples": values, **more}


def document(*measurements: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A document with these measurements."""
    made = {
        "schema": 1,
        "kind": "suite",
        "date": "2026-11-26T12:00:00Z",
        "commit": "abc1234",
        "dirty": False,
        "machine": {"name": "2-core test machine", "cores": 2, "memory_gib": 24.0, "os": "Linux", "gpu": None},
        "versions": {"gradlite": "1.0", "python": "3.11.7", "torch": "2.14"},
        "settings": {"suites": ["models"], "rounds": 3, "setting": "full", "threads": 2},
        "missing": {"gradlite-cuda": "no GPU: <none> & nothing"},
        "ceilings": {"copy_gb_s": 20.0, "sgemm_gflop_s": 200.0, "launch_us": 0.2},
        "noise": {"spread": 0.05, "too_noisy": False, "note": "quiet"},
        "measurements": list(measurements),
        "fits": [],
    }
    return {**made, **more}


def full(seed: int = 0, **more: Any) -> dict[str, Any]:
    """A document with every suite and many rivals."""
    rng = np.random.default_rng(seed)
    rows = []

    def add(suite: str, case: str, rival: str, unit: str, value: float, **rest: Any) -> None:
        values = [float(v) for v in value * np.exp(rng.normal(0, 0.05, 5))]
        rows.append(measurement(case, rival, values, suite=suite, unit=unit, configuration="2 threads", **rest))

    peers = ["torch-eager", "torch-compiled", "keras-jax", "keras-tensorflow", "jax-jit", "jax-scan"]
    for scale, rival in enumerate(["gradlite-cpu", "gradlite-numpy", *peers, "something-new"], 1):
        for batch in (1, 32, 1024):
            work = {"flop": 1e6 * batch, "bytes": 1e6 + 1e3 * batch}
            add("models", f"mnist/train/{batch}", rival, "ms", scale * (1 + batch / 50), work=work)
        add("models", "mnist/start", rival, "s", scale)
        add(
            "kernels",
            "matmul/first/32",
            rival,
            "GFLOP/s",
            90 / scale,
            better="higher",
            work={"flop": 1e9, "bytes": 1e7},
        )
        add("kernels", "relu/elements/4096", rival, "GB/s", 9, better="higher", work={"flop": 0, "bytes": 1e7})
        add("overhead", "operation/exp", rival, "us", 5 * scale)
        add("scale", "mlp/width/64", rival, "ms", scale)
        add("scale", "mlp/width/256", rival, "ms", 15 * scale)
    rows.append(measurement("launches/mnist/32", "gradlite-cpu", [20], suite="overhead", unit="count"))
    fit = {"case": "scale/mlp/width", "rival": "gradlite-cpu", "x": [64, 256], "y": [1, 15], "exponent": 1.95}
    fits = [{**fit, "interval": [1.9, 2.0]}, {**fit, "rival": "gradlite-numpy"}]
    return document(*rows, fits=fits, **more)


# Statistics


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 11, 100])
def test_quartiles_are_those_of_numpy(size):
    values = np.random.default_rng(size).lognormal(size=size)
    q = samples.quartiles(list(values))
    np.testing.assert_allclose((q.low, q.median, q.high), np.quantile(values, [0.25, 0.5, 0.75]), rtol=1e-12)


def test_ratios_are_taken_pair_by_pair_so_that_drift_cancels():
    drift = np.array([1.0, 5.0, 2.0, 9.0, 1.5])
    q = samples.pair_ratio(list(3 * drift), list(2 * drift))
    assert (q.low, q.median, q.high) == pytest.approx((1.5, 1.5, 1.5))
    assert samples.pair_ratio([1, 2, 4], [1, 1]).median == 1.5


def test_the_bootstrap_interval_agrees_with_resampling_by_hand():
    a, b = np.random.default_rng(1).lognormal(0, 0.1, (2, 9))
    low, high = samples.bootstrap(list(a), list(1.5 * b))
    rng = np.random.default_rng(77)
    ratios = [np.median(rng.choice(1.5 * b, 9)) / np.median(rng.choice(a, 9)) for _ in range(20000)]
    np.testing.assert_allclose((low, high), np.quantile(ratios, [0.005, 0.995]), rtol=0.03)
    assert samples.bootstrap(list(a), list(1.5 * b)) == (low, high)


def test_the_geometric_mean_treats_twice_and_half_alike():
    assert samples.geometric_mean([0.5, 2.0]) == pytest.approx(1.0)


# Documents


def broken(change: Callable[[dict[str, Any]], Any]) -> Any:
    """A sound document after a change."""
    data = document(measurement("mnist/train/32", "gradlite-cpu", [1.0, 2.0]))
    return change(data) or data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: ["a list"], "holds a list, expected an object"),
        (lambda d: d.pop("schema") and None, "its schema is None, expected 1"),
        (lambda d: d.update(schema=7), "its schema is 7, expected 1"),
        (lambda d: d.update(measurements=None), "no list 'measurements'"),
        (lambda d: d.update(date="yesterday"), "its date is 'yesterday'"),
        (lambda d: d.update(machine="mine"), "'machine' is a str"),
        (lambda d: d.update(fits=[{"case": "scale/mlp/width"}]), "fit 0 lacks"),
        (lambda d: d["measurements"].append("text"), "measurement 1: is a str"),
        (lambda d: d["measurements"][0].pop("unit") and None, "measurement 0: its 'unit' is None"),
        (lambda d: d["measurements"][0].update(better="more"), "its 'better' is 'more'"),
        (lambda d: d["measurements"][0].update(samples=[]), "mnist/train/32, gradlite-cpu.: has no samples"),
        (lambda d: d["measurements"][0].update(samples=[1.0, float("nan")]), "nan among its samples"),
        (lambda d: d["measurements"][0].update(samples=["1"]), "'1' among its samples"),
        (lambda d: d["measurements"].append(d["measurements"][0]), "is there twice"),
        (lambda d: {"results": [{"model": "mnist"}]}, "in a form that is not known"),
    ],
)
def test_what_is_wrong_with_a_document_is_said(change, message):
    with pytest.raises(documents.DocumentError, match=message) as error:
        documents.parse(broken(change), "some.json")
    assert str(error.value).startswith("some.json: ")


def test_files_that_are_missing_or_no_json_are_named(tmp_path):
    with pytest.raises(documents.DocumentError, match=r"nothing\.json: cannot be read"):
        documents.load(tmp_path / "nothing.json")
    (tmp_path / "text.json").write_text("seconds: 3")
    with pytest.raises(documents.DocumentError, match=r"text\.json: is not JSON"):
        documents.load(tmp_path / "text.json")
    (tmp_path / "good.json").write_text(json.dumps(document()))
    found, skipped = documents.load_all(tmp_path)
    assert [d.name for d in found] == ["good.json"]
    assert list(skipped) == ["text.json"]


def test_the_older_forms_are_read():
    steps = documents.load(documents.RESULTS / "2026-11-26-steps.json")
    raw = json.loads((documents.RESULTS / "2026-11-26-steps.json").read_text())
    medians = {(m.case, m.rival): m.median for m in steps.measurements}
    for row in raw["results"]:
        case = f"{row['model']}/train/{row['batch']}"
        assert medians[case, "gradlite-numpy"] == pytest.approx(row["rivals"]["gradlite"]["median_ms"])
        assert medians[case, "torch-eager"] == pytest.approx(row["rivals"]["pytorch"]["median_ms"])
    capture = documents.load(documents.RESULTS / "2026-11-26-capture.json")
    assert {m.rival for m in capture.measurements} == {"gradlite-numpy", "gradlite-numpy-eager"}
    assert steps.old
    assert "EPYC" in steps.machine_name


def test_a_case_is_split_into_its_group_and_its_parameter():
    first, second = documents.parse(
        document(
            measurement("mnist/train/32", "gradlite-cpu", [2.0]), measurement("mnist/start", "gradlite-cpu", [1.0])
        )
    ).measurements
    assert (first.group, first.parameter, first.seconds) == ("mnist/train", 32.0, 0.002)
    assert (second.group, second.parameter) == ("mnist/start", None)


# Standings, rooflines, tables


def known() -> documents.Document:
    """Two cases whose tables can be worked out by hand."""
    return documents.parse(
        document(
            measurement("mnist/train/32", "gradlite-cpu", [1.0, 2.0, 3.0]),
            measurement("mnist/train/32", "torch-eager", [2.0, 2.0, 2.0]),
            measurement("mnist/train/32", "keras-jax", [4.0, 5.0, 6.0]),
            measurement("mnist/train/32", "numpy", [0.1, 0.1, 0.1]),
            measurement("mnist/train/128", "gradlite-cpu", [3.0, 3.0, 3.0]),
            measurement("mnist/train/128", "keras-jax", [4.0, 4.0, 4.0]),
        ),
        "known.json",
    )


def test_the_best_peer_is_the_fastest_that_does_the_same_work():
    first, second = report_rivals.standings(known(), "models")
    assert (first.ours.rival, first.peer.rival) == ("gradlite-cpu", "torch-eager")
    assert (first.ratio.low, first.ratio.median, first.ratio.high) == (0.75, 1.0, 1.25)
    assert (second.peer.rival, second.ratio.median) == ("keras-jax", 0.75)


def test_a_ratio_below_one_means_faster_for_rates_too():
    rows = [measurement("matmul/n/8", name, [rate], unit="GFLOP/s", better="higher", suite="kernels")
            for name, rate in (("gradlite-cpu", 40.0), ("torch-eager", 20.0))]  # fmt: skip
    (stands,) = report_rivals.standings(documents.parse(document(*rows)), "kernels")
    assert stands.ratio.median == 0.5


def test_known_documents_give_known_tables():
    table = report_tables.rivals_table("Models", known().suite("models"))
    assert report_tables.markdown(table).splitlines() == [
        "| case | gradlite | PyTorch | Keras on JAX | NumPy | our time / best peer's | best peer |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| MNIST network, training step, batch 32 | **2.00** | 2.00 | 5.00 | 0.100 | 1.00× [0.750 to 1.25] | PyTorch |",
        "| MNIST network, training step, batch 128 | **3.00** | – | 4.00 | – | 0.750× [0.750 to 0.750] "
        "| Keras on JAX |",
    ]
    text = report_tables.terminal(known())
    assert re.search(r"MNIST network, training step, batch 32 ms +2\.00 \* +2\.00 ", text)
    assert "2.00 <small>[1.50 to 2.50]</small>" in report_tables.html(table)
    assert "faster in 1 and slower in 0; in 1 the quartiles leave it open" in text


def test_the_floor_is_set_by_whichever_ceiling_is_lower():
    d = documents.parse(document())
    memory = measurement("relu/n/1", "gradlite-cpu", [1.0], unit="ms", work={"flop": 1e6, "bytes": 1e7})
    arithmetic = measurement("matmul/n/1", "gradlite-cpu", [50.0], unit="GFLOP/s", work={"flop": 1e9, "bytes": 1e7})
    first, second = (documents.parse(document(row)).measurements[0] for row in (memory, arithmetic))
    r = reached(first, d)
    assert r is not None
    assert (r.bound, r.floor, r.fraction, r.gb_s) == (
        "memory",
        pytest.approx(5e-4),
        pytest.approx(0.5),
        pytest.approx(10),
    )
    r = reached(second, d)
    assert r is not None
    assert (r.bound, r.fraction, r.seconds) == ("arithmetic", pytest.approx(0.25), pytest.approx(0.02))
    assert reached(first, documents.parse(document(ceilings={}))) is None


def test_kernels_on_a_gpu_are_held_to_the_peak_of_their_precision():
    d = document(kind="gpu", ceilings={"gpu": {"copy_gb_s": 1e3, "sgemm_gflop_s": 400.0, "sgemm_exact_gflop_s": 100.0}})
    work = {"flop": 1e8, "bytes": 1.0}
    fractions = {}
    for suite, case in (("kernels", "matmul/square/1"), ("kernels", "matmul-tf32-cold/square/1"),
                        ("kernels", "matmul-bf16/square/1"), ("models", "mnist/train/1")):  # fmt: skip
        m = documents.parse({**d, "measurements": [measurement(case, "gradlite-cuda", [1.0], suite=suite, work=work)]})
        r = reached(m.measurements[0], m)
        fractions[case.partition("/")[0]] = r and round(r.fraction, 6)
    assert fractions == {"matmul": 1.0, "matmul-tf32-cold": 0.25, "matmul-bf16": None, "mnist": 0.25}
    assert report_tables.case_name("matmul-tf32-cold/square/1") == "matrix product TF32 cold cache, square, 1"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1234.4, "1234"), (99.96, "100"), (12.34, "12.3"), (1, "1.00"), (0.01234, "0.0123")]
)
def test_numbers_have_three_digits_that_count(value, text):
    assert number(value) == text


# README.md


def test_the_readme_shows_the_newest_full_run_of_each_kind():
    made = [
        documents.parse(full(date="2026-01-01", commit="old")),
        documents.parse(full(date="2026-02-01", commit="new")),
        documents.parse(full(date="2026-03-01", commit="quick", settings={"setting": "quick"})),
    ]
    block = readme.block(made)
    assert "commit new" in block
    assert "2026-02-01, on 2-core test machine (Python 3.11.7, PyTorch 2.14)" in block
    assert "| MNIST network, batch 32 |" in block
    assert "batch 1 |" not in block
    assert not re.search("old|quick", block)


def test_only_what_is_between_the_markers_is_replaced():
    text = f"before {readme.BEGIN} stale {readme.END} after"
    assert readme.replaced(text, f"{readme.BEGIN} new {readme.END}") == f"before {readme.BEGIN} new {readme.END} after"
    for bad in ("nothing", text + text, f"{readme.END} {readme.BEGIN}"):
        with pytest.raises(ValueError, match="once each"):
            readme.replaced(bad, "new")


# Comparing


def pair(factor: float, **more: Any) -> tuple[documents.Document, documents.Document]:
    """Two documents of a case, the second with other samples, and gradlite slower or faster by a factor."""
    rng = np.random.default_rng(3)
    found = []
    for i in (0, 1):
        rows = []
        for name, scale in (("gradlite-cpu", factor if i else 1), ("torch-eager", 2)):
            rows.append(measurement("mnist/train/32", name, list(scale * rng.lognormal(0, 0.03, 7)), **more))
        found.append(documents.parse(document(*rows), f"{'AB'[i]}.json"))
    return found[0], found[1]


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "same"), (1.5, "slower"), (0.6, "faster")])
def test_what_moved_beyond_noise_is_told_from_what_did_not(factor, verdict):
    ours, peer = compare.changes(*pair(factor))
    assert (ours.verdict, peer.verdict) == (verdict, "same")
    assert ours.ratio == pytest.approx(factor, rel=0.1)
    assert ours.interval[0] <= ours.ratio <= ours.interval[1]
    assert not ours.with_the_machine


def test_higher_rates_are_faster():
    (ours, _) = compare.changes(*pair(1.5, better="higher", unit="GFLOP/s"))
    assert ours.verdict == "faster"


def test_a_change_within_the_noise_that_a_run_states_is_none():
    a, b = pair(1.2)
    noisy = documents.parse({**document(), "noise": {"spread": 0.3}})
    assert next(compare.changes(a, b)).verdict == "slower"
    row, other = a.measurements[0], b.measurements[0]
    assert compare.change(row, other, noisy.noise["spread"]).verdict == "same"


def test_two_samples_are_too_few_and_counts_have_no_noise():
    def change(unit: str, before: list[float], after: list[float]) -> str:
        rows = [documents.parse(document(measurement("x/1", "gradlite-cpu", s, unit=unit))) for s in (before, after)]
        return next(compare.changes(*rows)).verdict

    assert change("ms", [1.0, 1.0], [2.0, 2.0]) == "too few samples"
    assert change("count", [20], [21]) == "slower"
    assert change("MiB", [20], [20]) == "same"


def test_a_machine_that_slows_down_is_not_held_against_us():
    a = document(*(measurement("x/train/1", n, [1.0, 1.1, 1.2, 1.3]) for n in ("gradlite-cpu", "torch-eager")))
    b = document(*(measurement("x/train/1", n, [2.0, 2.2, 2.4, 2.6]) for n in ("gradlite-cpu", "torch-eager")))
    first, second = documents.parse(a), documents.parse(b)
    ours = next(compare.changes(first, second))
    assert ours.moved
    assert ours.with_the_machine
    assert "as the peer did" in compare.text(first, second)
    assert compare.slower(first, second, 0) == []


def run_compare(*arguments: str) -> None:
    """The command ``compare``."""
    parser = argparse.ArgumentParser()
    compare.add_arguments(parser)
    parsed = parser.parse_args(list(arguments))
    parsed.run(parsed)


def test_the_exit_code_of_compare(tmp_path, capsys):
    names = {}
    for factor in (1.0, 1.5):
        a, b = (d.measurements for d in pair(factor))
        for name, rows in (("a", a), (str(factor), b)):
            names[name] = str(tmp_path / f"{name}.json")
            data = document(*(measurement(m.case, m.rival, m.samples) for m in rows))
            Path(names[name]).write_text(json.dumps(data))
    run_compare(names["a"], names["1.0"], "--fail-on-slower", "5")
    assert "Nothing moved beyond noise." in capsys.readouterr().out
    with pytest.raises(SystemExit, match="1"):
        run_compare(names["a"], names["1.5"], "--fail-on-slower", "5")
    assert "slower in 1 cases" in capsys.readouterr().err
    run_compare(names["a"], names["1.5"], "--fail-on-slower", "80")


def test_files_that_cannot_be_compared_say_why(tmp_path, capsys):
    for name, data in (
        ("list", [1]),
        ("one", document(measurement("a/1", "gradlite-cpu", [1.0]))),
        ("none", document()),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    for a, b, why in (
        ("list", "one", "holds a list"),
        ("gone", "one", "cannot be read"),
        ("one", "none", "no case and rival in common"),
    ):
        with pytest.raises(SystemExit, match="2"):
            run_compare(str(tmp_path / f"{a}.json"), str(tmp_path / f"{b}.json"))
        assert why in capsys.readouterr().err


def test_a_result_is_found_by_its_name():
    assert compare.find("2026-11-26-steps") == documents.RESULTS / "2026-11-26-steps.json"


# The page


def rendered(path: Path, *data: dict[str, Any]) -> str:
    """The page of documents."""
    return report.render(list(data), path / "report.html").read_text(encoding="utf-8")


def two_runs_and_a_gpu() -> list[dict[str, Any]]:
    """What gives every section."""
    gpu_rows = [
        measurement("mnist/train/32", name, [0.1, 0.11, 0.12])
        for name in ("gradlite-cuda", "torch-captured", "torch-eager")
    ]
    gpu = {"name": "some GPU", "driver": 1, "cuda": 1, "memory_gib": 80}
    machine = {"name": "16-core host", "gpu": gpu}
    return [
        full(1, date="2026-10-01T10:00:00Z"),
        full(2, missing={f"jax-jit in models/mnist/train/{i}": "failed" for i in range(9)}),
        document(
            *gpu_rows,
            kind="gpu",
            machine=machine,
            ceilings={"gpu": {"copy_gb_s": 2e3, "sgemm_gflop_s": 4e4, "sgemm_exact_gflop_s": 1e4}},
        ),
    ]


def test_the_page_is_well_formed_complete_and_needs_nothing_else(tmp_path):
    page = rendered(tmp_path, *two_runs_and_a_gpu())
    tree = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    assert tree.tag == "html"
    assert not re.search(r"https?:|//|src=|url\(|@import|<script|<link", page)
    headings = [heading.text for heading in tree.iter("h2")]
    for title in ("Models", "Kernels", "Roofline", "Overhead", "Scaling", "CPU against GPU", "Over time"):
        assert title in headings
    pictures = [svg for svg in tree.iter("svg") if svg.get("role") == "img"]
    assert len(pictures) > 15
    assert all(svg.get("aria-label") for svg in pictures)
    assert all(tree.find(f".//*[@id='{link.get('href', '')[1:]}']") is not None for link in tree.iter("a"))
    assert "prefers-color-scheme: dark" in page
    assert "gradlite (NumPy) x^1.95" in page
    assert "9 in single cases" in page
    assert page.count("JAX jit: failed (") == 1


def test_the_page_names_machine_date_commit_noise_and_what_is_missing(tmp_path):
    page = rendered(tmp_path, document(measurement("a/train/1", "gradlite-cpu", [1.0]), dirty=True))
    for text in (
        "2-core test machine", "2026-11-26T12:00:00Z", "commit abc1234 with changes", "setting full", "torch 2.14",
        "quiet enough", "copy 20.0 GB/s", "no GPU: &lt;none&gt; &amp; nothing",
    ):  # fmt: skip
        assert text in page
    noisy = rendered(tmp_path, document(noise={"too_noisy": True, "note": "loud"}))
    assert "too noisy to be trusted" in noisy


def test_documents_with_gaps_are_rendered(tmp_path):
    lonely = document(measurement("a/train/1", "torch-eager", [1.0]), ceilings={}, noise={}, versions={}, machine={})
    ElementTree.fromstring(rendered(tmp_path, lonely).removeprefix("<!DOCTYPE html>\n"))
    zeros = document(
        *(measurement("launches/x/1", n, [0], suite="overhead", unit="count") for n in ("gradlite-cpu", "torch-eager"))
    )
    ElementTree.fromstring(rendered(tmp_path, zeros).removeprefix("<!DOCTYPE html>\n"))
    with pytest.raises(documents.DocumentError, match="no document"):
        report.render([], tmp_path / "none.html")


def test_no_text_leaves_its_picture_and_no_names_overlap(tmp_path):
    tree = ElementTree.fromstring(rendered(tmp_path, *two_runs_and_a_gpu()).removeprefix("<!DOCTYPE html>\n"))
    for svg in tree.iter("svg"):
        width, height = map(float, svg.get("viewBox", "").split()[2:])
        names = []
        for text in svg.iter("text"):
            if text.get("transform"):
                continue
            kind, x, y = text.get("class", ""), float(text.get("x", 0)), float(text.get("y", 0))
            size = 11 if re.search("tick|value|name$", kind) and kind != "name" else 12
            room = text_width(text.text or "", size, "ours" in kind)
            left = x - {"start": 0, "middle": room / 2, "end": room}[text.get("text-anchor", "start")]
            assert left >= -2, (svg.get("aria-label"), text.text)
            assert left + room <= width + 2, (svg.get("aria-label"), text.text)
            assert 8 <= y <= height, text.text
            if kind.startswith(("name", "pointname", "label", "value")):
                names.append((left, y - 9, left + room, y + 2))
        for a, b in combinations(names, 2):
            assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]), svg.get("aria-label")


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("dark", [False, True])
def test_every_rival_has_a_colour_of_its_own_that_can_be_seen(dark):
    theme = report_page.DARK if dark else report_page.LIGHT
    colours = {name: (r.dark if dark else r.light) for name, r in report_rivals.RIVALS.items()}
    assert len(set(colours.values())) == len(colours)
    for one, other in combinations(colours.values(), 2):
        assert max(abs(int(one[i : i + 2], 16) - int(other[i : i + 2], 16)) for i in (1, 3, 5)) >= 16
    texts = {key: theme[key] for key in ("--ink", "--soft", "--good", "--bad")}
    for least, group in ((3.0, colours), (4.5, texts)):
        for name, colour in group.items():
            for ground in (theme["--page"], theme["--card"]):
                light, deep = sorted((luminance(colour), luminance(ground)), reverse=True)
                assert (light + 0.05) / (deep + 0.05) >= least, (name, ground)
    for name, colour in colours.items():
        assert f"--rival-{name}: {colour};" in report_rivals.variables(dark)


def test_rivals_that_the_suite_measures_have_a_name_and_a_colour():
    from benchmarks.rivals import RIVALS

    assert set(RIVALS) <= set(report_rivals.RIVALS)


# Drawing


def test_labels_are_moved_apart_and_stay_in_order_and_inside():
    rng = np.random.default_rng(0)
    for _ in range(200):
        places = list(rng.uniform(0, 100, rng.integers(1, 8)))
        moved = spread(places, 12, 0, 100)
        ordered = sorted(moved)
        assert np.all(np.diff(ordered) >= 12 - 1e-6)
        assert ordered[0] >= -1e-6
        assert ordered[-1] <= 100 + 1e-6
        assert np.array_equal(np.argsort(places, kind="stable"), np.argsort(moved, kind="stable"))
    assert spread([10, 50, 90], 12, 0, 100) == [10, 50, 90]


def test_ticks_are_round_within_the_axis_and_not_too_many():
    rng = np.random.default_rng(0)
    for _ in range(200):
        low = 10 ** rng.uniform(-4, 3)
        high = low * 10 ** rng.uniform(0.1, 6)
        for ticks in (log_ticks(low, high, 7), linear_ticks(0, high, 7)):
            assert 1 <= len(ticks) <= 9
            assert all(tick <= high * (1 + 1e-9) for tick in ticks)
            assert all(float(f"{tick:.2g}") == pytest.approx(tick) for tick in ticks) or high / low < 4


def test_bars_start_at_one_and_point_to_the_faster_side():
    bars = [charts.Bar("a", "gradlite-cpu", 0.5, "0.5×"), charts.Bar("b", "gradlite-cpu", 2.0, "2×")]
    tree = ElementTree.fromstring(charts.ratio_chart("ratios", bars, "faster", "slower"))
    first, second = ({k: float(box.get(k, 0)) for k in ("x", "width")} for box in tree.iter("rect"))
    assert first["x"] + first["width"] == pytest.approx(second["x"], abs=0.2)
    assert first["width"] == pytest.approx(second["width"], abs=0.2)


# The command


def run_report(*arguments: str) -> None:
    """The command ``report``."""
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    parsed = parser.parse_args(list(arguments))
    parsed.run(parsed)


def test_the_command_renders_a_directory_and_names_what_it_skips(tmp_path, capsys):
    (tmp_path / "one.json").write_text(json.dumps(full()))
    (tmp_path / "bad.json").write_text("{}")
    run_report("--results", str(tmp_path), "--out", str(tmp_path / "pages" / "report.html"))
    page = (tmp_path / "pages" / "report.html").read_text(encoding="utf-8")
    assert "bad.json: its schema is None" in page
    assert "from 1 files" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        run_report("--results", str(tmp_path / "pages"), "--out", str(tmp_path / "none.html"))
    assert not (tmp_path / "none.html").exists()


def test_every_committed_result_can_be_rendered(tmp_path):
    run_report("--out", str(tmp_path / "report.html"))
    ElementTree.fromstring((tmp_path / "report.html").read_text(encoding="utf-8").removeprefix("<!DOCTYPE html>\n"))


def test_what_all_peers_do_between_two_runs_is_the_machines_drift():
    times = {f"p{i}/train/32": 1.0 + i for i in range(12)}

    def run(factor: float, ours: float) -> documents.Document:
        rows = [measurement(case, "torch-eager", [t * factor] * 5) for case, t in times.items()]
        return documents.parse(document(*rows, measurement("p0/train/32", "gradlite-cpu", [ours] * 5)))

    before, after = run(1.0, 1.0), run(1.15, 1.1)
    assert compare.drift(before, after) == pytest.approx(0.15)
    verdicts = {c.before.rival: c.verdict for c in compare.changes(before, after)}
    assert verdicts == {"torch-eager": "same", "gradlite-cpu": "same"}
    assert {c.verdict for c in compare.changes(before, run(1.0, 1.3)) if c.before.rival == "gradlite-cpu"} == {"slower"}
