"""Was the machine quiet? What others used of the processors while a sample was taken, and how far samples spread."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STAT = Path("/proc/stat")
# A share of the processors that others, or the hypervisor, took: above it a sample is taken again, once.
FOREIGN = 0.10
# Medians of the interquartile range over the median, and shares of samples with foreign load: too noisy above.
TOO_WIDE, TOO_OFTEN = 0.15, 0.25


class Window:
    """Processor time that is not ours between two moments; nothing where the system does not say."""

    def __init__(self) -> None:
        self.start, self.busy = time.perf_counter(), _busy_seconds()

    def foreign(self, own_seconds: float) -> float:
        """The share of all processors that others took since, of which ``own_seconds`` were ours."""
        elapsed = time.perf_counter() - self.start
        # The system counts in hundredths of a second: shorter windows cannot be told from its rounding.
        if self.busy is None or elapsed < 0.05:
            return 0.0
        others = (_busy_seconds() or 0.0) - self.busy - own_seconds
        return max(0.0, others - 0.02) / (elapsed * (os.cpu_count() or 1))


def _busy_seconds() -> float | None:
    if not STAT.exists():
        return None
    fields = [int(field) for field in STAT.read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _wait, irq, soft, steal = fields[:8]
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


class Noise:
    """What was seen over a run."""

    def __init__(self) -> None:
        self.samples = self.disturbed = self.repeated = 0

    def may_repeat(self) -> bool:
        """Whether a disturbed sample is worth taking again: not on a machine where most are."""
        return self.repeated < 10 + 0.2 * self.samples

    def statement(self, samples: Sequence[Sequence[float]]) -> dict[str, Any]:
        """The document's ``noise``: the usual spread of samples, and whether the run can be trusted."""
        spreads = [spread(row) for row in samples if len(row) > 1]
        wide = statistics.median(spreads) if spreads else 0.0
        often = self.disturbed / self.samples if self.samples else 0.0
        note = f"Quartiles lie {wide:.0%} of the median apart, as the median of all cases."
        if self.samples:
            note += (
                f" {self.disturbed} of {self.samples} samples met foreign load above {FOREIGN:.0%}, "
                f"{self.repeated} were taken again."
            )
        return {
            "spread": wide,
            "disturbed": often,
            "too_noisy": wide > TOO_WIDE or often > TOO_OFTEN,
            "note": note,
        }


def spread(samples: Sequence[float]) -> float:
    """The distance of the quartiles over the median."""
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return (high - low) / middle if middle else 0.0
