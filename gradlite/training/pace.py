"""Pace: how many steps are started at once, so that Python is no limit and the progress bar moves all the same."""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import Any

from gradlite.backends import Backend

# Between two looks at the bar, Ctrl-C and the rest of the host's affairs.
SECONDS = 0.03
MOST_STEPS = 4096
GROWTH = 4
# A device may be so many pieces behind the host.
AHEAD = 2


class Pace:
    """Finds the number of steps that take about ``SECONDS``, from how long the ones before took.

    Attributes:
        steps: how many to start next.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._marks: deque[Any] = deque()
        self._unmarked = 0
        self._last = perf_counter()
        self.steps = 1

    def begin(self) -> None:
        """The steps that come now are the next ones to be timed."""
        self._last = perf_counter()

    def done(self, steps: int) -> None:
        """So many steps were started. Waits where the device is far behind."""
        self._unmarked += steps
        if self._unmarked < self.steps:
            return
        self._marks.append(self._backend.mark())
        if len(self._marks) > AHEAD:
            self._marks.popleft().synchronize()
        now = perf_counter()
        wanted = int(SECONDS * self._unmarked / max(now - self._last, 1e-9))
        self.steps = max(1, min(wanted, GROWTH * self.steps, MOST_STEPS))
        self._unmarked, self._last = 0, now
