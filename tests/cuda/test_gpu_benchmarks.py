"""The benchmarks that a GPU is to run work: at tiny sizes, on whatever device the tests have."""

from __future__ import annotations

import json
import sys

import pytest

import gradlite
from benchmarks import gpu as command
from benchmarks import gpu_kernels, gpu_steps


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
    assert {row["kernel"] for row in rows} >= {"matmul", "conv2d", "conv2d_weight_gradient", "adam", "copy"}
    assert {row.get("precision") for row in rows} == {None, "highest", "high", "medium"}
    for row in rows:
        ours = row["times"]["gradlite"]
        assert len(ours["warm_us"]) == len(ours["cold_us"]) == 3
        assert ours["warm_us"][1] > 0


def test_training_steps_are_measured(gpu, monkeypatch, capsys):
    monkeypatch.setattr(gpu_steps, "ROUNDS", 3)
    (row,) = rows_of(gpu_steps, monkeypatch, capsys)
    assert row["model"] == "mnist"
    assert row["gradlite_over_it"] == {"gradlite": 1.0}
    assert row["us_a_step"]["gradlite"][1] > 0


def test_the_command_says_what_it_needs(monkeypatch, capsys):
    from benchmarks.__main__ import main

    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu"])
    with pytest.raises(SystemExit):
        main()
    assert "--out" in capsys.readouterr().err


def test_the_report_names_the_device_its_driver_and_the_commit(gpu):
    found = command.machine()
    assert found["device"]
    assert found["multiprocessors"] == gpu.multiprocessors
    assert found["driver"] >= 12000
    assert found["cupy"]


def test_a_part_that_fails_leaves_its_error_in_the_report(monkeypatch):
    rows = command.measured("no_such_module", True)
    assert "No module named benchmarks.no_such_module" in rows[-1]["error"][-1]
