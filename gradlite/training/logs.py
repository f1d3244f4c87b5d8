"""RunningLogs: the loss and the metrics while training runs, for those who want them exact and those who do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradlite.backends import Backend
from gradlite.tensor import Tensor

Logs = dict[str, Any]


class RunningLogs:
    """The values of metrics by name. Called, it waits for those of the last step; ``newest`` waits for nothing.

    Args:
        backend: where the values are.
        results: gives the results of all metrics by name, as Tensors or numbers.
        as_number: makes a value of the logs of what arrived.
    """

    def __init__(
        self, backend: Backend, results: Callable[[], dict[str, Any]], as_number: Callable[[Any], Any]
    ) -> None:
        self._backend = backend
        self._results = results
        self._as_number = as_number
        self._pending: tuple[dict[str, Any], Any] | None = None
        self._newest: Logs | None = None

    def __call__(self) -> Logs:
        return {name: self._as_number(value) for name, value in self._results().items()}

    def newest(self) -> Logs:
        """The last values that have arrived on the host; new ones are sent for. Only the first time it waits."""
        self._collect(wait=False)
        if self._pending is None:
            results = self._results()
            sent = {name: value for name, value in results.items() if isinstance(value, Tensor)}
            self._pending = results, self._backend.read_later([value.data for value in sent.values()])
            self._collect(wait=self._newest is None)
        assert self._newest is not None
        return self._newest

    def _collect(self, wait: bool) -> None:
        if self._pending is None or not (wait or self._pending[1].done):
            return
        results, reading = self._pending
        arrived = iter(reading.values())
        self._newest = {
            name: self._as_number(next(arrived) if isinstance(value, Tensor) else value)
            for name, value in results.items()
        }
        self._pending = None
