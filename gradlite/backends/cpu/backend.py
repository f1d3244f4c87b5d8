"""CpuBackend: runs recorded programs, runs of native launches as one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from gradlite.backends.base import Backend
from gradlite.backends.cpu.rows import CpuRows
from gradlite.backends.rows import Rows


class CpuBackend(Backend):
    """The CPU."""

    def bind(self, calls: Sequence[Callable[[], Any]]) -> Callable[[int], None]:
        """One function that makes all calls in order; neighbours that have plans are one list of native launches."""
        steps: list[Callable[[], Any]] = []
        planned = [(call, _plan_of(call)) for call in calls]
        for is_native, group in groupby(planned, key=lambda pair: pair[1] is not None):
            if is_native:
                from gradlite.backends.cpu.native.launches import bind_plans

                steps.append(bind_plans([plan for _, plan in group]))
            else:
                steps += [call for call, _ in group]
        return super().bind(steps)

    def rows(self, arrays: Sequence[Any] = (), order: Any = None) -> Rows:
        return CpuRows(self, arrays, order)


def _plan_of(call: Callable[[], Any]) -> Any:
    """The plan of a bound call of a kernel that has one for these arrays; or None."""
    if not isinstance(call, partial):
        return None
    planner = getattr(call.func, "plan", None)
    return None if planner is None else planner(*call.args, **call.keywords)
