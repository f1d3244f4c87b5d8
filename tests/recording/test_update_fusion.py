"""Fusion of a dense layer's weight gradient with the update that uses it: where a kernel computes both, same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from programs import drawn

import gradlite
from gradlite import Tensor
from gradlite.backends.cpu import native
from gradlite.recording import Program, Recorder

pytestmark = pytest.mark.usefixtures("each_device")


class Learner:
    """A dense layer with a relu whose weights learn by Adam, and how its step is launched."""

    def __init__(self, backend: Any, inputs: int = 70, units: int = 45) -> None:
        self.backend, self.shape = backend, (inputs, units)
        self.x, self.w, self.b = drawn(9, inputs), drawn(inputs, units), drawn(units)
        self.rate, self.number = Tensor(np.float32(0.01), device=backend.device), Tensor(3, device=backend.device)
        self.m, self.v = gradlite.zeros((inputs * units,)), gradlite.ones((inputs * units,))
        for state in (self.rate, self.number, self.m, self.v):
            assert state.backend is backend

    def gradients(self) -> Any:
        y = gradlite.relu(gradlite.dense(self.x.detach(), self.w, self.b))
        return gradlite.grad(y, [self.w, self.b], gradlite.ones((9, self.shape[1])))

    def update(self, gradient: Any) -> None:
        parameter, gradient = self.w.data.reshape(-1), gradient.data.reshape(-1)
        state = self.m.data, self.v.data, None, self.rate.data, self.number.data
        self.backend.launch("adam", parameter, gradient, *state, beta_1=0.9, beta_2=0.99, epsilon=1e-7)

    def values(self) -> list[bytes]:
        return [x.numpy().tobytes() for x in (self.w, self.m, self.v)]


def test_an_update_computes_the_gradient_of_a_dense_layer_itself_where_a_kernel_does_so(backend):
    at_once = native.is_available() and backend.device == "cpu"
    recorder, learner, twin = Recorder(backend), Learner(backend), Learner(backend)
    with recorder.recording():
        dw, db = learner.gradients()
        learner.update(dw)
        double = db * 2
    program = Program(recorder, [double.data])
    program.replay()
    joined = ("dense", "dense_weight_gradient_adam", "multiply")
    assert program.launches == (joined if at_once else ("dense", "dense_weight_gradient", "adam", "multiply"))
    for _ in range(2):
        dw, db = twin.gradients()
        twin.update(dw)
    assert learner.values() == twin.values()
    assert backend.to_numpy(program.outputs[0]).tobytes() == (db * 2).numpy().tobytes()


@pytest.mark.parametrize("why", ["the gradient is read", "the bias's is kept", "the weights are read", "clipped"])
def test_a_gradient_that_others_want_is_computed(backend, why):
    recorder, learner = Recorder(backend), Learner(backend)
    with recorder.recording():
        dw, db = learner.gradients()
        outputs = [db] if why == "the bias's is kept" else [db * 2]
        if why == "the gradient is read":
            outputs.append(dw * 2)
        if why == "clipped":
            backend.launch("scale", dw.data, factor=0.5)
        if why == "the weights are read":
            outputs.append(learner.w * db)
        learner.update(dw)
    assert "dense_weight_gradient_adam" not in Program(recorder, [x.data for x in outputs]).launches
