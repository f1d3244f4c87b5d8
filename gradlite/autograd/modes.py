"""Whether operations are recorded, per thread: no_grad and enable_grad; and what converts their inputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from typing import Any


class Mode(threading.local):
    """A thread's state of recording."""

    grad: bool = True
    checkpoint: Any = None  # the checkpoint (see checkpoint.py) whose function is running
    # What inputs of operations pass through first: a layer of mixed precision has its weights converted there.
    autocast: Callable[[Sequence[Any]], Sequence[Any]] | None = None


mode = Mode()


class _SetGrad(ContextDecorator):
    """Set recording on entry and restore what was there on exit; may be entered again while entered."""

    _value: bool

    def __init__(self) -> None:
        self._previous: list[bool] = []

    def _recreate_cm(self) -> _SetGrad:
        # A decorated function may run in several threads at once: each call remembers its own previous state.
        return type(self)()

    def __enter__(self) -> None:
        self._previous.append(mode.grad)
        mode.grad = self._value

    def __exit__(self, *_: object) -> None:
        mode.grad = self._previous.pop()


class no_grad(_SetGrad):
    """Do not record operations: as a context manager, or as a decorator.

    >>> import gradlite
    >>> x = gradlite.Tensor([1.0], requires_grad=True)
    >>> with gradlite.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    _value = False


class enable_grad(_SetGrad):
    """Record operations, also inside ``no_grad``: as a context manager, or as a decorator."""

    _value = True


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread now."""
    return mode.grad
