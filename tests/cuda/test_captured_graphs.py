"""Captured training steps of the lecture's models on a GPU: one graph each, of few kernels, that nothing waits for."""

from __future__ import annotations

from typing import Any

import cupy_stand_in
import numpy as np
import pytest
from devices import emulated

import gradlite
from benchmarks.rivals import data, keras_model
from gradlite.backends.cuda.graphs import GraphReplay, ListReplay, bound
from gradlite.training import replay

# Kernels in the graph of one step; lower a number when a step needs fewer.
NODES = {"mnist": 8, "vggnet": 37}


def captured_step(monkeypatch: pytest.MonkeyPatch, model: str) -> Any:
    """The program of a training step of one of the lecture's models, in exact float32."""
    found: list[Any] = []
    finish = replay.Steps.finish

    def kept(self: Any) -> None:
        found.extend(self.programs)
        finish(self)

    monkeypatch.setattr(replay.Steps, "finish", kept)
    batch = {"mnist": 8, "vggnet": 2}[model]
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
