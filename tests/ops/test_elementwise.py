"""Elementwise operations over drawn shapes, at kinks and ends, and with NumPy's promotion of types."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from helpers import assert_close, check_op, draw, tensors
from hypothesis import given
from strategies import broadcastable, shapes

import gradlite
from gradlite import Tensor, ops

pytestmark = pytest.mark.usefixtures("each_device")

UNARY = "negative abs square exp expm1 sin cos arctan sinh cosh tanh arcsinh sign floor ceil rint trunc isnan"
BINARY = "add subtract multiply divide remainder maximum minimum hypot arctan2 floor_divide less equal logical_xor"


@given(shape=shapes())
def test_functions_of_one_tensor_agree_with_numpy_on_every_shape(shape):
    (x,) = draw([shape])
    for name in UNARY.split():
        assert_close(getattr(ops, name)(Tensor(x)).numpy(), getattr(np, name)(x))


@given(pair=broadcastable())
def test_functions_of_two_tensors_broadcast_as_numpys_do(pair):
    a, b = draw(pair, low=0.3)
    for name in BINARY.split():
        assert_close(getattr(ops, name)(*tensors([a, b])).numpy(), getattr(np, name)(a, b))


@given(pair=broadcastable())
def test_gradients_are_summed_over_what_was_broadcast(pair):
    a, b = tensors(draw(pair, low=0.3), grad=True)
    (a * b).sum().backward()
    full = np.broadcast_shapes(*pair)
    for x, other in ((a, b), (b, a)):
        wide = np.broadcast_to(other.numpy(), full)
        axes = tuple(
            i for i in range(len(full)) if i < len(full) - x.ndim or x.shape[i - len(full) + x.ndim] != full[i]
        )
        assert_close(x.grad.numpy(), wide.sum(axes).reshape(x.shape))


@given(three=broadcastable(3))
def test_where_broadcasts_all_three(three):
    c, a, b = draw(three)
    check_op(lambda a, b: ops.where(c > 0, a, b), [a.shape, b.shape], lambda a, b: np.where(c > 0, a, b), second=False)


# Kinks, ends, and numbers that are none.


def gradient(function, *values, dtype="float64"):
    """The gradients of the sum of ``function`` at these values."""
    inputs = [Tensor(v, dtype=dtype, requires_grad=True) for v in values]
    found = [g.numpy() for g in gradlite.grad(function(*inputs).sum(), inputs)]
    return found[0] if len(found) == 1 else found


def test_derivatives_at_kinks_are_those_that_the_documentation_names():
    np.testing.assert_array_equal(gradient(ops.relu, [-1.0, 0.0, 1.0]), [0, 0, 1])
    np.testing.assert_array_equal(gradient(ops.abs, [-1.0, 0.0, 1.0]), [-1, 0, 1])
    np.testing.assert_array_equal(
        gradient(lambda x: ops.clip(x, 0.0, 1.0), [-1.0, 0.0, 0.5, 1.0, 2.0]), [0, 1, 1, 1, 0]
    )
    for extreme in (ops.maximum, ops.minimum):
        a, b = gradient(extreme, [1.0, 2.0], [1.0, 2.0])
        np.testing.assert_array_equal(a, [0.5, 0.5])
        np.testing.assert_array_equal(b, [0.5, 0.5])


def test_powers_at_zero_and_below():
    np.testing.assert_array_equal(gradient(lambda x: x**2, [-2.0, 0.0, 3.0]), [-4, 0, 6])
    np.testing.assert_array_equal(gradient(lambda x: x**3, [-2.0, 0.0]), [12, 0])
    np.testing.assert_array_equal(gradient(lambda x: x**0, [-2.0, 0.0, 3.0]), [0, 0, 0])
    np.testing.assert_array_equal(gradient(lambda x: x**1, [-2.0, 0.0, 3.0]), [1, 1, 1])
    base, exponent = gradient(ops.power, [0.0, 0.0, 2.0], [2.0, 1.0, 0.0])
    np.testing.assert_allclose(base, [0, 1, 0])
    np.testing.assert_allclose(exponent, [0, 0, math.log(2)])
    second = gradient(lambda x: gradlite.grad((x**2).sum(), x, create_graph=True), [0.0, -1.0])
    np.testing.assert_array_equal(second, [2, 2])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_that_saturate_neither_overflow_nor_lose_their_gradient(dtype):
    big = [-1e4, -100.0, 100.0, 1e4]
    for name, ends, slopes in (
        ("sigmoid", [0, 0, 1, 1], [0, 0, 0, 0]), ("tanh", [-1, -1, 1, 1], [0, 0, 0, 0]),
        ("softplus", [0, 0, 100, 1e4], [0, 0, 1, 1]), ("erf", [-1, -1, 1, 1], [0, 0, 0, 0]),
        ("log_sigmoid", [-1e4, -100, 0, 0], [1, 1, 0, 0]), ("elu", [-1, -1, 100, 1e4], [0, 0, 1, 1]),
        ("silu", [0, 0, 100, 1e4], [0, 0, 1, 1]), ("gelu", [0, 0, 100, 1e4], [0, 0, 1, 1]),
        ("mish", [0, 0, 100, 1e4], [0, 0, 1, 1]),
    ):  # fmt: skip
        function = getattr(ops, name)
        np.testing.assert_allclose(
            function(Tensor(big, dtype=dtype)).numpy(), ends, atol=1e-30, rtol=1e-6, err_msg=name
        )
        np.testing.assert_allclose(gradient(function, big, dtype=dtype), slopes, atol=1e-30, rtol=1e-6, err_msg=name)


def test_missing_numbers_stay_missing():
    nan = Tensor([np.nan, 1.0])
    for y in (ops.relu(nan), ops.maximum(nan, 0.0), ops.minimum(nan, 5.0), ops.clip(nan, 0.0, 2.0), ops.abs(nan)):
        assert np.isnan(y.numpy()).tolist() == [True, False]


def test_a_branch_of_where_that_is_not_taken_gets_no_gradient():
    x = Tensor([0.0, 4.0], dtype="float64", requires_grad=True)
    y = ops.where(x > 0, ops.sqrt(ops.where(x > 0, x, 1.0)), 0.0)
    np.testing.assert_array_equal(gradlite.grad(y.sum(), x).numpy(), [0.0, 0.25])


def test_clip_takes_tensors_and_one_bound_and_wants_one_at_least():
    x = Tensor([-2.0, 0.5, 3.0])
    np.testing.assert_array_equal(ops.clip(x, low=0.0).numpy(), [0, 0.5, 3])
    np.testing.assert_array_equal(ops.clip(x, high=Tensor([-3.0, 1.0, 1.0])).numpy(), [-3, 0.5, 1])
    with pytest.raises(ValueError, match="lower bound, an upper bound or both"):
        ops.clip(x)


# Types.

DTYPES = [np.dtype(t) for t in ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")]
SCALARS = [True, 3, 2.5, np.float32(2.5), np.float64(2.5), np.int8(3), np.int64(3)]


def _outcome(function, *inputs):
    try:
        result = function(*inputs)
        return result.dtype if isinstance(result, Tensor) else np.asarray(result).dtype
    except TypeError as error:
        return type(error)


@pytest.mark.cpu_only
@pytest.mark.parametrize("name", ["add", "multiply", "divide", "power", "maximum", "floor_divide", "where", "less"])
def test_pairs_of_types_promote_as_in_numpy(name):
    function, known = getattr(ops, name), getattr(np, name)
    if name == "where":
        function, known = (lambda a, b: ops.where(a > 1, a, b)), (lambda a, b: np.where(a > 1, a, b))
    for first, second in itertools.product(DTYPES, DTYPES):
        a, b = np.array([1, 2], first), np.array([1, 2], second)
        assert _outcome(function, Tensor(a), Tensor(b)) == _outcome(known, a, b), (first, second)


@pytest.mark.cpu_only
@pytest.mark.parametrize("apply", [lambda x, s: x + s, lambda x, s: s * x, lambda x, s: x / s, lambda x, s: s - x],
                         ids=["add", "multiply", "divide", "subtract"])  # fmt: skip
@pytest.mark.parametrize("shape", [(), (2,)])
def test_python_numbers_take_the_type_of_the_tensor_and_numpys_scalars_keep_theirs(apply, shape):
    for dtype, scalar in itertools.product(DTYPES, SCALARS):
        x = np.ones(shape, dtype)
        assert _outcome(apply, Tensor(x), scalar) == _outcome(apply, x, scalar), (dtype, scalar)


def test_python_numbers_alone_are_float32_and_int64():
    assert ops.add(1.0, 2.0).dtype == np.float32
    assert ops.add(1, 2).dtype == np.int64
    assert ops.exp(1.0).dtype == np.float32
    mask = Tensor([True, False])
    assert ops.where(mask, 1.0, 0.0).dtype == np.float32
    assert ops.where(mask, 1.0, 0).dtype == np.float32
    assert ops.where(mask, 1, 0).dtype == np.int64
    assert ops.where(mask, np.float64(1.0), 0.0).dtype == np.float64


@pytest.mark.cpu_only
@pytest.mark.parametrize("name", ["exp", "sqrt", "sin", "tanh", "log1p", "arctan"])
def test_integers_become_the_floats_that_numpy_makes_of_them(name):
    for dtype in DTYPES:
        x = np.array([0, 1], dtype)
        found = getattr(ops, name)(Tensor(x))
        assert found.dtype == getattr(np, name)(x).dtype
        np.testing.assert_array_equal(found.numpy(), getattr(np, name)(x))


@pytest.mark.parametrize(
    "function",
    [
        ops.softmax, ops.log_softmax, ops.logsumexp, ops.erf, ops.sigmoid, ops.softplus, ops.gelu, ops.silu, ops.selu,
        ops.layer_norm, lambda x: ops.batch_norm(x)[0], ops.mean, ops.std, ops.norm, ops.rsqrt,
        lambda x: ops.avg_pool1d(x[None], 2),
        lambda x: ops.conv1d(x[None], np.full((1, 2, 2), 0.5)), lambda x: ops.dense(x, np.full((2, 3), 0.5)),
        lambda x: ops.sparse_softmax_cross_entropy([0, 1], x), lambda x: ops.sigmoid_cross_entropy([[0, 1], [1, 0]], x),
        lambda x: ops.group_norm(x[None], 1), lambda x: ops.upsample2d(x[None, :, :, None], 2, "bilinear"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_functions_of_real_numbers_give_real_numbers_for_integers(function, dtype):
    x = np.array([[1, 2], [3, 5]])
    found = function(Tensor(x, dtype=dtype))
    assert found.dtype.kind == "f"
    np.testing.assert_allclose(found.numpy(), function(Tensor(x, dtype="float64")).numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "mean", "var", "max", "any", "argmax", "count_nonzero"])
def test_reductions_give_the_types_that_numpys_give(name):
    for dtype in DTYPES:
        x = np.array([[1, 0], [1, 1]], dtype)
        assert getattr(ops, name)(Tensor(x)).dtype == np.asarray(getattr(np, name)(x)).dtype, dtype


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_python_numbers_inside_operations_do_not_widen_the_type(dtype):
    x = Tensor(np.array([[0.5, 1.5], [1.0, 2.0]], dtype), requires_grad=True)
    for name in (
        "gelu", "silu", "mish", "selu", "hard_silu", "leaky_relu", "softsign", "squareplus", "sparse_plus", "std",
        "norm", "logsumexp", "sparsemax", "log_softmax", "layer_norm", "erf", "exp2", "rsqrt", "log10",
    ):  # fmt: skip
        y = getattr(ops, name)(x)
        (g,) = gradlite.grad(y.sum(), [x])
        assert (y.dtype, g.dtype) == (np.dtype(dtype), np.dtype(dtype)), name


# Errors.


def test_shapes_that_do_not_broadcast_are_named_with_the_operation():
    with pytest.raises(ValueError, match=r"add\(\) of \(3,\), \(2,\)"):
        gradlite.ones(3) + gradlite.ones(2)
    with pytest.raises(ValueError, match=r"where\(\) of \(3,\), \(2,\), \(3,\)"):
        ops.where(gradlite.ones(3) > 0, gradlite.ones(2), gradlite.ones(3))
