"""The CPU backend: NumPy, with kernels of our own where they win over the reference."""

from importlib import import_module

import numpy as np

from gradlite.backends.cpu import native
from gradlite.backends.cpu.backend import CpuBackend
from gradlite.backends.cpu.registry import CPU

FAMILIES = (
    "convolution",
    "elementwise",
    "fused",
    "linear",
    "normalization",
    "optimizers",
    "pointwise",
    "pooling",
    "random",
    "rows",
    "softmax",
    "statistics",
)

for _family in FAMILIES:
    import_module(f"{__name__}.{_family}")

BACKEND = CpuBackend(np, "cpu", native.accelerated(CPU) if native.is_available() else CPU)
