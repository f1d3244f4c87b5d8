"""Pooling of NHWC images: maximum and average over windows, and enlarging them again by nearest or bilinear samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradlite.autograd import Node, Op, as_tensor
from gradlite.ops.convolution import explicit_padding, output_length, pair
from gradlite.ops.elementwise import floating
from gradlite.ops.kernel import KernelOp
from gradlite.ops.shape import reshape, squeeze
from gradlite.tensor import Tensor


class _MaxPool2D(Op):
    """The maximum of every window, and which tap of the window it was."""

    name = kernel = "max_pool2d"
    saves_inputs = False
    saves_output = True
    outputs = 2

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        (x,), (_, index) = node.saved_inputs(), node.saved_outputs()
        return [scatter_pooled(gradients[0], index, input_shape=x.shape, **node.attributes)]


_max_pool2d = _MaxPool2D()
scatter_pooled = KernelOp(
    "max_pool2d_scatter",
    "Every gradient at the tap that was the maximum.",
    lambda gg, out, g, index, input_shape, **a: _gather(gg, index, **a),
    None,
    inputs=(1,),
)
_gather: KernelOp = KernelOp(
    "max_pool2d_gather",
    "The tap that was the maximum: the transpose of the scatter.",
    lambda g, out, x, index, **a: scatter_pooled(g, index, input_shape=x.shape, **a),
    None,
    inputs=(1,),
)
_avg_pool2d = KernelOp(
    "avg_pool2d",
    "The mean of every window, without the padding.",
    lambda g, out, x, **a: _avg_pool2d_gradient(g, input_shape=x.shape, **a),
)
_avg_pool2d_gradient: KernelOp = KernelOp(
    "avg_pool2d_gradient",
    "The transpose of avg_pool2d.",
    lambda gg, out, g, input_shape, **a: _avg_pool2d(gg, **a),
)
_upsample2d_nearest = KernelOp(
    "upsample2d_nearest",
    "Every pixel repeated.",
    lambda g, out, x, size: _upsample2d_nearest_gradient(g, size=size),
)
_upsample2d_nearest_gradient: KernelOp = KernelOp(
    "upsample2d_nearest_gradient",
    "The transpose of upsample2d_nearest.",
    lambda gg, out, g, size: _upsample2d_nearest(gg, size=size),
)
_upsample2d_bilinear = KernelOp(
    "upsample2d_bilinear",
    "Linear interpolation.",
    lambda g, out, x, size: _upsample2d_bilinear_gradient(g, size=size),
)
_upsample2d_bilinear_gradient: KernelOp = KernelOp(
    "upsample2d_bilinear_gradient",
    "The transpose of upsample2d_bilinear.",
    lambda gg, out, g, size: _upsample2d_bilinear(gg, size=size),
)


def pooling_attributes(x: Tensor, window: Any, strides: Any, padding: Any, name: str) -> dict[str, Any]:
    """The checked attributes of a pooling kernel."""
    if x.ndim != 4:
        raise ValueError(f"{name}() needs images (n, h, w, c). Received: shape {x.shape}.")
    lengths = pair(window, "window")
    steps = lengths if strides is None else pair(strides, "strides")
    borders = explicit_padding(padding, x.shape[1:3], lengths, steps, (1, 1))
    for n, k, s, p in zip(x.shape[1:3], lengths, steps, borders):
        if output_length(n, k, s, 1, p) < 1:
            raise ValueError(
                f"{name}(): a window of {lengths} is larger than the image {x.shape[1:3]}. "
                "Use padding='same', a smaller window, or fewer pooling layers."
            )
        if max(p) >= k:
            raise ValueError(f"{name}() needs padding smaller than its window {lengths}. Received: {borders}.")
    return {"window": lengths, "strides": steps, "padding": borders}


def max_pool2d(
    x: Any, window: int | Sequence[int] = 2, strides: int | Sequence[int] | None = None, padding: Any = "valid"
) -> Tensor:
    """The largest element of every window; where several tie, the first gets the gradient.

    Args:
        x: (n, h, w, c).
        window: height and width, one number or two.
        strides: steps of the window; None for the window's own size.
        padding: "valid", "same" or explicit as in ``conv2d``; what is padded never wins.

    Returns:
        (n, oh, ow, c).

    >>> import gradlite
    >>> gradlite.max_pool2d(gradlite.arange(16, dtype="float32").reshape(1, 4, 4, 1)).numpy().ravel()
    array([ 5.,  7., 13., 15.], dtype=float32)
    """
    x = as_tensor(x)
    return _max_pool2d(x, **pooling_attributes(x, window, strides, padding, "max_pool2d"))[0]


def avg_pool2d(
    x: Any, window: int | Sequence[int] = 2, strides: int | Sequence[int] | None = None, padding: Any = "valid"
) -> Tensor:
    """The mean of every window; padding does not count. Arguments as in ``max_pool2d``.

    >>> import gradlite
    >>> gradlite.avg_pool2d(gradlite.arange(4, dtype="float32").reshape(1, 2, 2, 1)).item()
    1.5
    """
    x = floating(x)
    return _avg_pool2d(x, **pooling_attributes(x, window, strides, padding, "avg_pool2d"))


def _as_image(x: Any, window: int, strides: int | None, padding: Any, name: str) -> tuple[Tensor, dict[str, Any]]:
    """A sequence (n, length, c) as an image of height 1, with the attributes that pool along its length."""
    x = as_tensor(x)
    if x.ndim != 3:
        raise ValueError(f"{name}() needs sequences (n, length, c). Received: shape {x.shape}.")
    borders = (
        padding if isinstance(padding, str) else ((0, 0), padding if not isinstance(padding, int) else (padding,) * 2)
    )
    steps = (1, window if strides is None else strides)
    return reshape(x, (x.shape[0], 1, *x.shape[1:])), {"window": (1, window), "strides": steps, "padding": borders}


def max_pool1d(x: Any, window: int = 2, strides: int | None = None, padding: Any = "valid") -> Tensor:
    """The largest element of every window of a sequence: (n, length, c) -> (n, out, c); see ``max_pool2d``.

    >>> import gradlite
    >>> gradlite.max_pool1d(gradlite.ones((2, 6, 3))).shape
    (2, 3, 3)
    """
    image, attributes = _as_image(x, window, strides, padding, "max_pool1d")
    return squeeze(max_pool2d(image, **attributes), 1)


def avg_pool1d(x: Any, window: int = 2, strides: int | None = None, padding: Any = "valid") -> Tensor:
    """The mean of every window of a sequence: (n, length, c) -> (n, out, c); see ``avg_pool2d``.

    >>> import gradlite
    >>> gradlite.avg_pool1d(gradlite.ones((2, 6, 3))).shape
    (2, 3, 3)
    """
    image, attributes = _as_image(x, window, strides, padding, "avg_pool1d")
    return squeeze(avg_pool2d(image, **attributes), 1)


def upsample2d(x: Any, size: int | Sequence[int] = 2, interpolation: str = "nearest") -> Tensor:
    """Images enlarged by whole factors.

    Args:
        x: (n, h, w, c).
        size: factors for height and width.
        interpolation: "nearest" or "bilinear" (pixel centres aligned at half-integer positions, edges repeated).

    Returns:
        (n, h * size[0], w * size[1], c).

    >>> import gradlite
    >>> gradlite.upsample2d(gradlite.ones((1, 2, 3, 1)), 2).shape
    (1, 4, 6, 1)
    """
    x = as_tensor(x)
    if x.ndim != 4:
        raise ValueError(f"upsample2d() needs images (n, h, w, c). Received: shape {x.shape}.")
    ops = {"nearest": _upsample2d_nearest, "bilinear": _upsample2d_bilinear}
    if interpolation not in ops:
        raise ValueError(f"upsample2d() knows {sorted(ops)}. Received: interpolation={interpolation!r}.")
    return ops[interpolation](floating(x) if interpolation == "bilinear" else x, size=pair(size, "size"))
