"""The benchmarks measure what they say: every suite runs at a tiny setting, and what is computed from it is right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradlite
from benchmarks import documents, footprint, growth, models, noise, rivals, work
from benchmarks.cases import SETTINGS, SUITES, plan
from benchmarks.images import Images, train_until
from benchmarks.operands import operands
from benchmarks.procedures import PROCEDURES
from benchmarks.rivals import gradlite_kernels
from benchmarks.workers import Worker, WorkerError

ROOT = Path(__file__).parents[1]
IMAGES = Images("digits", "nowhere.npz")


def run_suites(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments, "--setting", "smoke", "--out", str(out)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_every_suite_runs_and_writes_a_document_and_its_report(tmp_path):
    done = run_suites(tmp_path, "--rivals", "gradlite-numpy,gradlite-numpy-eager,numpy")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    document = documents.parse(data)
    for suite in SUITES:
        asked = {case.name for case in plan(suite, "smoke", IMAGES)}
        # What a captured step is made of is shown as several cases.
        asked -= {case.name for case in plan(suite, "smoke", IMAGES) if case.how == "inside"}
        assert asked <= {m.case for m in document.suite(suite)}
    assert data["missing"] == {}, done.stderr
    assert {"copy_gb_s", "sgemm_gflop_s", "launch_us"} == set(document.ceilings)
    assert {fit["case"] for fit in document.fits} == {f"scale/mlp/{x}" for x in ("batch", "width", "depth")} | {
        "scale/mnist/dataset"
    }
    by_rival = {m.rival: m for m in document.measurements if m.case == "step/mnist/2"}
    assert set(by_rival) == {"gradlite-numpy", "gradlite-numpy-eager", "gradlite-numpy-kernels"}
    assert path.with_suffix(".html").read_text(encoding="utf-8").startswith("<!")
    assert "gradlite" in done.stdout


def test_what_is_not_there_is_named_when_it_is_asked_for(tmp_path):
    assert "no suite named speed" in run_suites(tmp_path, "speed").stderr
    assert "no rival named caffe" in run_suites(tmp_path, "--rivals", "caffe").stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("suite", SUITES)
def test_cases_have_names_of_their_own_and_known_tasks_and_ways(suite, setting):
    cases = list(plan(suite, setting, IMAGES))
    assert len({(case.name, case.how) for case in cases}) == len(cases)
    tasks = {task for rival in rivals.RIVALS.values() for task in rival.tasks} | {"import", "install"}
    for case in cases:
        assert case.task in tasks
        assert case.how in PROCEDURES
        assert set(case.rivals or ()) <= set(rivals.RIVALS)


def test_a_rival_that_fails_says_why_and_lives_on():
    with Worker("numpy", 1) as worker:
        worker.ready()
        with pytest.raises(WorkerError, match="KeyError: 'train'"):
            worker.request("prepare", task="train", arguments={}, warmups=1)
        worker.request("prepare", task="operation", arguments={"name": "exp"}, warmups=1)
        assert worker.request("run", repeats=3)["seconds"] > 0
        assert worker.request("memory")["mib"] > 1
        assert worker.cpu_seconds() > 0


def test_a_rival_whose_process_ends_says_its_last_words(monkeypatch):
    unknown = rivals.Rival("no_such_rival", ("numpy",), ("train",), "")
    monkeypatch.setitem(rivals.RIVALS, "numpy", unknown)
    with Worker("numpy", 1) as worker:
        worker.process.kill()
        with pytest.raises(WorkerError, match="its process ended"):
            worker.ready()


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(rivals.RIVALS, "numpy", rivals.Rival("numpy_rival", ("numpy", "no_such_library"), (), ""))
    assert rivals.why_missing("numpy") == "no_such_library is not installed"
    assert rivals.why_missing("gradlite-numpy") is None


@pytest.mark.parametrize("name", [*models.ARCHITECTURES, "mlp-8x3"])
def test_parameters_are_counted_as_the_network_has_them(name):
    net = models.keras_model(gradlite.keras, name)
    trainable = sum(int(np.prod(variable.shape)) for variable in net.trainable_variables)
    assert work.Count(models.architecture(name)).parameters == trainable
    x, y = models.data(name, 3)
    assert net.predict(x, verbose=0).shape[-1] == models.architecture(name).outputs
    assert np.isfinite(net.evaluate(x, y, verbose=0)).all()


def test_work_is_what_was_counted_by_hand():
    # 784 x 512 and 512 x 10 multiply-adds; forward, both weight gradients, one input gradient.
    assert work.training_step("mnist", 32)["flop"] == 32 * 2 * (2 * (784 * 512 + 5120) + 5120)
    assert work.prediction("alvinn", 1) == {"flop": 2 * (3840 + 120), "bytes": 4 * (3994 + 960 + 2 * 4 + 30)}
    assert work.training_step("vggnet", 1)["flop"] == pytest.approx(157.7e6, rel=1e-3)
    assert work.matrix_product(2, 3, 5) == {"flop": 60, "bytes": 4 * (6 + 15 + 10)}
    assert work.convolution(2, 4, 3, 5) == {"flop": 2 * 9 * 32 * 15, "bytes": 4 * (32 * 8 + 135)}


def test_an_unknown_network_is_refused_by_name():
    with pytest.raises(ValueError, match="No network is named 'resnet'"):
        models.architecture("resnet")


def test_exponents_are_found_with_an_interval_that_holds_them():
    rng = np.random.default_rng(5)
    x = [2.0**k for k in range(8)]
    exact, (low, high) = growth.exponent(x, [3 * value**2 for value in x])
    assert (exact, low, high) == pytest.approx((2, 2, 2))
    inside = 0
    for _ in range(200):
        noisy = [value**1.5 * np.exp(rng.normal(0, 0.1)) for value in x]
        _, (low, high) = growth.exponent(x, noisy)
        inside += low <= 1.5 <= high
    assert 175 <= inside <= 200  # 95 % of 200, give or take four standard deviations
    with pytest.raises(ValueError, match="three points"):
        growth.exponent([1, 2], [1, 2])


def test_growth_is_fitted_where_fixed_costs_have_faded():
    x = [1, 2, 4, 8, 1000, 2000, 4000, 8000]
    rows = [
        {"suite": "scale", "case": f"mlp/batch/{n}", "rival": "numpy", "samples": [1 + n, 1 + n, 50 * n]} for n in x
    ]
    (fit,) = growth.fits(rows)
    assert fit["case"] == "scale/mlp/batch"
    assert fit["x"] == x[4:]
    assert fit["exponent"] == pytest.approx(1, abs=0.01)


def test_noise_is_stated():
    quiet, loud = noise.Noise(), noise.Noise()
    quiet.samples = loud.samples = 100
    loud.disturbed = 40
    assert not quiet.statement([[1.0, 1.01, 1.02]])["too_noisy"]
    assert loud.statement([[1.0, 1.01, 1.02]])["too_noisy"]
    assert quiet.statement([[1.0, 2.0, 3.0]])["too_noisy"]
    assert "40 of 100" in loud.statement([])["note"]


def test_processor_time_of_others_is_noticed():
    if noise._busy_seconds() is None:
        pytest.skip("the system does not say")
    window = noise.Window()
    end = np.float64(0)
    while noise.time.perf_counter() - window.start < 0.3:
        end += 1
    # All that this process used counts as another's here, and as ours there.
    assert window.foreign(own_seconds=0) > 0.5 / (noise.os.cpu_count() or 1)
    assert window.foreign(own_seconds=1e6) == 0


def test_a_captured_step_is_taken_apart():
    found = gradlite_kernels.inside("mnist", 32, 2)  # a smaller batch has little but roundings to whole cache lines
    assert 0 < found["launches_captured"] <= found["launches_eager"]
    assert found["kernels_seconds"] > 0
    assert 0 < found["buffers_live"] <= found["buffers_planned"] <= found["buffers_side_by_side"]


def test_training_ends_at_the_target():
    shares = iter([0.2, 0.9, 1.0])
    labels = np.ones(10)
    trained = []
    found = train_until(0.9, 5, labels, lambda: trained.append(1), lambda: np.arange(10) < 10 * next(shares))
    assert found == {"epochs": 2, "accuracy": 0.9}
    assert len(trained) == 2


def test_what_gradlite_takes_installed_counts_its_requirements():
    alone = footprint._own_bytes("gradlite")
    assert 1e5 < alone < 1e7
    assert footprint.installed_bytes(("gradlite",)) > alone + 1e6  # NumPy


KERNELS = {
    "matmul": {"n": 3, "k": 4, "m": 5},
    "conv2d": {"batch": 2, "side": 5, "channels": 3, "filters": 4},
    "conv2d_input_gradient": {"batch": 2, "side": 5, "channels": 3, "filters": 4},
    "conv2d_weight_gradient": {"batch": 2, "side": 5, "channels": 3, "filters": 4},
    "relu": {"elements": 9},
    "exp": {"elements": 9},
    "add": {"elements": 9},
    "sum": {"elements": 9},
    "column_sum": {"rows": 4, "columns": 3},
    "batch_norm": {"batch": 2, "side": 4, "channels": 3},
    "batch_norm_gradient": {"batch": 2, "side": 4, "channels": 3},
    "max_pool2d": {"batch": 2, "side": 4, "channels": 3},
    "sparse_softmax_cross_entropy": {"rows": 4, "classes": 3},
}


def first(result):
    """The first array that a kernel returned."""
    results = result if isinstance(result, (tuple, list)) else [result]
    return np.asarray(next(part for part in results if part is not None))


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_other_libraries_compute_the_same_as_gradlite(library):
    pytest.importorskip(library)
    module = pytest.importorskip(f"benchmarks.rivals.{library}_kernels")
    for name, sizes in KERNELS.items():
        ours = first(gradlite_kernels.kernel(name, **sizes)())
        other = first(module.kernel(name, **sizes)())
        if library == "torch" and other.ndim == 4:
            other = other.transpose((2, 3, 1, 0) if name == "conv2d_weight_gradient" else (0, 2, 3, 1))
        np.testing.assert_allclose(np.squeeze(ours), other, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", models.ARCHITECTURES)
def test_other_libraries_build_the_same_network(name):
    parameters = work.Count(models.architecture(name)).parameters
    torch_rival = pytest.importorskip("benchmarks.rivals.torch_rival")
    assert sum(p.numel() for p in torch_rival.network(name).parameters()) == parameters
    jax_rival = pytest.importorskip("benchmarks.rivals.jax_rival")
    assert sum(p.size for layer in jax_rival.initial(name)[0] for p in layer.values()) == parameters


def test_operands_of_an_unknown_kernel_are_refused():
    with pytest.raises(ValueError, match="No kernel is named 'fft'"):
        operands("fft", batch=1, side=1, channels=1)
