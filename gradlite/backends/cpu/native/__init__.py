"""Native kernels for the CPU: compiled for the processor at hand, where Numba is installed (the extra ``cpu``).

They replace kernels of the same name where arrays are what they were made for; see ``launches.native``. Nothing here is
imported before a CPU kernel is launched, except what tells whether Numba is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

CHOICES = ("numba", "numpy")


def is_available() -> bool:
    """Whether native kernels are to be used: Numba is there, and ``GRADLITE_CPU_KERNELS`` does not say ``numpy``.

    Raises:
        ValueError: for another word in that variable.
    """
    chosen = os.environ.get("GRADLITE_CPU_KERNELS", "")
    if chosen and chosen not in CHOICES:
        raise ValueError(f"GRADLITE_CPU_KERNELS is one of {', '.join(CHOICES)}. Received: {chosen!r}.")
    return chosen != "numpy" and find_spec("numba") is not None


def accelerated(kernels: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """The kernels, those with a plan replaced by native ones, which fall back to the given."""
    from gradlite.backends.cpu.native import convolution, dense
    from gradlite.backends.cpu.native.launches import native

    planners = (
        dense.matmul,
        dense.dense,
        dense.dense_input_gradient,
        dense.dense_weight_gradient,
        convolution.conv2d,
        convolution.conv2d_input_gradient,
        convolution.conv2d_weight_gradient,
    )
    return kernels | {planner.__name__: native(planner, kernels[planner.__name__]) for planner in planners}
