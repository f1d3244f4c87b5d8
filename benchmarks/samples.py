"""Statistics of samples: quartiles, ratios pair by pair, and intervals by the bootstrap. Results store samples only."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 4000


@dataclass(frozen=True)
class Quartiles:
    """The lower quartile, the median and the upper quartile."""

    low: float
    median: float
    high: float

    def overlaps(self, other: Quartiles) -> bool:
        """Whether the two ranges between quartiles have a value in common."""
        return self.low <= other.high and other.low <= self.high


def quartiles(samples: Sequence[float]) -> Quartiles:
    """Quartiles by linear interpolation between the samples, as ``numpy.quantile`` has them."""
    if len(samples) == 1:
        return Quartiles(samples[0], samples[0], samples[0])
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Quartiles(low, middle, high)


def pair_ratio(a: Sequence[float], b: Sequence[float]) -> Quartiles:
    """Quartiles of round i of ``a`` over round i of ``b``.

    Rivals take turns within a round, so that what slows the machine for a while meets both and cancels. Where one list
    is longer, its surplus is left out.
    """
    return quartiles([x / y for x, y in zip(a, b)])


def bootstrap(a: Sequence[float], b: Sequence[float], confidence: float = 0.99, seed: int = 0) -> tuple[float, float]:
    """The interval of median(b) / median(a), for samples of two separate runs, which are not paired.

    Percentile bootstrap (Efron 1979): both lists are drawn anew with replacement, ``RESAMPLES`` times. The seed is
    fixed, so that the same files give the same verdict.
    """
    rng = np.random.default_rng(seed)
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    medians = [np.median(rng.choice(values, (RESAMPLES, len(values))), axis=1) for values in (first, second)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(medians[1] / medians[0], [tail, 1 - tail])
    return float(low), float(high)


def geometric_mean(ratios: Sequence[float]) -> float:
    """The mean that treats twice as fast and half as fast alike."""
    return statistics.geometric_mean(ratios)
