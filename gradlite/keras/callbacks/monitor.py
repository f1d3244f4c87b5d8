"""What EarlyStopping, ModelCheckpoint and ReduceLROnPlateau share: reading a log and knowing what an improvement is."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any

from gradlite.keras.callbacks.base import Callback, Logs
from gradlite.keras.utils.lookup import suggest

# Used only where the model has no metric of that name to ask.
_UP = re.compile(r"(^|_)(acc|accuracy|auc|precision|recall|f1|f1_score|iou|r2_score)(_\d+)?$", re.IGNORECASE)
_DOWN = re.compile(r"(^|_)(loss|error|mse|mae|mape|msle|rmse|bce|crossentropy)(_\d+)?$", re.IGNORECASE)


class MonitorCallback(Callback):
    """A callback that follows one log: ``monitor``, better when it is lower ("min") or higher ("max").

    With mode "auto" the direction is asked of the model's metric of that name. A value must beat the best one by more
    than ``min_delta``; a NaN never does.
    """

    def __init__(self, monitor: str, mode: str = "auto", best: float | None = None, min_delta: float = 0.0) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            warnings.warn(
                f"{type(self).__name__} mode {mode!r} is unknown, fallback to auto mode.", UserWarning, stacklevel=3
            )
            mode = "auto"
        self.monitor = monitor
        self.mode = mode
        self.best = best
        self.min_delta = abs(min_delta)
        self._warned = False

    def _monitored(self, logs: Logs, unavailable: str) -> float | None:
        """The monitored value, or None after one warning that begins with ``unavailable`` and lists what there is."""
        value = logs.get(self.monitor)
        if value is not None:
            return float(value)
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{unavailable} `{self.monitor}` which is not available.{suggest(self.monitor, logs)} "
                f"Available metrics are: {','.join(logs)}",
                UserWarning,
                stacklevel=4,
            )
        return None

    def _is_improvement(self, value: float, reference: float | None) -> bool:
        if self.mode == "auto":
            self.mode = self._direction()
        if math.isnan(value):
            return False
        if reference is None:
            return True
        if self.mode == "max":
            return value - self.min_delta > reference
        return value + self.min_delta < reference

    def _direction(self) -> str:
        """What mode "auto" means for this monitor."""
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return "min"
        for metric in _all_metrics(self.model):
            direction = getattr(metric, "_direction", None)
            if getattr(metric, "name", None) == name and direction in ("up", "down"):
                return "max" if direction == "up" else "min"
        if _UP.search(name):
            return "max"
        if _DOWN.search(name):
            return "min"
        raise ValueError(
            f"{type(self).__name__} callback received monitor={self.monitor}, but it cannot be told whether that "
            "metric should be maximized or minimized. Pass `mode='max'` in order to monitor based on the highest "
            "metric value, or pass `mode='min'` in order to use the lowest value."
        )


def _all_metrics(model: Any) -> list[Any]:
    """The model's metrics, and those inside containers of metrics."""
    found = []
    for metric in getattr(model, "metrics", None) or []:
        found.append(metric)
        found.extend(getattr(metric, "metrics", None) or [])
    return found
