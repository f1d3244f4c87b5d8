"""The reference kernels, by family: importing this package fills the table in ``backends/registry.py``."""

from importlib import import_module

FAMILIES = (
    "arrays",
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
    "resizing",
    "rows",
    "softmax",
    "special",
)

for _family in FAMILIES:
    import_module(f"{__name__}.{_family}")
