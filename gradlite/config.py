"""Settings that hold for the whole process: how exactly products and convolutions are computed."""

from __future__ import annotations

from typing import Literal

__all__ = ["get_matmul_precision", "get_winograd", "set_matmul_precision", "set_winograd"]

PRECISIONS = ("highest", "high", "medium")

_matmul_precision = "high"
_winograd: bool | Literal["safe"] = True


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


def set_winograd(mode: bool | Literal["safe"]) -> None:
    """Choose how the CPU computes 3 x 3 convolutions in float32; in float64 it never uses Winograd's algorithm.

    Args:
        mode: True, the default: Winograd's algorithm with tiles of 4 x 4 outputs where it pays. "safe": with tiles of
            2 x 2, whose rounding errors are those of plain sums; by native kernels, while NumPy's kernels sum plainly.
            False: plain sums everywhere, which take up to twice as long, with errors three to five times as small.

    Raises:
        ValueError: for anything else.

    >>> import gradlite
    >>> gradlite.config.set_winograd("safe")
    >>> gradlite.config.get_winograd()
    'safe'
    >>> gradlite.config.set_winograd(True)
    """
    global _winograd
    if not isinstance(mode, bool) and mode != "safe":
        raise ValueError(f"mode is True, False or 'safe'. Received: {mode!r}.")
    _winograd = mode


def get_winograd() -> bool | Literal["safe"]:
    """Whether the CPU uses Winograd's algorithm where it pays: True, False or "safe"."""
    return _winograd
