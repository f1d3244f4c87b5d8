"""A case or more for every public operation: how it is called, on which shapes, and what NumPy says it should give."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from loops import avg_pool, convolution, depthwise, max_pool, transposed_convolution, upsample

from gradlite import ops

Shape = tuple[int, ...]


@dataclass
class Case:
    """One call of one operation; ``options`` go to ``check_op``."""

    name: str
    function: Callable[..., Any]
    shapes: list[Shape]
    reference: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)


CASES: list[Case] = []


def case(name: str, shapes: list[Shape], reference: Any = None, function: Any = None, **options: Any) -> None:
    """Enter a case: without a function the operation itself, without a reference NumPy's function of that name."""
    reference = reference or getattr(np, name)
    CASES.append(Case(name, function or getattr(ops, name), shapes, reference, options))


def named(name: str, shapes: list[Shape], reference: Any = None, options: Any = None, **arguments: Any) -> None:
    """A case of the operation with these arguments, and of NumPy's function (or another) with the same."""
    known, function = reference or getattr(np, name), getattr(ops, name)
    case(name, shapes, lambda *x: known(*x, **arguments), lambda *x: function(*x, **arguments), **(options or {}))


def words(text: str) -> list[str]:
    """Names in a row."""
    return text.split()


FLAT = {"differentiable": False}

# Elementwise functions of one tensor.
ROW = [(2, 3)]
for name in words("negative abs square exp exp2 expm1 sin cos arctan sinh cosh tanh arcsinh"):
    case(name, ROW)
case("sqrt", ROW, low=0.2)
case("rsqrt", ROW, lambda x: 1 / np.sqrt(x), low=0.2)
case("reciprocal", ROW, low=0.3)
for name in words("log log2 log10 log1p"):
    case(name, ROW, low=0.3)
case("tan", ROW, low=-1.2, high=1.2)
for name in words("arcsin arccos arctanh"):
    case(name, ROW, low=-0.8, high=0.8)
case("arccosh", ROW, low=1.3, high=3)
case("erf", ROW, np.vectorize(math.erf, otypes=[float]))
case("sigmoid", ROW, lambda x: 1 / (1 + np.exp(-x)))
case("softplus", ROW, lambda x: np.log(1 + np.exp(x)))
case("relu", ROW, lambda x: np.maximum(x, 0))
case("copy", ROW)
case("astype", ROW, lambda x: x, lambda x: ops.astype(ops.astype(x, np.float64), x.dtype))
case("clip", ROW, lambda x: np.clip(x, -0.5, 1.0), lambda x: ops.clip(x, -0.5, 1.0))
case("clip", [(3, 4), (4,), (3, 1)], np.clip)
for name in words("sign floor ceil rint trunc isnan isinf isfinite logical_not"):
    case(name, ROW, differentiable=False)
case("round", ROW, np.rint, differentiable=False)

# ... and of two, with broadcasting.
PAIR = [(2, 3), (3,)]
for name in words("add subtract multiply divide remainder maximum minimum hypot arctan2"):
    case(name, PAIR, low=0.2)
case("divide", [(1, 3), (2, 1)], low=0.5)
case("power", PAIR, low=0.3)
case("power", ROW, lambda x: x**3.0, lambda x: ops.power(x, 3.0))
case("power", ROW, lambda x: 2.0**x, lambda x: ops.power(2.0, x))
case("floor_divide", PAIR, low=0.2, differentiable=False)
for name in words("equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor"):
    case(name, PAIR, differentiable=False)
case("where", [(2, 3), (3,)], lambda a, b: np.where(a[:, :1] > 0, a, b), lambda a, b: ops.where(a[:, :1] > 0, a, b))

# Activations.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _sparsemax(x: np.ndarray) -> np.ndarray:
    """The projection onto the simplex, by bisection of the threshold."""
    low, high = x.max(-1, keepdims=True) - 1, x.max(-1, keepdims=True)
    for _ in range(60):
        middle = (low + high) / 2
        over = np.maximum(x - middle, 0).sum(-1, keepdims=True) > 1
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    return np.maximum(x - low, 0)


def _elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1))


def _gelu(x: np.ndarray) -> np.ndarray:
    return x / 2 * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


