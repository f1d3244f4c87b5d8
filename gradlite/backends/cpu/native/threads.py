"""How many parts a launch is cut into."""

from __future__ import annotations

from gradlite.backends.cpu import parallel

# Operations below which a second thread costs more than it saves: some three microseconds of one.
SMALL_WORK = 300_000


def threads_for(work: float) -> int:
    """How many parts so many arithmetic operations are worth."""
    return parallel.get_num_threads() if work >= SMALL_WORK else 1
