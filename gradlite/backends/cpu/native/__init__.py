"""Native kernels for the CPU: compiled for the processor at hand, where Numba is installed (the extra ``cpu``).

They replace kernels of the same name where arrays are what they were made for; see ``launches.native``. Nothing here is
imported before a CPU kernel is launched, except what tells whether Numba is there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from gradlite.backends.registry import REFERENCE

CHOICES = ("numba", "numpy")
# Elements below which NumPy takes less time for a pass than a plan does to be made.
EAGER_ELEMENTS = 1 << 16


def is_available() -> bool:
    """Whether native kernels are to be used: Numba is there, and ``GRADLITE_CPU_KERNELS`` does not say ``numpy``.

    Raises:
        ValueError: for another word in that variable.
    """
    chosen = os.environ.get("GRADLITE_CPU_KERNELS", "")
    if chosen and chosen not in CHOICES:
        raise ValueError(f"GRADLITE_CPU_KERNELS is one of {', '.join(CHOICES)}. Received: {chosen!r}.")
    return chosen != "numpy" and find_spec("numba") is not None


def why_not() -> str:
    """What stands in the way of native kernels, and what to do; empty where nothing does."""
    if os.environ.get("GRADLITE_CPU_KERNELS") == "numpy":
        return "GRADLITE_CPU_KERNELS=numpy switches the native kernels off."
    if find_spec("numba") is None:
        return "Native kernels need Numba: pip install 'gradlite[cpu]'."
    return ""


def accelerated(kernels: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """The kernels, those with a plan replaced by native ones, which fall back to the given."""
    from gradlite.backends.cpu.native import (
        adam,
        convolution,
        dense,
        elementwise,
        normalization,
        numbers,
        optimizers,
        pooling,
        random,
        reductions,
        rows,
        softmax,
    )
    from gradlite.backends.cpu.native.launches import native

    own = (
        *(*dense.PLANS, *convolution.PLANS),
        *(*adam.PLANS, *normalization.PLANS, *optimizers.PLANS, *random.PLANS, *reductions.PLANS, *rows.PLANS),
        *(*pooling.PLANS, *softmax.PLANS),
    )
    plans: list[tuple[Any, int]] = [(plan, 0) for plan in own]
    # Their bits are NumPy's, so that eager execution may choose by size.
    plans += [(plan, EAGER_ELEMENTS) for plan in elementwise.PLANS]
    plans += [(plan, sys.maxsize) for plan in numbers.PLANS]
    found = {plan.__name__: kernels.get(plan.__name__) or _general(plan.__name__) for plan, _ in plans}
    return kernels | {plan.__name__: native(plan, found[plan.__name__], smallest) for plan, smallest in plans}


def _general(name: str) -> Callable[..., Any]:
    """The kernel of the reference table, or NumPy's function."""
    found = REFERENCE.get(name)
    return getattr(np, name) if found is None else partial(found, np)
