"""How launches run: the profile, the schedule, and what is checked. And what launches have counted."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
from collections.abc import Iterator
from typing import Any

from .runtime import library

PROFILES = ("fast", "checked")
ORDERS = (0, 1, 2)
COPIES = ("late", "early", "random")  # positions are the runtime's codes
RACES = {"none": 0, "shared": 1, "global": 2, "all": 3}
ROUNDINGS = ("nearest", "zero")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a launch; see :func:`using`."""

    profile: str = "fast"
    order: int = 0
    seed: int = 0
    copies: str = "late"
    race: str = "all"
    rounding: str = "nearest"
    timeout: float = 20.0

    def __post_init__(self) -> None:
        allowed = {"profile": PROFILES, "order": ORDERS, "copies": COPIES, "race": RACES, "rounding": ROUNDINGS}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name}={getattr(self, name)!r}; it is one of {', '.join(map(repr, values))}")
        if not self.timeout > 0:
            raise ValueError(f"timeout={self.timeout!r}; it is a number of seconds above zero")

    def as_options(self) -> Options:
        return Options(
            self.order,
            self.seed & 0x7FFFFFFF,
            COPIES.index(self.copies),
            RACES[self.race],
            max(1, int(self.timeout * 1000)),
            ROUNDINGS.index(self.rounding),
            self.profile == "checked",
        )


class Options(ctypes.Structure):
    """The runtime's ``struct Options``."""

    _fields_ = [
        (name, ctypes.c_int)
        for name in ("order", "seed", "copies", "race", "timeout_ms", "round_toward_zero", "checked")
    ]


class _Statistics(ctypes.Structure):
    """The runtime's ``struct Statistics``."""

    _fields_ = [
        (name, ctypes.c_ulonglong)
        for name in ("launches", "blocks", "switches", "barriers", "warp_operations", "accesses")
    ]


_settings = Settings()


def current_settings() -> Settings:
    """The settings the next launch runs under."""
    return _settings


@contextlib.contextmanager
def using(**changes: Any) -> Iterator[Settings]:
    """Runs launches inside the block under other settings; those not named stay as they are.

    Args:
        profile: "fast" (the default) compiles with optimisation and finds what faults by itself; "checked" is some ten
            times slower and checks every access.
        order: which warp and lane go first: 0 ascending, 1 descending, 2 at random.
        seed: of what is random.
        copies: cp.async lands "late" (when waited for), "early" (at once) or "random".
        race: memory in which the checked profile looks for races: "all", "shared", "global" or "none".
        rounding: of tensor cores' sums, "nearest" after each product or toward "zero" once.
        timeout: seconds of CPU time after which a launch is stopped.
    """
    global _settings
    before = _settings
    _settings = dataclasses.replace(before, **changes)
    try:
        yield _settings
    finally:
        _settings = before


def statistics() -> dict[str, int]:
    """What all launches of this process have done so far: launches, blocks, switches of threads, barriers, warp
    operations, and accesses checked."""
    counted = _Statistics()
    library().emu_statistics(ctypes.byref(counted))
    return {field[0]: getattr(counted, field[0]) for field in _Statistics._fields_}
