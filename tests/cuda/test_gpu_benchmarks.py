"""The benchmarks that a GPU is to run work: at tiny sizes, on whatever device the tests have."""

from __future__ import annotations

import argparse
import json
import sys

import pytest

import gradlite
from benchmarks import documents, gpu_kernels, gpu_profile, gpu_steps, work
from benchmarks import gpu as command


def rows_of(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [module.__name__, "--small"])
    monkeypatch.setattr(module, "optional_torch", lambda: None)
    with gradlite.device("cpu"):
        module.main()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_kernels_are_measured_warm_and_cold_in_every_precision(gpu, monkeypatch, capsys):
    monkeypatch.setattr(gpu_kernels, "ROUNDS", 3)
    monkeypatch.setattr(gpu_kernels, "PRODUCTS", gpu_kernels.PRODUCTS[:2])
    monkeypatch.setattr(gpu_kernels, "LAYERS", gpu_kernels.LAYERS[:2])
    monkeypatch.setattr(gpu_kernels, "CACHE_BYTES", 4096)
    rows = rows_of(gpu_kernels, monkeypatch, capsys)
    ceilings = rows.pop(0)["ceilings"]
    assert set(ceilings) == {"copy_gb_s", "sgemm_gflop_s", "sgemm_exact_gflop_s", "launch_us"}
    assert min(ceilings.values()) > 0
    assert {row["kernel"] for row in rows} >= {"matmul", "conv2d", "conv2d_weight_gradient", "adam", "copy"}
    assert {row.get("precision") for row in rows} == {None, "highest", "high", "medium"}
    for row in rows:
        ours = row["times"]["gradlite"]
        assert len(ours["warm_us"]) == len(ours["cold_us"]) == 3
        assert ours["warm_us"][1] > 0
        assert {len(samples) for samples in ours["samples"].values()} == {3}


def test_training_steps_are_measured(gpu, monkeypatch, capsys):
    monkeypatch.setattr(gpu_steps, "ROUNDS", 3)
    rows = rows_of(gpu_steps, monkeypatch, capsys)
    assert [row["precision"] for row in rows] == ["tf32", "bf16"]
    for row in rows:
        assert row["model"] == "mnist"
        assert row["gradlite_over_it"] == {"gradlite": 1.0}
        assert row["us_a_step"]["gradlite"][1] > 0
        assert len(row["samples"]["gradlite"]) == 3
        assert row["work"] == work.training_step("mnist", 4)


def test_a_step_is_found_in_a_trace_by_what_repeats_and_begins_behind_the_longest_gap():
    step = [("gather", 2.0), ("gemm", 7.0), ("gemm", 5.0), ("adam", 4.0)]
    events, now = [{"name": "shuffle", "ts": 0.0, "dur": 3.0}], 10.0
    for _ in range(12):
        for name, duration in step:
            now += 3.0 if name == "gather" else 0.1
            events.append({"name": name, "ts": now, "dur": duration, "args": {"grid": [1, 1, 1]}})
            now += duration
    found = gpu_profile.profile(events)
    assert [(k["name"], k["us"]) for k in found["kernels"]] == step
    assert (found["nodes"], found["kernels_us"], found["step_us"]) == (4, 18.0, 21.3)


def test_a_trace_in_which_nothing_repeats_has_no_step():
    events = [{"name": f"kernel {i}", "ts": float(i), "dur": 0.5} for i in range(100)]
    assert gpu_profile.profile(events)["kernels"] == []


def test_the_command_says_what_it_needs(monkeypatch, capsys):
    from benchmarks.__main__ import main

    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu"])
    with pytest.raises(SystemExit):
        main()
    assert "--out" in capsys.readouterr().err


def test_the_document_names_the_device_its_driver_and_the_commit(gpu):
    document = command.new_document(small=True)
    found = document["machine"]["gpu"]
    assert found["name"]
    assert found["multiprocessors"] == gpu.multiprocessors
    assert found["driver"] >= 12000
    assert found["cupy"]
    assert document["commit"]


def test_rows_become_measurements_of_the_documents_form(gpu):
    times = {"warm_us": [1, 2, 3], "cold_us": [2, 3, 4], "samples": {"warm": [1.0, 2.0], "cold": [3.0, 4.0]}}
    product = {"kernel": "matmul", "case": "square/8", "precision": "high", "work": work.matrix_product(8, 8, 8)}
    ceilings = {"copy_gb_s": 1000.0, "sgemm_gflop_s": 10000.0, "launch_us": 3.0}
    step = {
        "model": "mnist",
        "batch": 32,
        "precision": "bf16",
        "samples": {"gradlite": [20.0], "torch captured": [30.0]},
    }
    step["work"] = None
    document = command.new_document(small=True)
    document["kernels"] = [{"ceilings": ceilings}, {**product, "times": {"gradlite": times}}, {"error": ["it broke"]}]
    document["steps"] = [step]
    command.fill(document)
    parsed = documents.parse(document)
    assert {(m.case, m.rival): m.samples for m in parsed.measurements} == {
        ("matmul-tf32/square/8", "gradlite-cuda"): [1.0, 2.0],
        ("matmul-tf32-cold/square/8", "gradlite-cuda"): [3.0, 4.0],
        ("mnist/train-bf16/32", "gradlite-cuda"): [0.02],
        ("mnist/train-bf16/32", "torch-captured"): [0.03],
    }
    assert parsed.ceilings == {"gpu": ceilings}


def test_the_command_writes_its_document_and_the_report(gpu, monkeypatch, tmp_path, capsys):
    times = {"samples": {"warm": [1.0, 2.0, 1.5], "cold": [3.0, 4.0, 3.5]}}
    row = {"kernel": "matmul", "case": "square/8", "precision": "highest", "work": work.matrix_product(8, 8, 8)}
    step = {
        "model": "mnist",
        "batch": 32,
        "precision": "tf32",
        "samples": {"gradlite": [20.0, 21.0]},
        "work": work.training_step("mnist", 32),
    }
    ceilings = {"copy_gb_s": 1000.0, "sgemm_gflop_s": 10000.0, "sgemm_exact_gflop_s": 9000.0, "launch_us": 3.0}
    rows = {
        "gpu_kernels": [{"ceilings": ceilings}, {**row, "times": {"gradlite": times}}],
        "gpu_steps": [step],
        "gpu_profile": [],
    }
    monkeypatch.setattr(command, "measured", lambda module, small: rows[module])
    command.run(argparse.Namespace(out=tmp_path, skip_tests=True, small=True))
    document = documents.load(tmp_path / "gpu.json")
    assert document.kind == "gpu"
    assert len(document.measurements) == 3
    assert document.gpu_name in (tmp_path / "gpu.html").read_text(encoding="utf-8")
    assert "gpu.json" in capsys.readouterr().out


def test_a_part_that_fails_leaves_its_error_in_the_report(monkeypatch):
    rows = command.measured("no_such_module", True)
    assert "No module named benchmarks.no_such_module" in rows[-1]["error"][-1]
