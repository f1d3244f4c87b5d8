"""A call or more of every kernel: its arrays, its attributes, and how many of the arrays it updates in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlite.backends import get_backend
from gradlite.backends.base import ARRAY_FUNCTIONS

Shape = tuple[int, ...]


@dataclass
class Call:
    """One call: ``arrays(rng, dtype)`` makes the arrays."""

    name: str
    arrays: Callable[[np.random.Generator, Any], list[Any]]
    attributes: dict[str, Any]
    updates: int = 0
    dtypes: tuple[str, ...] = ("float32", "float64")

    def __str__(self) -> str:
        return self.name


CALLS: list[Call] = []


def real(*shapes: Shape | None, low: float = -2.0, high: float = 2.0) -> Callable[..., list[Any]]:
    """Random arrays of these shapes; None stays None."""
    return lambda rng, dtype: [
        None if s is None else np.asarray(rng.uniform(low, high, s)).astype(dtype) for s in shapes
    ]


def positive(*shapes: Shape | None) -> Callable[..., list[Any]]:
    """Random arrays away from zero."""
    return real(*shapes, low=0.3, high=0.9)


def together(*makers: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """The arrays of several makers, one after the other."""
    return lambda rng, dtype: [x for make in makers for x in make(rng, dtype)]


def integers(high: int, *shapes: Shape, kind: Any = np.int64) -> Callable[..., list[Any]]:
    """Random integers in [0, high)."""
    return lambda rng, dtype: [rng.integers(0, high, s).astype(kind) for s in shapes]


def fixed(*values: Any) -> Callable[..., list[Any]]:
    """These values, copied."""
    return lambda rng, dtype: [np.array(v) if isinstance(v, np.ndarray) else v for v in values]


def call(name: str, arrays: Any, updates: int = 0, dtypes: Any = ("float32", "float64"), **attributes: Any) -> None:
    """Enter a call."""
    CALLS.append(Call(name, arrays, attributes, updates, dtypes))


# What the array module has itself.
WITH_AXIS = {"sum", "prod", "max", "min", "argmax", "argmin", "all", "any", "cumsum"}
OF_TWO = {
    "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "power", "arctan2", "hypot", "maximum",
    "minimum", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or",
    "logical_xor",
}  # fmt: skip
for name in ARRAY_FUNCTIONS:
    if name == "matmul":
        call(name, real((4, 5), (5, 3)))
        call(name, real((2, 4, 5), (5, 3)))
        call(name, real((300, 101), (101, 203)))
    elif name in WITH_AXIS:
        call(name, real((3, 4, 2)), axis=1)
    elif name in OF_TWO:
        call(name, positive((3, 4), (4,)))
    else:
        call(name, real((3, 4), low=1.1, high=1.9) if name == "arccosh" else positive((3, 4)))

# Arrays, reductions, linear algebra.
call("astype", real((3, 4)), dtype=np.dtype("float16"))
call("copy", real((3, 4)))
call("assign", real((3, 4), (3, 4)), updates=1)
call("assign_add", real((3, 4), (4,)), updates=1)
call("accumulate", fixed(np.array(2.5)), updates=1, dtypes=("float64",), values=(np.array(1.5),))
call("assign_at", real((3, 4), (3,)), updates=1, index=(slice(None), 2))
call("where", together(integers(2, (3, 4), kind=np.bool_), real((3, 4), (4,))))
call("concatenate", real((2, 3), (4, 3), (0, 3)), axis=0)
call("pad", real((2, 3)), widths=((1, 0), (2, 3)), value=1.5)
call("gather", real((4, 3)), index=(np.array([0, 0, 3]), slice(None)))
call("scatter", real((3, 3)), index=(np.array([0, 0, 3]), slice(None)), shape=(4, 3))
call("scatter", real((2, 3)), index=(slice(1, 3),), shape=(4, 3))
SAMPLES = (np.arange(21.0, dtype=np.float32).reshape(7, 3), np.arange(7), np.arange(14, dtype=np.uint8).reshape(7, 2))
for arrays, order in ((SAMPLES, np.array([3, 0, 6, 2, 1, 5, 4])), (SAMPLES[:1], None)):
    rows = get_backend("cpu").rows(arrays, order)
    for start in (2, 5, 20):
        call("select_rows", fixed(np.array(start)), dtypes=("float32",), rows=rows, size=4)
call("take", together(real((4, 3)), integers(4, (2, 2))), axis=0)
call("take_gradient", together(real((2, 2, 3)), integers(4, (2, 2))), shape=(4, 3), axis=0)
call("take_along_axis", together(real((4, 3)), integers(4, (2, 3))), axis=0)
call("take_along_axis_gradient", together(real((2, 3)), integers(4, (2, 3))), shape=(4, 3), axis=0)
call("one_hot", integers(5, (2, 3)), depth=5, dtype=np.dtype("float32"))
call("argsort", real((3, 5)), axis=1)
for axis, keepdims in ((None, False), ((1,), True), ((0, 2), False)):
    call("mean", real((3, 4, 2)), axis=axis, keepdims=keepdims)
    call("logsumexp", real((3, 4, 2)), axis=axis, keepdims=keepdims)
    call("count_nonzero", integers(2, (3, 4, 2)), axis=axis, keepdims=keepdims)
for rows, columns in ((9, 4), (1, 1), (1500, 10)):
    call("count_correct", together(integers(columns, (rows,)), real((rows, columns))))
    call("count_correct", real((rows, columns), (rows, columns)))
call("einsum", real((3, 4), (4, 2)), subscripts="ij,jk->ik")
call("einsum", real((3, 4)), subscripts="ij->ji")
call("einsum", real((3, 4), (4, 2), (2,)), subscripts="ij,jk,k->i")
for rows in (5, 300):
    call("dense", real((rows, 7), (7, 6), (6,)))
    call("dense", real((2, rows, 7), (7, 6), None))
    for activation in ("relu", "sigmoid", "tanh"):
        call("dense", real((rows, 7), (7, 6), (6,)), activation=activation)
        call(
            "dense_input_gradient", together(real((rows, 6)), positive((rows, 6)), real((7, 6))), activation=activation
        )
        call("dense_weight_gradient", together(real((rows, 7), (rows, 6)), positive((rows, 6))), activation=activation)
    call("dense_input_gradient", real((2, rows, 6), None, (7, 6)))
    call("dense_weight_gradient", real((2, rows, 7), (2, rows, 6), None))
call("column_sum", real((3, 4, 5)))
call("rsqrt", positive((3, 4)))

# Special functions, small and large enough for several threads.
for shape in ((3, 4), (7, 3001)):
    for name in ("erf", "sigmoid", "softplus", "relu"):
        call(name, real(shape))
    call("relu_gradient", real(shape, shape))

# Softmax and cross-entropies.
for name in ("softmax", "log_softmax"):
    call(name, real((5, 7)))
    call(name + "_gradient", real((5, 7), (5, 7)))
call("sparse_softmax_cross_entropy", together(real((5, 7)), integers(7, (5,))))
call("sparse_softmax_cross_entropy_gradient", together(real((5,)), positive((5, 7)), integers(7, (5,))))
call("softmax_cross_entropy", together(real((5, 7)), positive((5, 7))))
call("softmax_cross_entropy_gradient", together(real((5,)), positive((5, 7), (5, 7))))
call("sigmoid_cross_entropy", together(real((5, 7)), positive((5, 7))))

# Convolution.
for image, kernel, options in (
    ((2, 5, 6, 4), (3, 2, 4, 5), {"strides": (2, 1), "padding": ((1, 0), (0, 2)), "dilation": (1, 2), "groups": 1}),
    ((2, 12, 12, 8), (3, 3, 8, 16), {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}),
    ((2, 6, 5, 4), (3, 3, 2, 6), {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 2}),
    ((2, 9, 8, 6), (3, 3, 1, 6), {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 6}),
    ((2, 6, 6, 5), (1, 1, 5, 7), {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}),
):
    lengths = [
        (n + sum(p) - (k - 1) * d - 1) // s + 1
        for n, k, s, d, p in zip(image[1:3], kernel[:2], options["strides"], options["dilation"], options["padding"])
    ]
    result = (image[0], *lengths, kernel[3])
    call("conv2d", real(image, kernel, (kernel[3],)), **options)
    call("conv2d", real(image, kernel, None), **options)
    call("conv2d_statistics", real(image, kernel, (kernel[3],)), activation="relu", **options)
    call("conv2d", real(image, kernel, (kernel[3],)), activation="relu", **options)
    for pool in (
        {"window": (2, 2), "pool_strides": (2, 2), "pool_padding": ((0, 0), (0, 0))},
        {"window": (1, 1), "pool_strides": (1, 1), "pool_padding": ((0, 0), (0, 0))},
    ):
        channels = (kernel[3],)
        given = together(real(image, kernel, channels, channels, channels, channels), positive(channels))
        call("conv2d_batch_norm_max_pool2d", given, activation="relu", epsilon=1e-3, **pool, **options)
    call("conv2d", real(image, kernel, None), activation="tanh", **options)
    channels = (image[3],)
    given = together(real(channels, channels, channels), positive(channels))
    normalized = together(real(image, kernel, (kernel[3],)), given)
    call("normalized_conv2d_statistics", normalized, activation="relu", epsilon=1e-3, **options)
    normalized = together(real(image, result), given)
    call("normalized_conv2d_parameter_gradients", normalized, kernel_shape=kernel, epsilon=1e-3, **options)
    call("conv2d_input_gradient", real(result, kernel), input_shape=image, **options)
    for name in ("conv2d_weight_gradient", "conv2d_parameter_gradients"):
        call(name, real(image, result), kernel_shape=kernel, **options)

# Pooling.
for window, strides, padding, result in (
    ((2, 2), (2, 2), ((0, 0), (0, 0)), (2, 3, 4, 3)), ((3, 2), (1, 2), ((1, 1), (0, 1)), (2, 6, 4, 3)),
):  # fmt: skip
    options = {"window": window, "strides": strides, "padding": padding}
    call("max_pool2d", real((2, 6, 8, 3)), **options)
    call("avg_pool2d", real((2, 6, 8, 3)), **options)
    # Places inside every window: the first tap may be padding, the middle one is not.
    inside = integers(1, result, kind=np.uint8)
    tap = lambda rng, dtype, m=inside: [m(rng, dtype)[0] + np.uint8(3)]  # noqa: E731
    call("max_pool2d_scatter", together(real(result), tap), input_shape=(2, 6, 8, 3), **options)
    call("max_pool2d_gather", together(real((2, 6, 8, 3)), tap), **options)
    call("avg_pool2d_gradient", real(result), input_shape=(2, 6, 8, 3), **options)
for kind in ("nearest", "bilinear"):
    call(f"upsample2d_{kind}", real((2, 3, 4, 2)), size=(2, 3))
    call(f"upsample2d_{kind}_gradient", real((2, 6, 12, 2)), size=(2, 3))

# Normalization, small and large.
for rows in (6, 4000):
    call("batch_norm", real((rows, 5), (5,), (5,)), epsilon=1e-3)
    call("batch_norm", real((rows, 5), None, None), epsilon=1e-3)
    call("batch_norm_inference", together(real((rows, 5), (5,), (5,), (5,)), positive((5,))), epsilon=1e-3)
    call("batch_norm_gradient", together(real((rows, 5), (rows, 5), (5,), (5,)), positive((5,))), epsilon=1e-3)
call("layer_norm", real((6, 5), (5,), (5,)), epsilon=1e-3)
call("layer_norm_gradient", together(real((6, 5), (6, 5), (5,), (6,)), positive((6,))), epsilon=1e-3)

# Random numbers: a state is (seed, stream, draw).
STATE = fixed(np.array([7, 3, 11], np.uint64))
call("draw_random", STATE, updates=1)
call("draw_random_each", STATE, updates=1)
call("random_bits", STATE, size=1001)
for dtype in ("float16", "float32", "float64"):
    call("random_uniform", STATE, shape=(33, 7), dtype=np.dtype(dtype))
    call("random_normal", STATE, shape=(33, 7), dtype=np.dtype(dtype))
call("random_permutation", STATE, size=57)
for noise in (None, (None, 1)):
    call("dropout", together(real((33, 70)), STATE), rate=0.4, noise_shape=noise)

# Kernels that are several in a row: normalization, pooling and dropout; softmax, cross-entropy and its gradient.
for shape, pooled, options in (
    ((2, 6, 8, 3), (2, 3, 4, 3), {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0)), "rate": 0.4}),
    ((2, 6, 8, 4), (2, 6, 4, 4), {"window": (3, 2), "strides": (1, 2), "padding": ((1, 1), (0, 1)), "rate": 0.4}),
    ((33, 8), (33, 8), {"window": (1, 1), "strides": (1, 1), "padding": ((0, 0), (0, 0)), "rate": 0.0}),
):
    channels, options = (shape[-1],), options | {"epsilon": 1e-3}
    taken = fixed(np.array([], np.uint8)) if shape == pooled else integers(1, pooled, kind=np.uint8)
    statistics = together(real(channels), positive(channels))
    call("batch_norm_max_pool2d_dropout", together(real(shape, channels, channels), STATE), **options)
    call(
        "batch_norm_apply_max_pool2d_dropout",
        together(real(shape, channels, channels), statistics, STATE),
        **options,
    )
    for activation in (None, "relu"):
        call(
            "batch_norm_max_pool2d_dropout_gradient",
            together(real(pooled, shape, channels), statistics, taken, STATE),
            activation=activation,
            **options,
        )
call("sparse_softmax_cross_entropy_loss", together(real((5, 7)), integers(7, (5,))))
call("softmax_cross_entropy_loss", real((5, 7), (5, 7)))
call("cross_entropy_step", together(real((5, 7)), integers(7, (5,)), real(())))
call("cross_entropy_step", real((5, 7), (5, 7), ()))

# Optimizers: flat parameter, gradient, and state, then the rate and the step as arrays of no axes.
RATE, STEP = fixed(np.array(0.01, np.float32)), fixed(np.array(3, np.int64))
for shape in ((13,), (40_001,)):
    two, state = real(shape, shape), positive(shape)
    call("sgd", together(two, RATE), updates=1)
    call("sgd_momentum", together(two, state, RATE), updates=3, momentum=0.9, nesterov=True)
    betas = {"beta_1": 0.9, "beta_2": 0.99}
    call("adam", together(two, state, state, fixed(None), RATE, STEP), updates=4, epsilon=1e-7, **betas)
    call("adam", together(two, state, state, state, RATE, STEP), updates=5, epsilon=1e-7, **betas)
    call("adam_segments", together(two, state, state, RATE, STEP), updates=4, epsilon=1e-7, **betas)
    call("adamax", together(two, state, state, RATE, STEP), updates=4, epsilon=1e-7, **betas)
    product = fixed(np.array(0.5, np.float32))
    call("nadam", together(two, state, state, product, RATE, STEP), updates=4, epsilon=1e-7, **betas)
    call("rmsprop", together(two, state, fixed(None, None), RATE), updates=3, rho=0.9, momentum=0.0, epsilon=1e-7)
    squares = real(shape, low=2, high=3)
    call("rmsprop", together(two, squares, state, state, RATE), updates=5, rho=0.9, momentum=0.9, epsilon=1e-7)
    call("adagrad", together(two, state, RATE), updates=3, epsilon=1e-7)
    call("adadelta", together(two, state, state, RATE), updates=4, rho=0.9, epsilon=1e-7)
    call("lion", together(two, state, RATE), updates=3, **betas)
    call("weight_decay", together(real(shape), RATE), updates=1, rate=0.1)
    call("moving_average", together(two, STEP), updates=1, momentum=0.9)
    call("moving_average", together(two, fixed(None)), updates=1, momentum=0.9)
    call("clip_by_value", real(shape), updates=1, limit=0.5)
    call("scale", real(shape), updates=1, factor=0.5)
    call("scale_to_norm", together(real(shape), fixed(np.array(9.0))), updates=1, norm=1.0)
    call("square_sum", real(shape, (5,)))

# Conversions of many arrays.
call("astype_each", real((3, 5), (40_001,)), dtypes=("float32",), dtype="float16")
call("astype_each", real((3, 5), (7,)), dtypes=("float16",), dtype="float32")

# Dynamic loss scaling: gradients of a finite and of an infinite step; updates that are made and left out.
GOOD, BAD, SCALE = fixed(np.array(1, np.int32)), fixed(np.array(0, np.int32)), fixed(np.array(8, np.float32))
INFINITE = fixed(np.array([1, np.inf, 2], np.float32))
call("unscale", together(BAD, real((40_001,), (3,)), SCALE), updates=3)
call("unscale", together(GOOD, real((5,)), INFINITE, SCALE), updates=3, dtypes=("float32",))
for count, flag in ((3, GOOD), (3, BAD), (4, GOOD)):
    call("adapt_scale", together(SCALE, fixed(np.array(count)), flag), updates=2, dtypes=("float32",), growth_steps=4)
    call("is_due", together(flag, fixed(np.array(count))), dtypes=("float32",), every=3)
for activation in (None, "relu"):
    given = together(real((35,), (6, 7)), positive((35,), (35,)), real((7,), (6, 5), (6, 7)), RATE, STEP)
    call("dense_weight_gradient_adam", given, updates=5, activation=activation, epsilon=1e-7, **betas)
two, states = real((1001,), (1001,)), positive((1001,), (1001,))
call("gated", together(two, RATE, GOOD), updates=1, update="sgd")
call("gated", together(two, states, fixed(None), RATE, STEP, GOOD), updates=4, update="adam", epsilon=1e-7, **betas)
call("gated", together(two, GOOD), updates=1, update="assign_add")
call("gated", together(two, fixed(np.float32(0.1)), GOOD), updates=1, update="sgd")  # no kernel takes such a rate
call("moving_averages", real((40,), (40,)), updates=1, momentum=0.9)
call("nadam_product", together(positive(()), STEP), updates=1, beta_1=0.9, dtypes=("float32",))
