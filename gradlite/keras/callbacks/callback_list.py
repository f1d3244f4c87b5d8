"""CallbackList: calls the hooks of every callback in turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gradlite.keras.callbacks.base import Callback, LazyLogs, Logs
from gradlite.keras.callbacks.history import History
from gradlite.keras.callbacks.progress import ProgbarLogger

_MODES = ("train", "test", "predict")


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
        for wanted, kind in ((add_history, History), (add_progbar, ProgbarLogger)):
            if wanted and not any(isinstance(callback, kind) for callback in self.callbacks):
                self.callbacks.append(kind())

    @property
    def history(self) -> Any:
        """The ``History`` among the callbacks, or None."""
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
