"""Settings that hold for the whole process: how exactly products and convolutions are computed."""

from __future__ import annotations

__all__ = ["get_matmul_precision", "get_winograd", "set_matmul_precision", "set_winograd"]

PRECISIONS = ("highest", "high", "medium")

_matmul_precision = "high"
_winograd = True


def set_matmul_precision(precision: str) -> None:
    """Choose how GPUs with tensor cores multiply float32 matrices, and convolve float32 images.

    Args:
        precision: "highest": exact float32. "high", the default: TF32, which rounds the factors to 11 significant bits
            and adds in float32. "medium": bfloat16 factors, 8 bits, added in float32. The CPU, and GPUs without such
            units, always compute in float32; float64 is never touched.

    Raises:
        ValueError: for another word.

    >>> import gradlite
    >>> gradlite.config.set_matmul_precision("highest")
    >>> gradlite.config.get_matmul_precision()
    'highest'
    >>> gradlite.config.set_matmul_precision("high")
    """
    global _matmul_precision
    if precision not in PRECISIONS:
        raise ValueError(f"precision is one of {', '.join(map(repr, PRECISIONS))}. Received: {precision!r}.")
    _matmul_precision = precision


def get_matmul_precision() -> str:
    """How float32 matrices are multiplied on a GPU: "highest", "high" or "medium"."""
    return _matmul_precision


def set_winograd(enabled: bool) -> None:
    """Choose whether the CPU computes 3 x 3 convolutions in float32 by Winograd's algorithm, as it does by default.

    Without it they take up to twice as long, and rounding errors are three to five times as small.

    >>> import gradlite
    >>> gradlite.config.set_winograd(False)
    >>> gradlite.config.get_winograd()
    False
    >>> gradlite.config.set_winograd(True)
    """
    global _winograd
    _winograd = bool(enabled)


def get_winograd() -> bool:
    """Whether the CPU uses Winograd's algorithm where it applies."""
    return _winograd
