"""Matrix products, contractions and Einstein sums: drawn shapes and many subscripts, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, check_op, draw, tensors
from hypothesis import given
from hypothesis import strategies as st
from strategies import broadcastable

import gradlite
from gradlite import Tensor, ops

pytestmark = pytest.mark.usefixtures("each_device")

LENGTH = st.integers(0, 3)


@given(batch=broadcastable(), n=LENGTH, k=LENGTH, m=LENGTH, vectors=st.sampled_from(["", "a", "b", "ab"]))
def test_matrix_products_agree_with_numpy_over_batches_and_vectors(batch, n, k, m, vectors):
    first = (k,) if "a" in vectors else (*batch[0], n, k)
    second = (k,) if "b" in vectors else (*batch[1], k, m)
    a, b = draw([first, second])
    inputs = tensors([a, b], grad=True)
    y = ops.matmul(*inputs)
    assert_close(y.numpy(), a @ b)
    if y.size <= 30 and a.size <= 30 and b.size <= 30:
        assert gradlite.gradcheck(ops.matmul, inputs)


@pytest.mark.parametrize(
    ("first", "second"), [((2, 3), (2, 3)), ((3,), (2,)), ((), (2,)), ((2,), ()), ((2, 2, 3), (4, 2))]
)
def test_products_that_do_not_fit_name_both_shapes(first, second):
    with pytest.raises(ValueError, match=r"matmul\(\) needs .* Received: shapes " + str(first).replace("(", r"\(")[:2]):
        gradlite.ones(first) @ gradlite.ones(second)


def test_dense_takes_any_leading_axes_and_lists_and_names_shapes_that_do_not_fit():
    x, w, b = draw([(2, 0, 3), (3, 4), (4,)])
    assert_close(ops.dense(Tensor(x), Tensor(w), Tensor(b)).numpy(), x @ w + b)
    assert ops.dense([1.0, 2.0], [[1.0], [1.0]], [0.5]).item() == 3.5
    for shapes in (((2, 3), (4, 2), None), ((2, 3), (3, 2), (3,)), ((2, 3), (3,), None), ((), (3, 2), None)):
        with pytest.raises(ValueError, match=r"dense\(\) needs x \(..., n\), kernel \(n, m\) and bias \(m,\)"):
            ops.dense(*(None if s is None else gradlite.ones(s) for s in shapes))


def test_the_types_of_all_arguments_promote():
    one = {t: gradlite.ones((2, 2), t) for t in ("float16", "float32", "float64")}
    assert ops.dense(one["float32"], one["float32"], gradlite.ones(2, "float64")).dtype == np.float64
    assert ops.dense(one["float16"], one["float32"]).dtype == np.float32
    assert (one["float16"] @ one["float64"]).dtype == np.float64
    assert ops.einsum("ij,jk->ik", one["float16"], one["float32"]).dtype == np.float32
    assert (gradlite.ones((2, 2), "int64") @ gradlite.ones((2, 2), "int64")).dtype == np.int64


@pytest.mark.parametrize("axes", [0, 1, 2, ([0], [1]), ([-1, 0], [0, 1]), (0, 0), ([], [])])
def test_contractions_agree_with_numpy(axes):
    check_op(lambda a, b: ops.tensordot(a, b, axes), [(3, 2, 3), (3, 3, 2)] if axes != 2 else [(2, 3, 2), (3, 2, 2)],
             lambda a, b: np.tensordot(a, b, axes), dtypes=[np.float64, np.float32], second=False)  # fmt: skip


def test_contractions_that_do_not_fit_name_axes_and_shapes():
    with pytest.raises(ValueError, match=r"tensordot\(\) cannot pair axes 1 of shapes \(2, 3\) and \(2, 3\)"):
        ops.tensordot(gradlite.ones((2, 3)), gradlite.ones((2, 3)), 1)


SUMS = {
    "ij,jk->ik": [(2, 3), (3, 4)],
    "ij,jk": [(2, 3), (3, 4)],
    "ij->ji": [(2, 3)],
    "ji": [(2, 3)],
    "ij->": [(2, 3)],
    "ij->i": [(2, 3)],
    "->": [()],
    "ii->i": [(3, 3)],
    "ii": [(3, 3)],
    "iij->j": [(3, 3, 2)],
    "iijj->ij": [(2, 2, 3, 3)],
    "iii->i": [(2, 2, 2)],
    "ij,ij->ij": [(2, 3), (2, 3)],
    "i,j->ij": [(2,), (3,)],
    "i,i": [(3,), (3,)],
    "ij,kl->il": [(2, 3), (4, 2)],
    "ij,jk,kl->il": [(2, 3), (3, 2), (2, 4)],
    "ij,j,i->": [(2, 3), (3,), (2,)],
    "i,i,i->i": [(3,), (3,), (3,)],
    "bij,bjk->bik": [(2, 2, 3), (2, 3, 2)],
    "bhqd,bhkd->bhqk": [(1, 2, 3, 2), (1, 2, 2, 2)],
    "...ij,...jk->...ik": [(2, 2, 3), (3, 2)],
    "...ij->...ji": [(2, 1, 2, 3)],
    "...,...->...": [(2, 3), (3,)],
    "...i,i": [(2, 3), (3,)],
    "i...->...": [(2, 3)],
    "i...j->j...": [(2, 3, 2)],
    "...ii->...i": [(2, 3, 3)],
    "ij,jk->ki": [(1, 3), (3, 2)],
    "ij,ij->i": [(2, 1), (2, 3)],
    "ij,jk->ik ": [(2, 1), (3, 2)],
    "ab,cb,ab->ac": [(2, 3), (2, 3), (2, 3)],
    ",ij->ij": [(), (2, 3)],
    "ij, jk -> i k": [(2, 2), (2, 2)],
    "BA,AC->BC": [(2, 3), (3, 2)],
    "ij,jk->ik  ": [(0, 3), (3, 2)],
}


@pytest.mark.parametrize("subscripts", SUMS)
def test_einstein_sums_and_their_derivatives_agree_with_numpy(subscripts):
    shapes = SUMS[subscripts]
    check_op(lambda *x: ops.einsum(subscripts, *x), shapes, lambda *x: np.einsum(subscripts, *x),
             dtypes=[np.float64, np.float32])  # fmt: skip


def test_an_einstein_sum_of_one_operand_is_a_copy():
    x = gradlite.ones((2, 2))
    for subscripts in ("ij->ji", "ij->ij", "ii->i", "...->..."):
        assert not np.shares_memory(ops.einsum(subscripts, x).data, x.data)


@pytest.mark.parametrize(
    ("subscripts", "shapes", "words"),
    [
        ("ij,jk->ik", [(2, 3)], "2 terms in .* for 1 operands"),
        ("ij,jk->ik", [(2, 3), (2, 4)], "'j' of .* has lengths 3 and 2"),
        ("ijk->i", [(2, 3)], r"term 0 of 'ijk->i' has 3 subscripts for shape \(2, 3\)"),
        ("ij->ik", [(2, 3)], "needs subscripts of the operands, each once"),
        ("ij->ii", [(2, 3)], "each once"),
        ("ii->i", [(2, 3)], "repeats subscript 'i' over lengths 2 and 3"),
        ("i...jk->i", [(2, 3)], "more subscripts"),
    ],
)
def test_sums_that_do_not_fit_are_named(subscripts, shapes, words):
    with pytest.raises(ValueError, match=words):
        ops.einsum(subscripts, *(gradlite.ones(s) for s in shapes))


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_an_activation_in_the_kernel_gives_the_values_and_gradients_of_one_beside_it(activation):
    x, w, b = (Tensor(a, requires_grad=True) for a in draw([(6, 5), (5, 4), (4,)]))
    image, kernel, shift = (Tensor(a, requires_grad=True) for a in draw([(2, 5, 5, 3), (3, 3, 3, 4), (4,)]))
    apply = getattr(ops, activation)
    for fused, apart, inputs in (
        (ops.dense(x, w, b, activation=activation), apply(ops.dense(x, w, b)), (x, w, b)),
        (
            ops.conv2d(image, kernel, shift, activation=activation),
            apply(ops.conv2d(image, kernel, shift)),
            (image, kernel, shift),
        ),
    ):
        assert_close(fused.numpy(), apart.numpy())
        weights = Tensor(draw([fused.shape])[0])
        for a, b_ in zip(
            gradlite.grad((fused * weights).sum(), inputs), gradlite.grad((apart * weights).sum(), inputs)
        ):
            assert_close(a.numpy(), b_.numpy())


def test_an_unknown_activation_is_refused_by_name():
    for call in (
        lambda: ops.dense(gradlite.ones((2, 3)), gradlite.ones((3, 2)), activation="gelu"),
        lambda: ops.conv2d(gradlite.ones((1, 3, 3, 1)), gradlite.ones((1, 1, 1, 1)), activation="gelu"),
    ):
        with pytest.raises(ValueError, match=r"knows the activations relu, sigmoid, tanh and None. Received: 'gelu'"):
            call()
