"""Element types beyond NumPy's own: bfloat16, the upper half of a float32, which the package ml_dtypes brings.

NumPy and CuPy take its dtype like one of theirs, with two traits to know: its kind is "V", not "f", and it does not
promote with float16 or wide integers. Nothing here imports ml_dtypes before somebody asks for bfloat16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# The kinds of floating-point types. No other type of kind "V" comes into a Tensor.
FLOAT_KINDS = "fV"


def bfloat16() -> np.dtype[Any]:
    """The dtype.

    Raises:
        ImportError: without ml_dtypes; it says what to install.
    """
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError(
            "bfloat16 needs the package ml_dtypes, which adds this type to NumPy: pip install ml_dtypes. "
            "float16, for instance the policy 'mixed_float16', needs nothing more than NumPy."
        ) from error
    return np.dtype(ml_dtypes.bfloat16)


def narrow_floats() -> tuple[np.dtype[Any], ...]:
    """The 16-bit floats that there are here: float16, and bfloat16 where ml_dtypes is installed."""
    try:
        return np.dtype(np.float16), bfloat16()
    except ImportError:
        return (np.dtype(np.float16),)


def is_bfloat16(dtype: Any) -> bool:
    """Whether ``dtype``, a NumPy dtype, is bfloat16."""
    return dtype.kind == "V" and dtype.type.__name__ == "bfloat16"


def as_dtype(dtype: Any) -> np.dtype[Any]:
    """``numpy.dtype(dtype)``, where ``"bfloat16"`` is known too.

    >>> as_dtype("float16")
    dtype('float16')
    """
    return bfloat16() if isinstance(dtype, str) and dtype == "bfloat16" else np.dtype(dtype)


def is_narrow(dtype: Any) -> bool:
    """Whether ``dtype`` is a floating-point type of 16 bits."""
    return dtype.itemsize == 2 and dtype.kind in FLOAT_KINDS


def promoted(*dtypes: Any) -> np.dtype[Any]:
    """The type that arrays of these types meet in: NumPy's, and for bfloat16 what other frameworks agree on: with
    float16 it gives float32, with wider floats those, with integers and booleans it stays."""
    if not any(is_bfloat16(dtype) for dtype in dtypes):
        return np.result_type(*dtypes)
    others = [dtype for dtype in dtypes if dtype.kind == "f"]
    if not others:
        return bfloat16()
    return np.result_type(np.float32, *others)