WIDE = [(3, 6)]
for name, formula in {
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "relu6": lambda x: np.minimum(np.maximum(x, 0), 6),
    "elu": _elu,
    "celu": _elu,
    "selu": lambda x: SELU_SCALE * _elu(x, SELU_ALPHA),
    "gelu": _gelu,
    "silu": lambda x: x * _logistic(x),
    "mish": lambda x: x * np.tanh(np.log(1 + np.exp(x))),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip((x + 3) / 6, 0, 1),
    "hard_silu": lambda x: x * np.clip((x + 3) / 6, 0, 1),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "hard_shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "log_sigmoid": lambda x: -np.log(1 + np.exp(-x)),
    "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
    "sparse_plus": lambda x: np.where(x < -1, 0, np.where(x > 1, x, (x + 1) ** 2 / 4)),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
}.items():
    case(name, WIDE, formula, low=-7 if name in ("relu6", "hard_sigmoid", "hard_silu") else -3, high=7)
case("celu", WIDE, lambda x: np.where(x > 0, x, 0.7 * np.expm1(np.minimum(x, 0) / 0.7)), lambda x: ops.celu(x, 0.7))
case("gelu", WIDE, lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
     lambda x: ops.gelu(x, approximate=True))  # fmt: skip
case("threshold", WIDE, lambda x: np.where(x > 0.3, x, 7.0), lambda x: ops.threshold(x, 0.3, 7.0))
case("glu", WIDE, lambda x: x[:, :3] * _logistic(x[:, 3:]))
case("glu", [(4, 3)], lambda x: x[:2] * _logistic(x[2:]), lambda x: ops.glu(x, axis=0))
case("sparsemax", WIDE, _sparsemax, low=-1, high=1)
case("sparsemax", WIDE, lambda x: _sparsemax(x.T).T, lambda x: ops.sparsemax(x, axis=0), low=-1, high=1)

# Reductions.
BOX = [(2, 3, 4)]
for name in words("sum mean var std max min prod"):
    for axis, keepdims in ((None, False), (1, True), ((0, -1), False), (-1, False), ((), False)):
        if name != "std" or axis != ():  # of single elements it is zero, where the root has no derivative
            named(name, BOX, axis=axis, keepdims=keepdims)
named("var", BOX, axis=1, ddof=1)
named("std", BOX, axis=1, ddof=1)
case("sum_to", BOX, lambda x: x.sum((0, 2), keepdims=True)[0], lambda x: ops.sum_to(x, (3, 1)))
case("logsumexp", BOX, lambda x: np.log(np.exp(x).sum()))
case("logsumexp", BOX, lambda x: np.log(np.exp(x).sum(1, keepdims=True)), lambda x: ops.logsumexp(x, 1, True))
case("norm", BOX, lambda x: np.sqrt((x * x).sum()))
for p in (1, 2, 3, 1.5, math.inf):
    case("norm", BOX, lambda x, p=p: np.linalg.norm(x, p, axis=1), lambda x, p=p: ops.norm(x, p, axis=1))
case("cumsum", BOX)
case("cumsum", BOX, lambda x: np.cumsum(x, 1), lambda x: ops.cumsum(x, 1))
for name in ("argmax", "argmin"):
    case(name, BOX, differentiable=False)
    named(name, BOX, options=FLAT, axis=1, keepdims=True)
for name in ("all", "any", "count_nonzero"):
    case(name, BOX, differentiable=False)
    named(name, BOX, options={**FLAT, "low": -0.001, "high": 0.001}, axis=(0, 2))
case("any", BOX, lambda x: np.any(np.rint(x), 1), lambda x: ops.any(ops.rint(x), 1), differentiable=False)
case("all", BOX, lambda x: np.all(np.rint(x), 1), lambda x: ops.all(ops.rint(x), 1), differentiable=False)
case("count_nonzero", BOX, lambda x: np.count_nonzero(np.rint(x)), lambda x: ops.count_nonzero(ops.rint(x)), **FLAT)

