"""The random arrays that a kernel is measured on: the same for every library, images with their channels last."""

from __future__ import annotations

import numpy as np

# Attributes that the kernels share.
EPSILON = 1e-3
DROPOUT = 0.25


def operands(kernel: str, **sizes: int) -> list[np.ndarray]:
    """The operands of a kernel, in the order in which gradlite's takes them.

    >>> [x.shape for x in operands("conv2d", batch=2, side=8, channels=3, filters=5)]
    [(2, 8, 8, 3), (3, 3, 3, 5)]
    """
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    if kernel == "matmul":
        return [normal(sizes["n"], sizes["k"]), normal(sizes["k"], sizes["m"])]
    if kernel.startswith("conv2d"):
        batch, side, channels, filters = (sizes[name] for name in ("batch", "side", "channels", "filters"))
        x, g = (normal(batch, side, side, count) for count in (channels, filters))
        w = normal(3, 3, channels, filters)
        return {"conv2d": [x, w], "conv2d_input_gradient": [g, w], "conv2d_weight_gradient": [x, g]}[kernel]
    if kernel in ("relu", "exp", "sum"):
        return [normal(sizes["elements"])]
    if kernel == "add":
        return [normal(sizes["elements"]), normal(sizes["elements"])]
    if kernel == "adam":
        p, g, m, v = (normal(sizes["elements"]) for _ in range(4))
        return [p, g, m, np.square(v)]
    if kernel == "column_sum":
        return [normal(sizes["rows"], sizes["columns"])]
    if kernel == "sparse_softmax_cross_entropy":
        return [normal(sizes["rows"], sizes["classes"]), rng.integers(0, sizes["classes"], sizes["rows"])]
    x = normal(sizes["batch"], sizes["side"], sizes["side"], sizes["channels"])
    gamma, beta = normal(sizes["channels"]), normal(sizes["channels"])
    if kernel == "batch_norm":
        return [x, gamma, beta]
    if kernel == "batch_norm_gradient":
        axes = (0, 1, 2)
        return [normal(*x.shape), x, gamma, x.mean(axes), x.var(axes)]
    if kernel in ("max_pool2d", "dropout"):
        return [x]
    raise ValueError(f"No kernel is named {kernel!r} here.")
