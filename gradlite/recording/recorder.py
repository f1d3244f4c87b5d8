"""Recorder: stands in the launch boundary while a function runs, and notes every launch."""

from __future__ import annotations

import inspect
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gradlite.backends import Backend
from gradlite.backends.base import ARRAY_FUNCTIONS
from gradlite.backends.registry import REFERENCE

_boundary = threading.Lock()
_PACKAGE = str(Path(__file__).parents[1])


class CaptureError(RuntimeError):
    """A function that cannot be captured; the message names the line that stands in the way."""


@dataclass
class Call:
    """One launch: what ran, on which arrays, and the fresh arrays that it returned (none for an update)."""

    name: str
    function: Callable[..., Any]
    arrays: tuple[Any, ...]
    attributes: dict[str, Any]
    results: tuple[Any, ...]
    takes_out: bool


@cache
def takes_out(kernel: str) -> bool:
    """Whether a kernel writes into a buffer that it is given as ``out``."""
    return kernel in ARRAY_FUNCTIONS or "out" in inspect.signature(REFERENCE[kernel]).parameters


def is_recording(backend: Backend) -> bool:
    """Whether a recorder, or a measurement of what one would hold, stands in the boundary of ``backend`` now."""
    return "launch" in vars(backend)


@contextmanager
def _standing_in(backend: Backend, **methods: Callable[..., Any]) -> Iterator[None]:
    """These functions in the place of the backend's methods; one at a time, whichever thread asks."""
    with _boundary:
        if is_recording(backend):
            raise CaptureError("A captured function cannot be recorded while another one is.")
        vars(backend).update(methods)
    try:
        yield
    finally:
        with _boundary:
            for name in methods:
                delattr(backend, name)


class Recorder:
    """Records the launches of one backend in one thread, while they run as always.

    >>> import gradlite
    >>> from gradlite.backends import get_backend
    >>> recorder = Recorder(get_backend("cpu"))
    >>> with recorder.recording():
    ...     y = gradlite.Tensor([1.0, 2.0]).exp() * 2
    >>> [call.name for call in recorder.calls]
    ['exp', 'multiply']

    Attributes:
        calls: the launches, in order.
        obstacles: where and how values were read on the host, which a replay could not repeat.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.calls: list[Call] = []
        self.obstacles: list[str] = []
        self._thread = threading.get_ident()
        self._inside = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Note every launch of this thread until the block ends.

        Raises:
            CaptureError: if the backend is being recorded already.
        """
        real = self.backend
        self._launch, self._call = real.launch, real.call
        with _standing_in(
            real,
            launch=self._noted,
            call=self._called,
            to_numpy=self._reading(real.to_numpy),
            item=self._reading(real.item),
        ):
            yield

    def _noted(self, kernel: str, *arrays: Any, **attributes: Any) -> Any:
        if self._inside or threading.get_ident() != self._thread:
            return self._launch(kernel, *arrays, **attributes)
        self._inside = True  # what a kernel launches on its way belongs to it
        try:
            result = self._launch(kernel, *arrays, **attributes)
        finally:
            self._inside = False
        function = self.backend.function(kernel, arrays, attributes)
        return self._note(kernel, function, arrays, attributes, result, takes_out(kernel))

    def _called(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """A call of the array module: a view stays one, and everything else is run again in a replay."""
        if self._inside or threading.get_ident() != self._thread:
            return self._call(function, *arguments, **options)
        self._inside = True
        try:
            result = self._call(function, *arguments, **options)
        finally:
            self._inside = False
        if not isinstance(result, (self.backend.array_type, tuple)):
            return result
        memory_of, kind = self.backend.memory_of, self.backend.array_type
        given = {memory_of(x).identity for x in arrays_in((arguments, tuple(options.values())), kind)}
        if all(memory_of(x).identity in given for x in arrays_in(result, kind)):
            return result
        name = getattr(function, "__qualname__", repr(function))
        return self._note(name, function, arguments, options, result, False)

    def _note(
        self,
        name: str,
        function: Callable[..., Any],
        arrays: tuple[Any, ...],
        attributes: dict[str, Any],
        result: Any,
        has_out: bool,
    ) -> Any:
        """Enter a call. Numbers that NumPy returns in place of arrays become arrays, which a replay can write to."""
        several = isinstance(result, tuple)
        results = tuple(self._as_array(part) for part in result) if several else (self._as_array(result),)
        fresh = () if result is None or attributes.get("out") is not None else results
        self.calls.append(Call(name, function, arrays, attributes, fresh, has_out))
        if result is None:
            return None
        return results if several else results[0]

    def _as_array(self, part: Any) -> Any:
        return part if part is None or isinstance(part, self.backend.array_type) else self.backend.asarray(part)

    def _reading(self, read: Callable[..., Any]) -> Callable[..., Any]:
        def noted(array: Any) -> Any:
            if threading.get_ident() == self._thread:
                self.obstacles.append(f"a value is read on the host {_where()}")
            return read(array)

        return noted


@contextmanager
def measuring(backend: Backend) -> Iterator[list[int]]:
    """A list of the bytes of every array that a launch returns until the block ends: together, what recording the same
    launches will keep alive at one time, because a recorder holds everything until the program is made."""
    sizes: list[int] = []
    launch = backend.launch

    def noted(kernel: str, *arrays: Any, **attributes: Any) -> Any:
        result = launch(kernel, *arrays, **attributes)
        if attributes.get("out") is None:
            sizes.extend(array.nbytes for array in arrays_in(result, backend.array_type))
        return result

    with _standing_in(backend, launch=noted):
        yield sizes


def arrays_in(value: Any, kind: type) -> Iterator[Any]:
    """The arrays in a launch's argument: itself, or those in tuples and lists."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from arrays_in(part, kind)


def _where() -> str:
    """The innermost line outside this package, or else outside this file, that led here."""
    stack = traceback.extract_stack(sys._getframe(2))
    outside = [frame for frame in stack if not frame.filename.startswith(_PACKAGE)]
    chosen = outside[-1] if outside else stack[-1]
    return f"in {chosen.filename}, line {chosen.lineno}: {chosen.line or ''}".rstrip(": ")
