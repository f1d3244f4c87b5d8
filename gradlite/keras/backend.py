"""The few settings that Keras keeps in ``keras.backend``: epsilon, floatx, the image layout, and clear_session."""

from __future__ import annotations

from typing import Any

from gradlite.keras.utils.naming import clear_session

__all__ = [
    "clear_session",
    "epsilon",
    "floatx",
    "image_data_format",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
]

_SETTINGS: dict[str, Any] = {"epsilon": 1e-7, "floatx": "float32"}
_FLOAT_TYPES = ("float16", "float32", "float64")


def epsilon() -> float:
    """The small number that keeps divisions and logarithms finite, 1e-7 unless set."""
    return float(_SETTINGS["epsilon"])


def set_epsilon(value: float) -> None:
    """Set what ``epsilon()`` returns."""
    if not value > 0:
        raise ValueError(f"epsilon must be a positive number. Received: {value!r}.")
    _SETTINGS["epsilon"] = float(value)


def floatx() -> str:
    """The dtype of weights and inputs where none is given, "float32" unless set."""
    return str(_SETTINGS["floatx"])


def set_floatx(value: str) -> None:
    """Set what ``floatx()`` returns; layers made from now on use it."""
    if value not in _FLOAT_TYPES:
        raise ValueError(f"Unknown floatx {value!r}. Expected one of {', '.join(_FLOAT_TYPES)}.")
    _SETTINGS["floatx"] = value


def image_data_format() -> str:
    """Always "channels_last": images are (n, height, width, channels)."""
    return "channels_last"


def set_image_data_format(data_format: str) -> None:
    """Accepts "channels_last", the only layout there is."""
    if data_format != "channels_last":
        raise ValueError(
            f"Only 'channels_last' is supported: images are (n, height, width, channels). Received: {data_format!r}. "
            "Bring (n, channels, height, width) data into this layout with `x.transpose(0, 2, 3, 1)`."
        )
