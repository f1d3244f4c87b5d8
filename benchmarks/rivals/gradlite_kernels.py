"""gradlite on the CPU: kernels called alone through the launch boundary, single operations, a captured step taken apart."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gradlite
from benchmarks.models import data, keras_model
from benchmarks.operands import DROPOUT, EPSILON, operands
from gradlite.backends import get_backend
from gradlite.recording import Program, Recorder

Work = Callable[[], Any]
CONVOLUTION = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
POOL = {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}
ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}


def kernel(name: str, **sizes: int) -> Work:
    """A call of one kernel, into buffers that are there, as in a captured step."""
    arrays: list[Any] = list(operands(name, **sizes))
    attributes: dict[str, Any] = {}
    if name.startswith("conv2d"):
        attributes = dict(CONVOLUTION)
        side, channels, filters = sizes["side"], sizes["channels"], sizes["filters"]
        if name == "conv2d":
            arrays.append(None)  # no bias
        elif name == "conv2d_input_gradient":
            attributes["input_shape"] = (sizes["batch"], side, side, channels)
        else:
            attributes["kernel_shape"] = (3, 3, channels, filters)
    elif name == "sum":
        attributes = {"axis": None, "keepdims": True}
    elif name in ("batch_norm", "batch_norm_gradient"):
        attributes = {"epsilon": EPSILON}
    elif name == "max_pool2d":
        attributes = POOL
    elif name == "dropout":
        arrays.append(np.array([1, 2, 3], np.uint64))
        attributes = {"rate": DROPOUT}
    elif name == "adam":
        arrays += [None, np.array(1e-3, np.float32), np.array(3)]
        attributes = ADAM
    launch = get_backend("cpu").launch
    out = launch(name, *arrays, **attributes)
    if out is None:  # it updates its operands
        return lambda: launch(name, *arrays, **attributes)
    return lambda: launch(name, *arrays, **attributes, out=out)


def operation(name: str) -> Work:
    """exp, multiply or add of one number, forward and backward."""
    x, constant = gradlite.Tensor([1.5], requires_grad=True), gradlite.Tensor([2.0])

    def exp() -> None:
        x.grad = None
        gradlite.exp(x).backward()

    def multiply() -> None:
        x.grad = None
        (x * constant).backward()

    def add() -> None:
        x.grad = None
        (x + constant).backward()

    return {"exp": exp, "multiply": multiply, "add": add}[name]


def inside(model: str, batch: int, repeats: int) -> dict[str, float]:
    """A captured training step taken apart.

    Returns:
        seconds that its kernels take by themselves (each the fastest of many calls, one after the other), how many
        launches a step makes, eager and captured, and the bytes of its buffers: as planned, side by side, and the most
        that live at one time.
    """
    x, y = data(model, 3 * batch)
    net = keras_model(gradlite.keras, model)
    programs, calls = _recorded(lambda: net.fit(x, y, batch_size=batch, verbose=0))
    # The step of training is the longest of what was recorded.
    program, bound = max(zip(programs, calls), key=lambda pair: len(pair[1]))
    best = [float("inf")] * len(bound)
    for _ in range(repeats):
        for i, call in enumerate(bound):
            start = time.perf_counter()
            call()
            best[i] = min(best[i], time.perf_counter() - start)
    eager = keras_model(gradlite.keras, model, run_eagerly=True)
    recorder = Recorder(get_backend("cpu"))
    with recorder.recording():
        eager.train_on_batch(x[:batch], y[:batch])
    return {
        "kernels_seconds": sum(best),
        "launches_eager": len(recorder.calls),
        "launches_captured": len(program.launches),
        "buffers_planned": program.memory.planned_bytes,
        "buffers_side_by_side": program.memory.unshared_bytes,
        "buffers_live": program.memory.live_bytes,
    }


def _recorded(train: Callable[[], Any]) -> tuple[list[Program], list[list[Callable[[], Any]]]]:
    """What is recorded meanwhile: the programs, and the calls that each makes."""
    backend: Any = get_backend("cpu")
    programs: list[Program] = []
    calls: list[list[Callable[[], Any]]] = []
    initialize, bind = Program.__init__, backend.bind

    def noted(self: Program, *arguments: Any, **options: Any) -> None:
        initialize(self, *arguments, **options)
        programs.append(self)

    Program.__init__ = noted  # type: ignore[method-assign]
    backend.bind = lambda bound: calls.append(bound) or bind(bound)
    try:
        train()
    finally:
        Program.__init__ = initialize  # type: ignore[method-assign]
        del backend.bind
    return programs, calls
