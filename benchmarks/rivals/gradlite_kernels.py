"""gradlite on the CPU: kernels alone through the launch boundary, single operations, a captured step taken apart."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    """A call of one kernel as a captured step makes it: planned before, into buffers that are there."""
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
    recorder = Recorder(get_backend("cpu"))
    with recorder.recording():
        out = recorder.backend.launch(name, *arrays, **attributes)
    # An update of its operands has no result.
    outputs = () if out is None else out if isinstance(out, tuple) else (out,)
    program = Program(recorder, outputs)

    def call() -> Any:
        program.replay()
        return program.outputs

    return call


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
        seconds that a replay of it takes by itself (the fastest of many), how many launches a step makes, eager and
        captured, and the bytes of its buffers: as planned, side by side, and the most that live at one time.
    """
    x, y = data(model, 3 * batch)
    net = keras_model(gradlite.keras, model)
    found: dict[str, Any] = {}
    with _noting_programs() as programs:

        def look(epoch: int, logs: Any) -> None:
            # During the training, while the data are where the step reads them. Its program is the longest.
            found["program"] = program = max(programs, key=lambda program: len(program.launches))
            found["seconds"] = min(timeit.repeat(program.replay, number=1, repeat=repeats))

        watching = gradlite.keras.callbacks.LambdaCallback(on_epoch_end=look)
        net.fit(x, y, batch_size=batch, verbose=0, callbacks=[watching])
    program = found["program"]
    eager = keras_model(gradlite.keras, model, run_eagerly=True)
    eager.train_on_batch(x[:batch], y[:batch])  # the first also makes the optimizer's state
    recorder = Recorder(get_backend("cpu"))
    with recorder.recording():
        eager.train_on_batch(x[:batch], y[:batch])
    return {
        "kernels_seconds": found["seconds"],
        "launches_eager": len(recorder.calls),
        "launches_captured": len(program.launches),
        "buffers_planned": program.memory.planned_bytes,
        "buffers_side_by_side": program.memory.unshared_bytes,
        "buffers_live": program.memory.live_bytes,
    }


@contextmanager
def _noting_programs() -> Iterator[list[Program]]:
    """Inside, the programs that are recorded are noted."""
    programs: list[Program] = []
    initialize = Program.__init__

    def noted(self: Program, *arguments: Any, **options: Any) -> None:
        initialize(self, *arguments, **options)
        programs.append(self)

    Program.__init__ = noted  # type: ignore[method-assign]
    try:
        yield programs
    finally:
        Program.__init__ = initialize  # type: ignore[method-assign]
