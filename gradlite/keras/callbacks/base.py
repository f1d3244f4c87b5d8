"""Callback: the hooks that training calls."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

Logs = MutableMapping[str, Any]
# A loop may pass its logs as a function, so that nothing is read from the device unless somebody looks.
LazyLogs = Logs | Callable[[], Logs] | None


class Callback:
    """Something that is told how training goes, and may step in.

    Override the hooks that matter. ``self.model`` is the model, ``self.params`` a dict with ``verbose``, ``epochs``
    and ``steps``. What ``on_epoch_end`` writes into ``logs`` appears in the history. Set ``self.model.stop_training``
    to end training after the current batch or epoch.

    Overriding a batch hook costs speed: the loss and metrics are then read from the device after every batch.

    >>> from gradlite.keras.callbacks import Callback
    >>> class Greeter(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(f"epoch {epoch} is over, the loss is {logs['loss']}")
    >>> Greeter().on_epoch_end(0, {"loss": 0.5})
    epoch 0 is over, the loss is 0.5
    """

    # A callback that sets this gets the logs of batch hooks as they come, possibly as a function to call.
    accepts_lazy_logs = False

    # On the class, so that a subclass whose __init__ does not call this one's still has them.
    model: Any = None
    params: dict[str, Any] = {}  # noqa: RUF012  (replaced by set_params, never changed in place)

    def __init__(self) -> None:
        self.params = {}

    def set_params(self, params: dict[str, Any]) -> None:
        """Called before training with ``verbose``, ``epochs`` and ``steps``."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Called before training with the model."""
        self.model = model

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once, before training."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once, after training, with the logs of the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before epoch number ``epoch``, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after an epoch and its validation, with ``loss``, the metrics and their ``val_`` counterparts."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of ``on_train_batch_begin``."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of ``on_train_batch_end``."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of training; ``batch`` counts from 0 in every epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of training, with the means over the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called before evaluation or validation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called after evaluation or validation."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of evaluation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of evaluation."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called before prediction."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called after prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of prediction, with its ``outputs``."""