# Shape.
case("reshape", BOX, lambda x: x.reshape(4, 6), lambda x: ops.reshape(x, (-1, 6)))
case("transpose", BOX)
case("transpose", BOX, lambda x: x.transpose(2, 0, 1), lambda x: ops.transpose(x, (2, 0, -2)))
case("permute", BOX, lambda x: x.transpose(1, 0, 2), lambda x: ops.permute(x, (1, 0, 2)))
case("swapaxes", BOX, lambda x: x.swapaxes(0, -1), lambda x: ops.swapaxes(x, 0, -1))
case("moveaxis", BOX, lambda x: np.moveaxis(x, 0, 1), lambda x: ops.moveaxis(x, 0, 1))
case("expand_dims", BOX, lambda x: x[:, None, ..., None], lambda x: ops.expand_dims(x, (1, -1)))
case("squeeze", [(1, 3, 1)])
case("squeeze", [(1, 3, 1)], lambda x: x[0], lambda x: ops.squeeze(x, 0))
case("broadcast_to", [(3, 1)], lambda x: np.broadcast_to(x, (2, 3, 4)), lambda x: ops.broadcast_to(x, (2, 3, 4)))
case("flip", BOX)
case("flip", BOX, lambda x: np.flip(x, (0, 2)), lambda x: ops.flip(x, (0, -1)))
case("concatenate", [(2, 3), (2, 1)], lambda *x: np.concatenate(x, 1), lambda *x: ops.concatenate(x, 1))
case("stack", [(2, 3), (2, 3)], lambda *x: np.stack(x, -1), lambda *x: ops.stack(x, -1))
case("split", [(2, 6)], lambda x: np.split(x, 3, 1), lambda x: ops.split(x, 3, 1))
case("split", [(5, 2)], lambda x: np.split(x, [1, 3]), lambda x: ops.split(x, [1, 3]))
case("repeat", ROW, lambda x: np.repeat(x, 2), lambda x: ops.repeat(x, 2))
case("repeat", ROW, lambda x: np.repeat(x, 3, 0), lambda x: ops.repeat(x, 3, 0))
case("tile", ROW, lambda x: np.tile(x, (2, 1, 2)), lambda x: ops.tile(x, (2, 1, 2)))
WIDTHS = ((1, 2), (0, 2))
case("pad", [(3, 4)], lambda x: np.pad(x, WIDTHS, constant_values=1.5), lambda x: ops.pad(x, WIDTHS, value=1.5))
for mode in ("edge", "reflect", "symmetric"):
    case("pad", [(3, 4)], lambda x, m=mode: np.pad(x, WIDTHS, mode=m), lambda x, m=mode: ops.pad(x, WIDTHS, mode=m))

# Selection.
for part in (
    1, -1, slice(None, None, 2), (Ellipsis, 1), (None, 0, slice(1, 3)), (slice(None), slice(None, None, -1), 3),
    (0, Ellipsis, None), (slice(None), [2, 0, 2]), ([0, 1, 1], [2, 2, 2]), ([[0, 1], [1, 0]],), ([True, False],),
):  # fmt: skip
    case("getitem", BOX, lambda x, p=part: x[p], lambda x, p=part: ops.getitem(x, p))
case("getitem", BOX, lambda x: x[x > 0], lambda x: ops.getitem(x, x > 0))
case("take", BOX, lambda x: np.take(x, [5, 5, -1]), lambda x: ops.take(x, [5, 5, -1]))
case("take", BOX, lambda x: np.take(x, [[2, 0], [-1, 2]], 1), lambda x: ops.take(x, [[2, 0], [-1, 2]], 1))
PICKS = np.array([[[0, 0, 1, -1]], [[1, 1, 0, 0]]])
case("take_along_axis", BOX, lambda x: np.take_along_axis(x, PICKS, 1), lambda x: ops.take_along_axis(x, PICKS, 1))
case("sort", BOX)
case("sort", BOX, lambda x: -np.sort(-x, 1), lambda x: ops.sort(x, 1, descending=True))
case("argsort", BOX, differentiable=False)
case("argsort", BOX, lambda x: np.argsort(-x, 0), lambda x: ops.argsort(x, 0, descending=True), differentiable=False)
case("top_k", WIDE, lambda x: (-np.sort(-x)[:, :2], np.argsort(-x)[:, :2]), lambda x: ops.top_k(x, 2))
case("one_hot", [], lambda: np.eye(4)[[2, 0]], lambda: ops.one_hot([2, 0], 4, np.float64), dtypes=[np.float64],
     differentiable=False)  # fmt: skip

# Linear algebra.
for left, right in (
    ((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 1, 2, 3), (3, 3, 2)), ((3,), (2, 3, 2)),
):  # fmt: skip
    case("matmul", [left, right])
