"""The CUDA backend: CuPy, and kernels of our own for what a training step spends its time in."""

from importlib import import_module

from gradlite.backends.cuda.backend import CudaBackend

FAMILIES = (
    "arrays",
    "assignment",
    "conversions",
    "convolution",
    "elementwise",
    "fused",
    "linear",
    "loss_scaling",
    "normalization",
    "optimizers",
    "pooling",
    "random",
    "reductions",
    "rows",
    "softmax",
    "totals",
)

for _family in FAMILIES:
    import_module(f"{__name__}.{_family}")

__all__ = ["CudaBackend"]
