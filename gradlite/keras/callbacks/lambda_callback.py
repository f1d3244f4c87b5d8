"""LambdaCallback: hooks given as functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradlite.keras.callbacks.base import Callback


class LambdaCallback(Callback):
    """A callback whose hooks are the functions given, under the hooks' names.

    Args:
        on_epoch_begin, on_epoch_end: functions of ``epoch`` and ``logs``.
        on_train_begin, on_train_end: functions of ``logs``.
        on_train_batch_begin, on_train_batch_end: functions of ``batch`` and ``logs``.
        hooks: any other hook of ``Callback``, such as ``on_test_begin``.

    >>> from gradlite.keras.callbacks import LambdaCallback
    >>> LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs)).on_epoch_end(0, {"loss": 1.0})
    0 {'loss': 1.0}
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **hooks: Callable[..., Any],
    ) -> None:
        super().__init__()
        named = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        known = {name for name in dir(Callback) if name.startswith("on_")}
        unknown = sorted(set(hooks) - known)
        if unknown:
            raise TypeError(f"LambdaCallback has no hook {unknown[0]!r}. Hooks are: {', '.join(sorted(known))}.")
        for name, function in {**named, **hooks}.items():
            if function is not None:
                setattr(self, name, function)