case("dense", [(4, 3), (3, 2), (2,)], lambda x, w, b: x @ w + b)
case("dense", [(2, 2, 3), (3, 2)], lambda x, w: x @ w)
case("dense", [(3,), (3, 2), (2,)], lambda x, w, b: x @ w + b)
IN_KERNEL = {"relu": lambda x: np.maximum(x, 0), "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh}
for name, known in IN_KERNEL.items():
    case("dense", [(4, 3), (3, 2), (2,)], lambda x, w, b, f=known: f(x @ w + b),
         lambda x, w, b, a=name: ops.dense(x, w, b, activation=a))  # fmt: skip
    case("dense", [(2, 4, 3), (3, 2)], lambda x, w, f=known: f(x @ w),
         lambda x, w, a=name: ops.dense(x, w, activation=a))  # fmt: skip
case("column_sum", BOX, lambda x: x.sum((0, 1)))
case("tensordot", [(2, 3, 2), (3, 2, 2)])
case("tensordot", [(2, 3, 2), (3, 2)], lambda a, b: np.tensordot(a, b, ([1, 0], [0, 1])),
     lambda a, b: ops.tensordot(a, b, ([1, 0], [0, 1])))  # fmt: skip
case("tensordot", [(2,), (3,)], lambda a, b: np.tensordot(a, b, 0), lambda a, b: ops.tensordot(a, b, 0))
case("einsum", [(2, 3), (3, 4)], lambda a, b: np.einsum("ij,jk->ik", a, b), lambda a, b: ops.einsum("ij,jk->ik", a, b))

# Classification.


def _softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


LABELS = np.array([1, 0, 3])
case("softmax", BOX, _softmax)
case("softmax", BOX, lambda x: _softmax(x, 1), lambda x: ops.softmax(x, axis=1))
case("log_softmax", BOX, lambda x: np.log(_softmax(x)))
case("log_softmax", BOX, lambda x: np.log(_softmax(x, 0)), lambda x: ops.log_softmax(x, axis=0))
case("sparse_softmax_cross_entropy", [(3, 4)], lambda x: -np.log(_softmax(x))[np.arange(3), LABELS],
     lambda x: ops.sparse_softmax_cross_entropy(LABELS, x))  # fmt: skip
case("softmax_cross_entropy", [(3, 4), (3, 4)], lambda y, x: -(y * np.log(_softmax(x))).sum(-1), low=0.1)
case("sigmoid_cross_entropy", [(3, 4), (3, 4)],
     lambda y, x: -y * np.log(_logistic(x)) - (1 - y) * np.log(1 - _logistic(x)), low=0.1)  # fmt: skip

# Convolution: against loops, over strides, padding, dilation and groups.
IMAGE, KERNEL = (2, 5, 4, 2), (3, 2, 2, 3)
for attributes in (
    {},
    {"strides": (2, 1), "padding": "same"},
    {"padding": ((1, 0), (2, 1)), "strides": (1, 2)},
    {"dilation": (2, 1), "padding": 1},
):
    named("conv2d", [IMAGE, KERNEL, (3,)], convolution, **attributes)
for name, known in IN_KERNEL.items():
    case("conv2d", [IMAGE, KERNEL, (3,)], lambda x, w, b, f=known: f(convolution(x, w, b, padding="same")),
         lambda x, w, b, a=name: ops.conv2d(x, w, b, padding="same", activation=a))  # fmt: skip
case("conv2d", [(1, 4, 4, 4), (2, 3, 2, 6)], lambda x, w: convolution(x, w, None, groups=2, padding="same"),
     lambda x, w: ops.conv2d(x, w, groups=2, padding="same"))  # fmt: skip
for attributes in (
    {}, {"strides": 2, "padding": "same"}, {"strides": (2, 3), "padding": "valid"},
    {"strides": 2, "padding": "same", "output_padding": 1}, {"dilation": 2},
):  # fmt: skip
    named("conv2d_transpose", [(1, 3, 2, 2), (3, 2, 3, 2), (3,)], transposed_convolution, **attributes)
for attributes in ({}, {"strides": 2, "padding": "same"}):
    named("depthwise_conv2d", [(1, 4, 3, 2), (2, 2, 2, 3), (6,)], depthwise, **attributes)
case("separable_conv2d", [(1, 4, 3, 2), (2, 2, 2, 2), (1, 1, 4, 3), (3,)],
     lambda x, d, p, b: convolution(depthwise(x, d, None, padding="same"), p, b),
     lambda x, d, p, b: ops.separable_conv2d(x, d, p, b, padding="same"))  # fmt: skip
SEQUENCE = [(2, 6, 2), (3, 2, 3), (3,)]


def _conv1d(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, strides: int = 1, padding: Any = "valid", dilation: int = 1
) -> np.ndarray:
    pads = padding if isinstance(padding, str) else ((0, 0), padding)
    return convolution(x[:, None], w[None], b, strides=(1, strides), padding=pads, dilation=(1, dilation))[:, 0]


for attributes in ({}, {"strides": 2, "padding": "same"}, {"padding": (1, 2)}, {"dilation": 2}):
    named("conv1d", SEQUENCE, _conv1d, **attributes)
case("conv1d", SEQUENCE, lambda x, w, b: _conv1d(np.pad(x, ((0, 0), (4, 0), (0, 0))), w, b, dilation=2),
     lambda *x: ops.conv1d(*x, padding="causal", dilation=2))  # fmt: skip
case("conv1d_transpose", [(2, 3, 2), (3, 4, 2), (4,)],
     lambda x, w, b: transposed_convolution(x[:, :, None], w[:, None], b, strides=(2, 1), padding="same")[:, :, 0],
     lambda *x: ops.conv1d_transpose(*x, strides=2, padding="same"))  # fmt: skip

# Pooling.
POOLED = [(2, 5, 4, 2)]
for attributes in (
    {}, {"window": (3, 2), "strides": (1, 2), "padding": "same"}, {"window": 2, "strides": 1, "padding": 1},
):  # fmt: skip
    named("max_pool2d", POOLED, max_pool, **attributes)
    named("avg_pool2d", POOLED, avg_pool, **attributes)
for name, loop in (("max_pool1d", max_pool), ("avg_pool1d", avg_pool)):
    case(name, [(2, 7, 2)], lambda x, f=loop: f(x[:, None], (1, 3), (1, 2), "same")[:, 0],
         lambda x, n=name: getattr(ops, n)(x, 3, 2, "same"))  # fmt: skip
for kind in ("nearest", "bilinear"):
    case("upsample2d", [(1, 3, 2, 2)], lambda x, k=kind: upsample(x, (2, 3), k),
         lambda x, k=kind: ops.upsample2d(x, (2, 3), k))  # fmt: skip

# Normalization.


def _normalized(x: np.ndarray, axis: Any, gamma: Any = 1, beta: Any = 0) -> np.ndarray:
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-3) * gamma + beta


