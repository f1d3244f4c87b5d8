"""Convolution: three operations closed under differentiation, and the forms built from them.

Images are NHWC ``(n, h, w, c)``, kernels HWIO ``(kh, kw, c // groups, f)``. The derivative of each of the three in each
of its arguments is one of the other two, so gradients of any order need no further kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlite.autograd import Node, Op, as_tensors
from gradlite.ops.elementwise import alike
from gradlite.ops.kernel import ByDefinition, KernelOp
from gradlite.ops.linear import ACTIVATIONS, before_activation, check_activation, column_sum
from gradlite.ops.shape import pad, reshape, squeeze
from gradlite.tensor import Tensor

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


class _Conv2D(Op):
    """Cross-correlation plus bias, then an activation in the same kernel."""

    name = kernel = "conv2d"
    saves_inputs = (0, 1)

    def __init__(self, activation: str | None) -> None:
        self.activation = activation
        self.saves_output = activation is not None

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        g = gradients[0]
        assert g is not None
        return convolution_gradients(node, g, node.saved_output() if self.saves_output else None, self.activation)


def convolution_gradients(node: Node, g: Tensor, y: Any, activation: str | None) -> list[Tensor | None]:
    """The gradients in image, kernel and bias of a node that convolves, from the gradient of its activated output y."""
    (x, w, _), (to_x, to_w, to_bias) = node.saved_inputs(), node.edges
    g = before_activation(g, y, activation)
    a = {name: value for name, value in node.attributes.items() if name != "activation"}
    dx = None if to_x is None else _input_gradient(g, w, input_shape=x.shape, **a)
    dw = dbias = None
    if to_w is not None and to_bias is not None:
        dw, dbias = _parameter_gradients(x, g, kernel_shape=w.shape, **a)
    elif to_w is not None:
        dw = _weight_gradient(x, g, kernel_shape=w.shape, **a)
    elif to_bias is not None:
        dbias = column_sum(g)
    return [dx, dw, dbias]


def _parameter_gradients_definition(x: Tensor, g: Tensor, **attributes: Any) -> tuple[Tensor, Tensor]:
    return _weight_gradient(x, g, **attributes), column_sum(g)


_activated = {activation: _Conv2D(activation) for activation in (None, *ACTIVATIONS)}
_conv2d = _activated[None]
_input_gradient = KernelOp(
    "conv2d_input_gradient",
    "The transpose of conv2d in its input.",
    lambda gg, out, g, w, input_shape, **a: _conv2d(gg, w, None, **a),
    lambda gg, out, g, w, input_shape, **a: _weight_gradient(gg, g, kernel_shape=w.shape, **a),
    inputs=True,
)
_weight_gradient: KernelOp = KernelOp(
    "conv2d_weight_gradient",
    "The transpose of conv2d in its kernel.",
    lambda gg, out, x, g, kernel_shape, **a: _input_gradient(g, gg, input_shape=x.shape, **a),
    lambda gg, out, x, g, kernel_shape, **a: _conv2d(x, gg, None, **a),
    inputs=True,
)
_parameter_gradients = ByDefinition("conv2d_parameter_gradients", _parameter_gradients_definition, outputs=2)


def pair(value: int | Sequence[int], name: str) -> Pair:
    """One number or two as two. Raises ValueError for anything else."""
    values = (value, value) if isinstance(value, (int, np.integer)) else tuple(value)
    if len(values) != 2 or not all(isinstance(v, (int, np.integer)) and v >= 1 for v in values):
        raise ValueError(f"{name} must be a positive integer or two of them. Received: {name}={value!r}.")
    return int(values[0]), int(values[1])


def explicit_padding(
    padding: Any, size: Sequence[int], window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> tuple[Pair, ...]:
    """``"valid"``, ``"same"``, one number, or pairs, as ``((before, after), ...)`` for each spatial axis.

    "same" is TensorFlow's: the output has ``ceil(size / stride)`` elements and what is odd is padded at the end.
    """
    if padding == "valid":
        return tuple((0, 0) for _ in size)
    if padding == "same":
        result = []
        for n, k, s, d in zip(size, window, strides, dilation):
            total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            result.append((total // 2, total - total // 2))
        return tuple(result)
    if isinstance(padding, int):
        padding = [padding] * len(size)
    if isinstance(padding, str) or len(padding) != len(size):
        raise ValueError(
            f"padding must be 'valid', 'same', a number, or a number or pair for each of {len(size)} spatial axes. "
            f"Received: padding={padding!r}."
        )
    pairs = tuple((p, p) if isinstance(p, int) else (int(p[0]), int(p[1])) for p in padding)
    if any(n < 0 for p in pairs for n in p):
        raise ValueError(f"padding must not be negative. Received: padding={padding!r}.")
    return pairs


def output_length(size: int, window: int, stride: int, dilation: int, padding: Pair) -> int:
    """How many places a window takes along an axis."""
    return (size + padding[0] + padding[1] - (window - 1) * dilation - 1) // stride + 1


def _check_shapes(x: Tensor, w: Tensor, bias: Any, groups: int, name: str) -> None:
    if x.ndim != 4 or w.ndim != 4:
        raise ValueError(
            f"{name}() needs images (n, h, w, c) and a kernel (kh, kw, c // groups, f). "
            f"Received: shapes {x.shape} and {w.shape}."
        )
    if groups < 1 or x.shape[3] != w.shape[2] * groups or w.shape[3] % groups:
        raise ValueError(
            f"{name}() with groups={groups} needs a kernel (kh, kw, {x.shape[3]} // groups, f) with f a multiple of "
            f"groups, for images of {x.shape[3]} channels. Received: kernel {w.shape}."
        )
    if bias is not None and bias.shape != (w.shape[3],):
        raise ValueError(f"{name}() needs a bias ({w.shape[3]},). Received: {bias.shape}.")


def conv2d(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    strides: int | Sequence[int] = 1,
    padding: Any = "valid",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    activation: str | None = None,
) -> Tensor:
    """2-D convolution (cross-correlation, as in every framework) of NHWC images.

    Args:
        x: (n, h, w, c).
        w: (kh, kw, c // groups, f).
        bias: (f,) or None.
        strides: steps of the window, one number or two.
        padding: "valid", "same" (TensorFlow's: ``ceil(size / stride)`` outputs, odd padding at the end), a number, or
            ``((top, bottom), (left, right))``.
        dilation: distance of the kernel's taps.
        groups: the channels are convolved in this many separate groups.
        activation: "relu", "sigmoid" or "tanh", computed in the same kernel, or None.

    Returns:
        (n, oh, ow, f).

    Raises:
        ValueError: if the shapes do not fit each other, the kernel is larger than the padded image, or for another
            activation.

    >>> import gradlite
    >>> gradlite.conv2d(gradlite.ones((1, 5, 5, 2)), gradlite.ones((3, 3, 2, 4)), padding="same").shape
    (1, 5, 5, 4)
    """
    x, w, bias, attributes = convolution_attributes(
        x, w, bias, "conv2d", strides, padding, dilation, groups, activation
    )
    return _activated[activation](x, w, bias, **attributes, activation=activation)


def convolution_attributes(
    x: Any,
    w: Any,
    bias: Any,
    name: str,
    strides: int | Sequence[int] = 1,
    padding: Any = "valid",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    activation: str | None = None,
) -> tuple[Tensor, Tensor, Any, dict[str, Any]]:
    """The arguments of a convolution checked, of one type, and as its kernels take them."""
    x, w, bias = alike(x, w, bias)
    _check_shapes(x, w, bias, groups, name)
    steps, gaps = pair(strides, "strides"), pair(dilation, "dilation")
    borders = explicit_padding(padding, x.shape[1:3], w.shape[:2], steps, gaps)
    for n, k, s, d, p in zip(x.shape[1:3], w.shape[:2], steps, gaps, borders):
        if output_length(n, k, s, d, p) < 1:
            raise ValueError(
                f"{name}(): a kernel of {w.shape[:2]} with dilation {gaps} is larger than the image {x.shape[1:3]} "
                f"with padding {borders}. Use padding='same' or a larger image."
            )
    check_activation(activation, name)
    return x, w, bias, {"strides": steps, "padding": borders, "dilation": gaps, "groups": groups}


def conv2d_transpose(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    strides: int | Sequence[int] = 1,
    padding: Any = "valid",
    output_padding: int | Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Transposed 2-D convolution: the input gradient of ``conv2d``, used forward, to enlarge images.

    Args:
        x: (n, h, w, c).
        w: (kh, kw, f, c): the kernel of the convolution that this transposes.
        bias: (f,) or None.
        strides: the factors by which the image grows.
        padding: "valid" (output ``(h - 1) * stride + kh``, at least ``h * stride``) or "same" (``h * stride``).
        output_padding: added to the output's size, less than the stride; None chooses the sizes above.
        dilation: distance of the kernel's taps.

    Returns:
        (n, oh, ow, f).

    >>> import gradlite
    >>> gradlite.conv2d_transpose(gradlite.ones((1, 4, 4, 2)), gradlite.ones((3, 3, 5, 2)), strides=2,
    ...     padding="same").shape
    (1, 8, 8, 5)
    """
    x, w, bias = alike(x, w, bias)
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[3]:
        raise ValueError(
            f"conv2d_transpose() needs images (n, h, w, c) and a kernel (kh, kw, f, c). "
            f"Received: shapes {x.shape} and {w.shape}."
        )
    steps, gaps = pair(strides, "strides"), pair(dilation, "dilation")
    if output_padding is None:
        extras: tuple[int | None, ...] = (None, None)
    else:
        extras = (output_padding,) * 2 if isinstance(output_padding, int) else tuple(output_padding)
    plans = [
        transposed_length(n, k, s, d, padding, extra)
        for n, k, s, d, extra in zip(x.shape[1:3], w.shape[:2], steps, gaps, extras)
    ]
    (height, top), (width, left) = plans
    result = _input_gradient(
        x,
        w,
        input_shape=(x.shape[0], height, width, w.shape[2]),
        strides=steps,
        padding=(top, left),
        dilation=gaps,
        groups=1,
    )
    return result if bias is None else result + bias


def transposed_length(
    size: int, window: int, stride: int, dilation: int, padding: Any, extra: int | None
) -> tuple[int, Pair]:
    """The output length of a transposed convolution along an axis, and the padding of the convolution it transposes."""
    reach = (window - 1) * dilation + 1
    if padding not in ("valid", "same"):
        raise ValueError(f"A transposed convolution's padding is 'valid' or 'same'. Received: padding={padding!r}.")
    if extra is not None and not 0 <= extra < stride:
        raise ValueError(f"output_padding must be less than the stride {stride}. Received: output_padding={extra}.")
    if padding == "valid":
        length = (size - 1) * stride + reach + extra if extra is not None else size * stride + max(reach - stride, 0)
        total = 0
    elif extra is None:
        length = size * stride
        total = max((size - 1) * stride + reach - length, 0)
    else:
        total = 2 * (reach // 2)
        length = (size - 1) * stride + reach - total + extra
    before = total // 2
    # The convolution back from `length` must give `size` places; what the output has beyond its reach gets no tap.
    after = max((size - 1) * stride + reach - length - before, 0)
    return length, (before, after)


def depthwise_conv2d(x: Any, w: Any, bias: Any = None, **attributes: Any) -> Tensor:
    """Every channel convolved with its own kernels.

    Args:
        x: (n, h, w, c).
        w: (kh, kw, c, multiplier).
        bias: (c * multiplier,) or None.
        attributes: strides, padding and dilation as in ``conv2d``.

    Returns:
        (n, oh, ow, c * multiplier).

    >>> import gradlite
    >>> gradlite.depthwise_conv2d(gradlite.ones((1, 4, 4, 3)), gradlite.ones((3, 3, 3, 2))).shape
    (1, 2, 2, 6)
    """
    x, w = as_tensors(x, w)
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[2]:
        raise ValueError(
            f"depthwise_conv2d() needs images (n, h, w, c) and a kernel (kh, kw, c, multiplier). "
            f"Received: shapes {x.shape} and {w.shape}."
        )
    kh, kw, c, multiplier = w.shape
    return conv2d(x, reshape(w, (kh, kw, 1, c * multiplier)), bias, groups=c, **attributes)


def conv1d(
    x: Any, w: Any, bias: Any = None, *, strides: int = 1, padding: Any = "valid", dilation: int = 1, groups: int = 1
) -> Tensor:
    """1-D convolution of sequences.

    Args:
        x: (n, length, c).
        w: (k, c // groups, f).
        bias: (f,) or None.
        strides: steps of the window.
        padding: "valid", "same", "causal" (only the past is seen), a number or a pair.
        dilation: distance of the kernel's taps.
        groups: separate groups of channels.

    Returns:
        (n, out, f).

    >>> import gradlite
    >>> gradlite.conv1d(gradlite.ones((2, 10, 3)), gradlite.ones((3, 3, 4)), padding="causal").shape
    (2, 10, 4)
    """
    x, w = as_tensors(x, w)
    if x.ndim != 3 or w.ndim != 3:
        raise ValueError(
            f"conv1d() needs sequences (n, length, c) and a kernel (k, c // groups, f). "
            f"Received: shapes {x.shape} and {w.shape}."
        )
    if padding == "causal":
        x, padding = pad(x, ((0, 0), ((w.shape[0] - 1) * dilation, 0), (0, 0))), "valid"
    if padding == "same":
        padding = explicit_padding("same", x.shape[1:2], w.shape[:1], (strides,), (dilation,))[0]
    if padding != "valid":
        padding = ((0, 0), (padding, padding) if isinstance(padding, int) else tuple(padding))
    rows = reshape(x, (x.shape[0], 1, *x.shape[1:]))
    taps = reshape(w, (1, *w.shape))
    y = conv2d(rows, taps, bias, strides=(1, strides), padding=padding, dilation=(1, dilation), groups=groups)
    return squeeze(y, 1)


def conv1d_transpose(
    x: Any,
    w: Any,
    bias: Any = None,
    *,
    strides: int = 1,
    padding: Any = "valid",
    output_padding: int | None = None,
    dilation: int = 1,
) -> Tensor:
    """Transposed 1-D convolution: (n, length, c) with a kernel (k, f, c) -> (n, out, f); see ``conv2d_transpose``.

    >>> import gradlite
    >>> gradlite.conv1d_transpose(gradlite.ones((2, 5, 3)), gradlite.ones((4, 6, 3)), strides=2, padding="same").shape
    (2, 10, 6)
    """
    x, w = as_tensors(x, w)
    y = conv2d_transpose(
        reshape(x, (x.shape[0], x.shape[1], 1, x.shape[2])),
        reshape(w, (w.shape[0], 1, w.shape[1], w.shape[2])),
        bias,
        strides=(strides, 1),
        padding=padding,
        output_padding=None if output_padding is None else (output_padding, 0),
        dilation=(dilation, 1),
    )
    return squeeze(y, 2)


def separable_conv2d(x: Any, depthwise: Any, pointwise: Any, bias: Any = None, **attributes: Any) -> Tensor:
    """A depthwise convolution followed by a 1 x 1 convolution that mixes channels.

    Args:
        x: (n, h, w, c).
        depthwise: (kh, kw, c, multiplier).
        pointwise: (1, 1, c * multiplier, f).
        bias: (f,) or None.
        attributes: strides, padding and dilation of the depthwise convolution.

    >>> import gradlite
    >>> gradlite.separable_conv2d(gradlite.ones((1, 4, 4, 3)), gradlite.ones((3, 3, 3, 2)),
    ...     gradlite.ones((1, 1, 6, 5))).shape
    (1, 2, 2, 5)
    """
    return conv2d(depthwise_conv2d(x, depthwise, **attributes), pointwise, bias)


__all__ = [
    "conv1d", "conv1d_transpose", "conv2d", "conv2d_transpose", "depthwise_conv2d", "explicit_padding", "output_length",
    "pair", "separable_conv2d", "transposed_length",
]  # fmt: skip
