"""The functions of the array module, by family; FUNCTIONS is the table of all, universal ones included.

A family lists in ``__all__`` what it offers. Parameters are those of CuPy's functions; a test holds them to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ufuncs
from . import creation, joining, linear, reducing, selecting, shapes, types

FAMILIES = (creation, joining, linear, reducing, selecting, shapes, types)

FUNCTIONS: dict[str, Callable[..., Any]] = dict(ufuncs.TABLE)
for _family in FAMILIES:
    FUNCTIONS.update((name, getattr(_family, name)) for name in _family.__all__)
