"""EarlyStopping: end training once a log stops getting better."""

from __future__ import annotations

import warnings
from typing import Any

from gradlite.keras.callbacks.base import Logs
from gradlite.keras.callbacks.monitor import MonitorCallback


class EarlyStopping(MonitorCallback):
    """Stop training after ``patience`` epochs without an improvement of ``monitor``.

    Args:
        monitor: the log to follow.
        min_delta: the smallest change that counts as an improvement.
        patience: epochs without improvement to wait for.
        verbose: 1 says when training was stopped and which weights were restored.
        mode: "min", "max" or "auto".
        baseline: a value to beat; until it is beaten, no epoch resets the patience.
        restore_best_weights: put back the weights of the best epoch when training ends, stopped early or not.
        start_from_epoch: epochs to let pass before watching.

    The first epoch never stops training.

    >>> from gradlite.keras.callbacks import EarlyStopping
    >>> EarlyStopping(monitor="val_accuracy", patience=3).monitor
    'val_accuracy'
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        if patience < 0:
            warnings.warn(f"EarlyStopping patience={patience} is negative and means 0.", UserWarning, stacklevel=2)
        self.patience = max(patience, 0)
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_epoch = 0
        self.best_weights: list[Any] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        current = self._monitored(logs or {}, "Early stopping conditioned on metric")
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._remember(epoch)  # something to restore even if no epoch is ever better than NaN
        self.wait += 1
        if self._is_improvement(current, self.best):
            self.best = current
            self._remember(epoch)
            if self.baseline is None or self._is_improvement(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _remember(self, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = self.model.get_weights()

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch > 0 and self.verbose > 0:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose > 0:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)
