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
        self._started = 0  # since the last mark, and the time that these took
        self._spent = 0.0
        self._begun = perf_counter()
        self.steps = 1

    def begin(self) -> None:
        """Steps are about to be started."""
        self._begun = perf_counter()

    def done(self, steps: int) -> None:
        """So many steps were started. Waits where the device is far behind."""
        self._started += steps
        enough = self._started >= self.steps
        if enough:
            self._marks.append(self._backend.mark())
            if len(self._marks) > AHEAD:
                mark = self._marks.popleft()
                if not mark.done:
                    mark.synchronize()
        self._spent += perf_counter() - self._begun
        if enough:
            wanted = int(SECONDS * self._started / max(self._spent, 1e-9))
            self.steps = max(1, min(wanted, GROWTH * self.steps, MOST_STEPS))
            self._started, self._spent = 0, 0.0
