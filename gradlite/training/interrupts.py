"""Ctrl-C between steps, never within one: a model that was interrupted is still whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class InterruptBetweenSteps:
    """Holds back the first Ctrl-C until ``check`` is called between two steps; a second one interrupts at once.

    Only in the main thread, and only where Python's own handler is in place. A Ctrl-C after the last ``check`` takes
    effect at the end of the ``with`` block.
    """

    def __init__(self) -> None:
        self._pending = False
        self._previous: Any = None

    def __enter__(self) -> InterruptBetweenSteps:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
        if kind is None:
            self.check()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._pending:
            raise KeyboardInterrupt
        self._pending = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed since the last check."""
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt
