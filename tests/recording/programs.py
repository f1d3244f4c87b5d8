"""What tests of fusion share: random tensors, and programs of functions with what they launch."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradlite
from gradlite import Tensor
from gradlite.recording import Program, Recorder


def drawn(*shape: int) -> Tensor:
    values = np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)
    return Tensor(values, requires_grad=True, device=gradlite.get_device())


def recorded(backend: Any, function: Any) -> tuple[tuple[str, ...], list[np.ndarray], list[np.ndarray]]:
    """What a program of ``function`` launches, and its results: of the recorded run, and of a replay."""
    recorder = Recorder(backend)
    with recorder.recording():
        results = function()
    before = [result.numpy() for result in results]
    program = Program(recorder, [result.data for result in results])
    program.replay()
    return program.launches, before, [backend.to_numpy(array) for array in program.outputs]


def assert_fused(backend: Any, function: Any, *expected: str) -> None:
    launches, before, after = recorded(backend, function)
    assert launches == expected
    for a, b in zip(before, after):
        assert a.tobytes() == b.tobytes()