def _group_norm(x: np.ndarray, gamma: Any = 1, beta: Any = 0) -> np.ndarray:
    parts = [_normalized(x[..., :2], (1, 2, 3)), _normalized(x[..., 2:], (1, 2, 3))]
    return np.concatenate(parts, -1) * gamma + beta


# Of float16 input the statistics are float32.
STATISTICS = [np.float64, np.float32]
case("batch_norm", [(6, 3), (3,), (3,)], lambda x, g, b: (_normalized(x, 0, g, b), x.mean(0), x.var(0)),
     scale=5, dtypes=STATISTICS)  # fmt: skip
case("batch_norm", [(2, 2, 2, 3)], lambda x: (_normalized(x, (0, 1, 2)), x.mean((0, 1, 2)), x.var((0, 1, 2))),
     scale=5, dtypes=STATISTICS)  # fmt: skip
case("batch_norm", [(6, 3), (3,)], lambda x, g: _normalized(x, 0, g), lambda x, g: ops.batch_norm(x, g)[0], scale=5)
case("batch_norm_inference", [(2, 3), (3,), (3,), (3,), (3,)],
     lambda x, g, b, m, v: (x - m) / np.sqrt(v + 1e-3) * g + b, low=0.3)  # fmt: skip
case("layer_norm", [(4, 5), (5,), (5,)], lambda x, g, b: _normalized(x, -1, g, b), scale=5)
case("layer_norm", [(2, 3, 5)], lambda x: _normalized(x, -1), scale=5)
case("group_norm", [(2, 3, 2, 4), (4,), (4,)], _group_norm, lambda x, g, b: ops.group_norm(x, 2, g, b), scale=5)
case("group_norm", [(2, 3, 2, 4)], _group_norm, lambda x: ops.group_norm(x, 2), scale=5)

# Creation: no tensor goes in.
for name, made, expected in (
    ("zeros", lambda: ops.zeros((2, 3), np.float64), np.zeros((2, 3))),
    ("ones", lambda: ops.ones(3, np.float64), np.ones(3)),
    ("full", lambda: ops.full((2, 1), 7.5, np.float64), np.full((2, 1), 7.5)),
    ("arange", lambda: ops.arange(1, 7, 2), np.arange(1, 7, 2)),
    ("linspace", lambda: ops.linspace(-1, 1, 7, np.float64), np.linspace(-1, 1, 7)),
    ("eye", lambda: ops.eye(2, 3, np.float64), np.eye(2, 3)),
):
    case(name, [], lambda e=expected: e, made, dtypes=[np.float64], differentiable=False)
for name, value in (("zeros_like", 0.0), ("ones_like", 1.0)):
    case(name, ROW, lambda x, v=value: np.full(x.shape, v), differentiable=False)
case("full_like", ROW, lambda x: np.full(x.shape, 2.5), lambda x: ops.full_like(x, 2.5), differentiable=False)

# Public names that are no operations on values, with the test that holds them.
ELSEWHERE = {
    "as_tensor": "test_tensor.py",
    "to": "test_devices.py",
    "index": "ops/test_indexing.py",
    "plain": "ops/test_indexing.py",
    "dropout": "ops/test_random_ops.py",
    "random_normal": "ops/test_random_ops.py",
}
