"""Devices: names, where tensors go, moving between them with gradients, and messages where they are mixed."""

from __future__ import annotations

import numpy as np
import pytest

import gradlite
from gradlite import Tensor
from gradlite.backends import Backend, get_backend
from gradlite.tensor import wrap

OTHER = Backend(np, "other:0")


def on_other(values, requires_grad=False):
    return wrap(np.asarray(values, np.float64), OTHER).requires_grad_(requires_grad)


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a + b, lambda a, b: gradlite.matmul(a, b), lambda a, b: gradlite.concatenate([a, b]),
        lambda a, b: gradlite.where(a > 0, a, b), lambda a, b: gradlite.layer_norm(a, b),
    ],
)  # fmt: skip
def test_mixing_devices_names_the_operation_and_both_and_says_what_to_call(mix):
    a, b = Tensor([1.0, 2.0]), on_other([1.0, 2.0])
    with pytest.raises(RuntimeError) as failure:
        mix(a, b)
    for word in ("cpu", "other:0", ".to('cpu')", ".to('other:0')"):
        assert word in str(failure.value)
    assert str(failure.value).split()[0] in ("add", "matmul", "concatenate", "where", "layer_norm")


def test_writing_a_tensor_of_another_device_is_refused_too():
    target = gradlite.zeros(2)
    with pytest.raises(RuntimeError, match=r"cpu.*other:0"):
        target[...] = on_other([1.0, 2.0])


def test_arrays_numbers_and_lists_follow_the_tensor_that_they_meet():
    b = on_other([1.0, 2.0])
    assert (b + 1.0).backend is OTHER
    assert (b * np.float64(2)).backend is OTHER


def test_results_and_gradients_stay_on_their_device():
    x = on_other([1.0, 2.0], requires_grad=True)
    y = gradlite.norm(gradlite.softmax(x) ** 2.0) + gradlite.prod(x)
    assert y.backend is OTHER
    y.backward()
    assert x.grad.backend is OTHER


def test_moving_keeps_values_and_sends_the_gradient_back():
    x = Tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    y = x.to(OTHER)
    assert y.backend is OTHER
    (y * y).sum().backward()
    assert x.grad.device == "cpu"
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 4.0])
    z = on_other([3.0], requires_grad=True)
    (z.to("cpu") * 2.0).backward()
    assert z.grad.backend is OTHER
    assert z.grad.item() == 2.0


def test_moving_to_where_a_tensor_is_gives_the_tensor_itself():
    x = Tensor([1.0])
    assert x.to("cpu") is x
    assert gradlite.to(x, "auto") is x


def test_moving_is_differentiable_twice():
    x = Tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    assert gradlite.gradgradcheck(lambda x: (x.to(OTHER) ** 3.0).to("cpu"), x)


def test_a_gradient_of_the_result_on_another_device_is_refused():
    x = Tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    with pytest.raises(RuntimeError, match=r"cpu.*other:0"):
        (x * 2.0).backward(on_other([1.0, 1.0]))


@pytest.mark.parametrize("name", ["tpu", "cuda", "", "cpu:0", 3, None])
def test_unknown_devices_are_named_with_those_that_exist(name):
    with pytest.raises(ValueError, match=r"Unknown device .*'auto', 'cpu', 'gpu' and 'gpu:N'"):
        get_backend(name)


def test_auto_and_cpu_are_devices_and_the_default_can_be_changed_for_a_while():
    assert get_backend("cpu") is get_backend("auto")
    assert gradlite.get_device() == "cpu"
    with gradlite.device("cpu"):
        assert gradlite.zeros(2).device == "cpu"
    with pytest.raises(ValueError, match="Unknown device"):
        gradlite.set_device("nowhere")
    assert gradlite.get_device() == "cpu"


def test_a_failing_block_restores_the_device():
    with pytest.raises(KeyError), gradlite.device("cpu"):
        raise KeyError
    assert gradlite.get_device() == "cpu"


def test_kernels_without_a_reference_are_refused():
    with pytest.raises(ValueError, match=r"without a reference of the same name: \['nonsense'\]"):
        Backend(np, "odd:0", {"nonsense": np.add})
