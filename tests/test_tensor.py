"""Tensor: how it is made, what it tells, conversion to Python, copies, pickles, and messages for misuse."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import gradlite
from gradlite import Tensor, Variable
from gradlite.autograd import as_tensor

pytestmark = pytest.mark.usefixtures("each_device")


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"), (3, "int64"), (True, "bool"), ([1.0, 2], "float32"), ([1, 2], "int64"), ([True], "bool"),
        ([], "float32"), ((1.0, 2.0), "float32"), (range(3), "int64"), ([[1, 2.0]], "float32"),
        (np.float64(1.0), "float64"), (np.ones(2), "float64"), (np.ones(2, np.float16), "float16"),
        (np.int8(3), "int8"), (np.arange(3, dtype=np.uint8), "uint8"), (np.bool_(True), "bool"),
    ],
)  # fmt: skip
def test_python_floats_become_float32_integers_int64_and_arrays_keep_their_type(data, dtype):
    t = Tensor(data)
    assert t.dtype == np.dtype(dtype)
    assert t.shape == np.shape(data)
    np.testing.assert_array_equal(t.numpy(), np.asarray(data))


def test_a_dtype_is_converted_to():
    assert Tensor([1, 2], dtype="float64").dtype == np.float64
    assert Tensor(np.ones(2), dtype=np.float32).dtype == np.float32
    assert Tensor(Tensor([1.5]), dtype=int).item() == 1
    assert Tensor([0.1], dtype="float64").item() == 0.1


@pytest.mark.cpu_only
def test_an_array_is_kept_without_a_copy_and_numpy_gives_a_copy():
    x = np.ones(3)
    t = Tensor(x)
    assert t.data is x
    t.numpy()[0] = 5.0
    assert x[0] == 1.0
    assert Tensor(t).data is x
    assert as_tensor(t) is t


@pytest.mark.parametrize(
    "data", ["text", None, 1j, {1, 2}, [None], 2**70, object(), np.array(["a"]), np.datetime64("2020")]
)
def test_what_is_no_number_is_refused_and_named(data):
    with pytest.raises(TypeError, match=f"Tensor holds real numbers or booleans. Received: {type(data).__name__}"):
        Tensor(data)


def test_ragged_sequences_are_refused():
    with pytest.raises(ValueError, match="inhomogeneous"):
        Tensor([[1.0], [1.0, 2.0]])


@pytest.mark.cpu_only
def test_shape_dtype_size_and_place():
    t = gradlite.zeros((2, 3, 4), "float16")
    assert (t.shape, t.ndim, t.size, t.nbytes, t.device, len(t)) == ((2, 3, 4), 3, 24, 48, "cpu", 2)
    assert t.dtype == np.float16
    assert t.is_leaf
    assert not (t.requires_grad_() * 2).is_leaf


@pytest.mark.parametrize("data", [1, [1, 2], True, np.arange(3, dtype=np.uint8)])
def test_only_floating_point_tensors_can_require_a_gradient(data):
    with pytest.raises(TypeError, match=r"Only floating-point tensors have gradients. Received: dtype .*astype"):
        Tensor(data, requires_grad=True)
    with pytest.raises(TypeError, match="Only floating-point"):
        Tensor(data).requires_grad_()


def test_recording_can_be_switched_off_on_leaves_only():
    x = Tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="detach"):
        (x * 2).requires_grad_(False)
    assert not x.requires_grad_(False).requires_grad


def test_results_of_integers_and_comparisons_require_no_gradient():
    x = Tensor([1.0, 2.0], requires_grad=True)
    for y in (x > 1, x.argmax(), gradlite.isnan(x), x.astype(int), gradlite.floor(x), x.detach()):
        assert not y.requires_grad


def test_detach_shares_memory_and_copy_does_not():
    x = Tensor([1.0], requires_grad=True)
    assert x.detach().data is x.data
    assert not np.shares_memory(x.copy().data, x.data)
    assert x.copy().requires_grad


# Python numbers, truth, length, iteration, formatting.


def test_one_element_is_a_python_number():
    assert Tensor([[2.5]]).item() == 2.5
    assert isinstance(Tensor(2.5).item(), float)
    assert isinstance(Tensor(2).item(), int)
    assert (float(Tensor([2.5])), int(Tensor(2.9)), [10, 20][Tensor(1)]) == (2.5, 2, 20)


@pytest.mark.parametrize("shape", [(2,), (0,), (1, 3)])
def test_item_of_several_elements_names_the_shape(shape):
    with pytest.raises(ValueError, match="one element"):
        gradlite.zeros(shape).item()


def test_a_float_is_no_index():
    with pytest.raises(TypeError, match=r"integer tensor can be an index. Received: dtype float32"):
        [1, 2][Tensor(1.0)]


def test_truth_of_one_element_and_of_several():
    assert Tensor([[1.0]])
    assert not Tensor(0)
    for shape in ((2,), (0,)):
        with pytest.raises(ValueError, match=r"ambiguous; use .any\(\) or .all\(\)"):
            bool(gradlite.zeros(shape))


def test_length_and_iteration_go_along_the_first_axis_and_are_recorded():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = x
    assert len(x) == 2
    (first * 2 + second * 3).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[2.0, 2.0], [3.0, 3.0]])
    for use in (len, iter):
        with pytest.raises(TypeError, match="without axes"):
            use(Tensor(1.0))


def test_containment_compares_elements():
    assert 2.0 in Tensor([1.0, 2.0])
    assert 5.0 not in Tensor([1.0, 2.0])


def test_format_and_string():
    t = Tensor(3.14159)
    assert f"{t:.2f}" == "3.14"
    assert f"{t}" == str(t) == repr(t)
    with pytest.raises(ValueError, match="one element"):
        f"{gradlite.zeros(2):.2f}"


@pytest.mark.cpu_only
def test_repr_shows_values_dtype_device_and_whether_a_gradient_is_required():
    text = repr(Tensor([[1.5, -2.0]], requires_grad=True))
    assert text == "Tensor([[ 1.5, -2. ]], dtype=float32, device='cpu', requires_grad=True)"
    assert repr(Tensor([1, 2])) == "Tensor([1, 2], dtype=int64, device='cpu')"
    assert "..." in repr(gradlite.zeros(1000))
    assert len(repr(gradlite.zeros((100, 100)))) < 1000
    assert "Variable" in repr(Variable([1.0]))


def test_tolist_gives_nested_python_numbers():
    assert Tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert Tensor(1.5).tolist() == 1.5


def test_tensors_are_keys_by_identity():
    a, b = Tensor([1.0]), Tensor([1.0])
    table = {a: "a", b: "b"}
    assert (table[a], table[b]) == ("a", "b")
    assert len({a, b, a}) == 2


# Comparison and logic.


def test_comparisons_give_tensors_of_booleans():
    a, b = Tensor([1.0, 2.0, 3.0]), Tensor([3.0, 2.0, 1.0])
    for result, expected in (
        (a == b, [0, 1, 0]), (a != b, [1, 0, 1]), (a < b, [1, 0, 0]), (a <= b, [1, 1, 0]), (a > b, [0, 0, 1]),
        (a >= 2, [0, 1, 1]), (a < 2, [1, 0, 0]), ((a > 1) & (b > 1), [0, 1, 0]), ((a > 2) | (b > 2), [1, 0, 1]),
        ((a > 1) ^ (b > 1), [1, 0, 1]), (~(a > 1), [1, 0, 0]),
    ):  # fmt: skip
        assert isinstance(result, Tensor)
        assert result.dtype == np.bool_
        np.testing.assert_array_equal(result.numpy(), np.array(expected, bool))


# Copies and pickles.


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
@pytest.mark.parametrize("data", [np.float32([1.5, 2.0]), np.arange(3), np.array(True), np.ones((2, 0))])
def test_copies_have_the_values_and_memory_of_their_own(clone, data):
    t = Tensor(data, requires_grad=data.dtype.kind == "f")
    other = clone(t)
    assert isinstance(other, Tensor)
    assert other is not t
    assert not np.shares_memory(other.data, t.data)
    np.testing.assert_array_equal(other.numpy(), data)
    assert (other.dtype, other.requires_grad, other.device) == (t.dtype, t.requires_grad, t.device)
    assert other.is_leaf


def test_a_deep_copy_keeps_sharing_inside_and_gradients():
    x = Tensor([1.0], requires_grad=True)
    (x * 3).backward()
    first, second = copy.deepcopy([x, x])
    assert first is second
    assert first.grad.item() == 3.0
    first.grad[...] = 0.0
    assert x.grad.item() == 3.0


def test_variables_are_copied_and_pickled_with_their_names():
    v = Variable([1.0, 2.0], trainable=False, name="bias")
    for clone in (copy.copy(v), copy.deepcopy(v), pickle.loads(pickle.dumps(v))):
        assert isinstance(clone, Variable)
        assert (clone.name, clone.trainable, clone.requires_grad) == ("bias", False, False)
        clone.assign([9.0, 9.0])
    np.testing.assert_array_equal(v.numpy(), [1.0, 2.0])


# Methods are operations.


def test_methods_give_what_the_operations_of_the_same_name_give(rng):
    x = Tensor(rng.uniform(0.5, 2, (2, 3)))
    for name, arguments in {
        "sum": (1,), "mean": (0, True), "var": (), "std": (1,), "max": (1,), "min": (), "prod": (0,), "argmax": (1,),
        "argmin": (), "all": (), "any": (1,), "cumsum": (1,), "logsumexp": (1,), "norm": (2, 1), "exp": (), "log": (),
        "sqrt": (), "square": (), "abs": (), "sin": (), "cos": (), "tanh": (), "sigmoid": (), "relu": (),
        "clip": (0.7, 1.0), "reshape": ((3, 2),), "transpose": ((1, 0),), "permute": ((1, 0),), "swapaxes": (0, 1),
        "squeeze": (), "expand_dims": (1,), "broadcast_to": ((2, 2, 3),), "flip": (1,), "repeat": (2, 0),
        "take": ([1, 0], 1), "astype": ("float32",), "copy": (), "sum_to": ((1, 3),),
    }.items():  # fmt: skip
        found, expected = getattr(x, name)(*arguments), getattr(gradlite, name)(x, *arguments)
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
        assert found.dtype == expected.dtype
    np.testing.assert_array_equal(x.split(3, 1)[2].numpy(), x.numpy()[:, 2:])
    np.testing.assert_array_equal(x.matmul(x.T).numpy(), x.numpy() @ x.numpy().T)
    np.testing.assert_array_equal(x.T.numpy(), x.numpy().T)
    np.testing.assert_array_equal(x[None].mT.numpy(), x.numpy().T[None])
    np.testing.assert_array_equal(x.flatten().numpy(), x.numpy().ravel())
    assert (x.reshape(3, 2).shape, x.reshape(-1).shape, x.transpose().shape) == ((3, 2), (6,), (3, 2))
    assert (x.transpose(1, 0).shape, x.permute(1, 0).shape, x.broadcast_to(2, 2, 3).shape) == (
        (3, 2),
        (3, 2),
        (2, 2, 3),
    )


def test_operators_give_what_numpy_gives(rng):
    a, b = rng.uniform(0.5, 2, (2, 3)), rng.uniform(0.5, 2, 3)
    x, y = Tensor(a), Tensor(b)
    for found, expected in (
        (x + y, a + b), (x - y, a - b), (x * y, a * b), (x / y, a / b), (x // y, a // b), (x % y, a % b), (x**y, a**b),
        (x @ y, a @ b), (-x, -a), (+x, a), (abs(-x), a), (1 + x, 1 + a), (1 - x, 1 - a), (2 * x, 2 * a), (2 / x, 2 / a),
        (2 // x, 2 // a), (2 % x, 2 % a), (2**x, 2**a), ([1.0, 2.0] @ x, [1.0, 2.0] @ a),
    ):  # fmt: skip
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14)


def test_the_top_level_names_are_there():
    for name in gradlite.__all__:
        assert hasattr(gradlite, name), name
    assert gradlite.convert_to_tensor([1.0]).dtype == np.float32
    assert gradlite.constant([1.0]).shape == (1,)
