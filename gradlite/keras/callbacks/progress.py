"""ProgbarLogger: the callback that prints epochs and progress bars."""

from __future__ import annotations

from functools import partial
from typing import Any

from gradlite.keras.callbacks.base import Callback, LazyLogs, Logs
from gradlite.keras.utils.progress_bar import Progbar


class ProgbarLogger(Callback):
    """Prints ``Epoch 1/2`` and a progress bar per epoch; ``params["verbose"]`` and ``params["steps"]`` steer it.

    fit, evaluate and predict add it by themselves. Logs may come as functions; they are called only for a redraw.

    >>> from gradlite.keras.callbacks import ProgbarLogger
    >>> ProgbarLogger().accepts_lazy_logs
    True
    """

    accepts_lazy_logs = True

    def __init__(self) -> None:
        super().__init__()
        self.target: int | None = None
        self.verbose = 1
        self.epochs = 1
        self._bar: Progbar | None = None
        self._seen = 0
        self._in_fit = False

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        verbose = params.get("verbose", 1)
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self.epochs = params.get("epochs", 1)
        self.target = params.get("steps")

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._in_fit = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._in_fit = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.verbose and self.epochs > 1:
            print(f"Epoch {epoch + 1}/{self.epochs}")
        self._start()

    def on_train_batch_end(self, batch: int, logs: LazyLogs = None) -> None:
        self._update(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._finish(logs or {})

    def on_test_begin(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._start()

    def on_test_batch_end(self, batch: int, logs: LazyLogs = None) -> None:
        if not self._in_fit:
            self._update(batch, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._finish(logs or {})

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._start()

    def on_predict_batch_end(self, batch: int, logs: LazyLogs = None) -> None:
        self._update(batch, None)  # the logs of a prediction are its outputs

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._finish({})

    def _start(self) -> None:
        # An epoch's steps may be known only after the first epoch.
        self.target = self.params.get("steps") or self.target
        self._bar = Progbar(self.target, verbose=self.verbose)
        self._seen = 0

    def _update(self, batch: int, logs: LazyLogs) -> None:
        self._seen = batch + 1
        if self._bar is None:  # called without a beginning, as by a hand-written loop
            self._start()
        if self._bar is not None and self.verbose == 1:
            # As a function: values given directly would be averaged over steps, and logs are means already. A bar
            # need not wait for those of the last step.
            given: Any = logs if callable(logs) or logs is None else partial(dict, logs)
            given = getattr(logs, "newest", given)
            self._bar.update(self._seen, given, finalize=False)

    def _finish(self, logs: Logs) -> None:
        if self._bar is None:
            return
        if self._bar.target is None:
            self.target = self._bar.target = self._seen
        self._bar.update(self._seen or self._bar.target, logs, finalize=True)
        self._bar = None
