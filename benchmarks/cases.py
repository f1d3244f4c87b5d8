"""What every suite measures, as tables of cases, at three settings: smoke (seconds), quick and full (minutes)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks import work


@dataclass(frozen=True)
class Setting:
    """How thorough a run is."""

    rounds: int
    slow_rounds: int  # of cases that start processes or train to the end
    sample: float  # seconds that a sample should take at least, on a machine of a few cores


SETTINGS = {"smoke": Setting(2, 1, 0.0), "quick": Setting(3, 1, 0.1), "full": Setting(7, 3, 0.2)}
SUITES = ("models", "kernels", "overhead", "scale")


@dataclass(frozen=True)
class Case:
    """One thing that rivals do in turns."""

    suite: str
    name: str
    task: str
    arguments: dict[str, Any]
    units: int = 1  # how many steps, or calls, one run of the work holds
    unit: str = "ms"
    work: dict[str, float] | None = None  # of one unit
    rivals: tuple[str, ...] | None = None  # these alone
    repeat: bool = False  # repeat the work until a sample is long enough
    fresh: bool = False  # each sample from the start of a process of its own
    note: str | None = None
    slow: bool = False
    # Rivals that are left out here, and why.
    without: dict[str, str] = field(default_factory=dict)


def steps_of(model: str, batch: int, setting: Setting) -> int:
    """Steps of an epoch that take about a sample's time: the same for every rival and on every machine."""
    todo = work.training_step(model, batch)
    seconds = 3e-4 + todo["flop"] / 60e9 + todo["bytes"] / 15e9
    return max(2, min(1000, round(setting.sample / seconds)))


def training(suite: str, name: str, model: str, batch: int, setting: Setting, **more: Any) -> Case:
    """Training steps through a whole epoch, its beginning and end included."""
    steps = steps_of(model, batch, setting)
    arguments = {"model": model, "batch": batch, "steps": steps}
    return Case(suite, name, "train", arguments, steps, work=work.training_step(model, batch), **more)


def models(setting: str) -> Iterator[Case]:
    """Networks: training steps and predictions."""
    chosen = SETTINGS[setting]
    for model, batches in {"mnist": (32,), "vggnet": (32,), "alvinn": (32,)}.items():
        for batch in batches:
            yield training("models", f"{model}/train/{batch}", model, batch, chosen)


PLANS: dict[str, Callable[[str], Iterator[Case]]] = {"models": models}
