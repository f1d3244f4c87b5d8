"""Callback, the hooks that training calls, and CallbackList, which calls them on every callback in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Any

Logs = MutableMapping[str, Any]
# A loop may pass its logs as a function, so that nothing is read from the device unless somebody looks.
LazyLogs = Logs | Callable[[], Logs] | None

_MODES = ("train", "test", "predict")


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


class CallbackList:
    """All callbacks of one ``fit``, ``evaluate`` or ``predict``, called in order.

    Args:
        callbacks: a callback or several.
        model, params: handed to each of them.
        add_history: append a ``History`` unless there is one.
        add_progbar: append a ``ProgbarLogger`` unless there is one.

    The logs of an epoch are one dict, which callbacks may add to; later callbacks see what earlier ones added.
    """

    def __init__(
        self,
        callbacks: Callback | Iterable[Callback] | None = None,
        model: Any = None,
        params: dict[str, Any] | None = None,
        *,
        add_history: bool = False,
        add_progbar: bool = False,
    ) -> None:
        self.callbacks = _checked(callbacks)
        self._add_defaults(add_history, add_progbar)
        self.model = None
        self.params: dict[str, Any] = {}
        self._hooks: dict[str, list[tuple[Callback, bool]]] = {}
        if model is not None:
            self.set_model(model)
        self.set_params(params or {})

    def _add_defaults(self, add_history: bool, add_progbar: bool) -> None:
        # Imported here: both are callbacks, and so import this module.
        from gradlite.keras.callbacks.history import History
        from gradlite.keras.callbacks.progress import ProgbarLogger

        for wanted, kind in ((add_history, History), (add_progbar, ProgbarLogger)):
            if wanted and not any(isinstance(callback, kind) for callback in self.callbacks):
                self.callbacks.append(kind())

    @property
    def history(self) -> Any:
        """The ``History`` among the callbacks, or None."""
        from gradlite.keras.callbacks.history import History

        return next((callback for callback in self.callbacks if isinstance(callback, History)), None)

    def append(self, callback: Callback) -> None:
        """Add a callback behind the others."""
        self.callbacks.extend(_checked(callback))
        self._hooks.clear()
        callback.set_params(self.params)
        if self.model is not None:
            callback.set_model(self.model)

    def set_params(self, params: dict[str, Any]) -> None:
        """Give every callback the parameters of the run."""
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Give every callback the model; a ``History`` becomes ``model.history``."""
        self.model = model
        if self.history is not None:
            model.history = self.history
        for callback in self.callbacks:
            callback.set_model(model)

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def has_batch_hooks(self, mode: str) -> bool:
        """Whether a callback must be called at every batch of ``mode`` ("train", "test" or "predict").

        Callbacks that only draw from time to time (``accepts_lazy_logs``) do not count.
        """
        if mode not in _MODES:
            raise ValueError(f"mode must be one of {', '.join(_MODES)}. Received: {mode!r}.")
        listeners = self._listeners(f"on_{mode}_batch_begin") + self._listeners(f"on_{mode}_batch_end")
        return any(not lazy for _, lazy in listeners)

    def needs_batch_logs(self, mode: str) -> bool:
        """Whether a callback reads the logs after every batch of ``mode``, so that they must be brought to the host."""
        if mode not in _MODES:
            raise ValueError(f"mode must be one of {', '.join(_MODES)}. Received: {mode!r}.")
        return any(not lazy for _, lazy in self._listeners(f"on_{mode}_batch_end"))

    def _listeners(self, hook: str) -> list[tuple[Callback, bool]]:
        """The callbacks that do something in a batch hook, each with whether it takes lazy logs."""
        if hook not in self._hooks:
            self._hooks[hook] = [
                (callback, getattr(callback, "accepts_lazy_logs", False))
                for callback in self.callbacks
                if _overrides(callback, hook)
            ]
        return self._hooks[hook]

    def _call_batch_hook(self, hook: str, batch: int, logs: LazyLogs) -> None:
        for callback, lazy in self._listeners(hook):
            if callable(logs) and not lazy:
                logs = logs()
            getattr(callback, hook)(batch, {} if logs is None else logs)

    def _call(self, hook: str, *arguments: Any, logs: Logs | None) -> None:
        shared = {} if logs is None else logs
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments, shared)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Call ``on_train_begin`` of every callback."""
        self._call("on_train_begin", logs=logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Call ``on_train_end`` of every callback."""
        self._call("on_train_end", logs=logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Call ``on_epoch_begin`` of every callback."""
        self._call("on_epoch_begin", epoch, logs=logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Call ``on_epoch_end`` of every callback."""
        self._call("on_epoch_end", epoch, logs=logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Call ``on_test_begin`` of every callback."""
        self._call("on_test_begin", logs=logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Call ``on_test_end`` of every callback."""
        self._call("on_test_end", logs=logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Call ``on_predict_begin`` of every callback."""
        self._call("on_predict_begin", logs=logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Call ``on_predict_end`` of every callback."""
        self._call("on_predict_end", logs=logs)

    def on_train_batch_begin(self, batch: int, logs: LazyLogs = None) -> None:
        """Call ``on_train_batch_begin`` of the callbacks that have it."""
        self._call_batch_hook("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: LazyLogs = None) -> None:
        """Call ``on_train_batch_end`` of the callbacks that have it."""
        self._call_batch_hook("on_train_batch_end", batch, logs)

    def on_test_batch_begin(self, batch: int, logs: LazyLogs = None) -> None:
        """Call ``on_test_batch_begin`` of the callbacks that have it."""
        self._call_batch_hook("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: LazyLogs = None) -> None:
        """Call ``on_test_batch_end`` of the callbacks that have it."""
        self._call_batch_hook("on_test_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch: int, logs: LazyLogs = None) -> None:
        """Call ``on_predict_batch_begin`` of the callbacks that have it."""
        self._call_batch_hook("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch: int, logs: LazyLogs = None) -> None:
        """Call ``on_predict_batch_end`` of the callbacks that have it."""
        self._call_batch_hook("on_predict_batch_end", batch, logs)


def _checked(callbacks: Callback | Iterable[Callback] | None) -> list[Callback]:
    if callbacks is None:
        return []
    several = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for callback in several:
        if isinstance(callback, type) or not callable(getattr(callback, "set_model", None)):
            hint = f" Did you mean `{callback.__name__}()`?" if isinstance(callback, type) else ""
            raise ValueError(f"Callbacks must be instances of keras.callbacks.Callback. Received: {callback!r}.{hint}")
    return several


def _overrides(callback: Callback, hook: str) -> bool:
    """Whether the callback's class, or the object itself, replaces the hook that does nothing."""
    hooks = [hook]
    if "train_batch" in hook:
        hooks.append(hook.replace("train_batch", "batch"))
    for name in hooks:
        method = getattr(callback, name, None)
        if method is not None and getattr(method, "__func__", method) is not getattr(Callback, name):
            return True
    return False
