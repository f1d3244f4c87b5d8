"""Captured training steps of the lecture's models on a GPU: one graph each, of few kernels, that nothing waits for."""

from __future__ import annotations

from typing import Any

import cupy_stand_in
import numpy as np
import pytest
from devices import emulated

import gradlite
from benchmarks.models import data, keras_model
from gradlite import config
from gradlite.backends.cuda.graphs import GraphReplay, ListReplay, bound
from gradlite.training import replay

# Kernels in the graph of one step; lower a number when a step needs fewer.
NODES = {"mnist": 8, "vggnet": 37}


# With batches of 32 on a device of many multiprocessors, where more sums are taken in two launches.
NODES_OF_32 = {"mnist": 8, "vggnet": 40}


def captured_step(monkeypatch: pytest.MonkeyPatch, model: str, batch: int | None = None) -> Any:
    """The program of a training step of one of the lecture's models."""
    found: list[Any] = []
    finish = replay.Steps.finish

    def kept(self: Any) -> None:
        found.extend(self.programs)
        finish(self)

    monkeypatch.setattr(replay.Steps, "finish", kept)
    batch = batch or {"mnist": 8, "vggnet": 2}[model]
    with gradlite.device("gpu"):
        x, y = data(model, 3 * batch)
        keras_model(gradlite.keras, model).fit(x, y, batch_size=batch, verbose=0)
    (program,) = found
    return program


@pytest.mark.parametrize("model", NODES)
def test_a_training_step_is_one_graph_of_few_kernels(gpu, monkeypatch, model):
    program = captured_step(monkeypatch, model)
    assert isinstance(program._replay, GraphReplay), program._replay.reason
    if emulated():
        with cupy_stand_in.counting() as counts:
            program.replay()
        print(f"{model}: {counts.replayed} kernels in one graph")
        assert counts.graph_launches == 1
        assert counts.replayed <= NODES[model]
        waits = counts.synchronizations, counts.host_to_device, counts.device_to_host, counts.operations
        assert waits == (0, 0, 0, 0)
        assert counts.mallocs == 0


@pytest.mark.parametrize("precision", ["highest", "high"])
@pytest.mark.parametrize("model", NODES_OF_32)
def test_a_step_of_a_batch_of_32_is_of_few_kernels_on_a_large_device(gpu, monkeypatch, model, precision):
    """Kernels are counted and not run: emulated, such a step takes minutes."""
    if not emulated():
        pytest.skip("A real device has the multiprocessors that it has.")
    launched: list[str] = []
    config.set_matmul_precision(precision)
    monkeypatch.setattr(gpu, "multiprocessors", 132)
    monkeypatch.setattr(gpu, "compute_capability", (9, 0))
    monkeypatch.setattr(type(gpu), "run", lambda self, kernel, *_, **__: launched.append(kernel.name))
    program = captured_step(monkeypatch, model, 32)
    launched.clear()
    for call in program._replay._calls:
        call()
    print(f"{model}, {precision}: {len(launched)} kernels")
    assert len(launched) <= NODES_OF_32[model]
    assert {"mnist": "gemm", "vggnet": "conv_ffma" if precision == "highest" else "conv_halo"}[model] in launched


def test_the_arena_of_a_step_is_near_what_must_live_at_one_time(gpu, monkeypatch):
    memory = captured_step(monkeypatch, "vggnet").memory
    assert memory.planned_bytes <= 1.05 * memory.live_bytes
    assert memory.planned_bytes < 0.9 * memory.unshared_bytes


def test_calls_that_cannot_be_captured_are_run_one_after_the_other_and_say_why(gpu):
    total = gpu.full((), 0.0)
    values = gpu.asarray(np.arange(4, dtype=np.float32))

    def add_the_sum() -> None:
        gpu.launch("assign_add", total, float(values.sum()))

    runs = bound(gpu, [add_the_sum])
    assert isinstance(runs, ListReplay)
    assert runs.reason
    for _ in range(2):
        runs()
    assert gpu.item(total) == 12


def test_a_capture_that_was_spoilt_says_by_what(gpu):
    runs = bound(gpu, [gpu.synchronize])
    assert isinstance(runs, ListReplay)
    assert "CaptureUnsupported" in runs.reason
    runs()


def test_an_interrupted_capture_leaves_the_stream_to_others(gpu):
    x = gpu.asarray(np.arange(4, dtype=np.float32))

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bound(gpu, [lambda: gpu.launch("relu", x), interrupt])
    assert not gpu.stream.is_capturing()
    np.testing.assert_array_equal(gpu.to_numpy(gpu.launch("add", x, x)), 2 * np.arange(4))
