"""backward and grad: accumulation, aliasing, arguments, freed graphs, several outputs, unused inputs."""

from __future__ import annotations

import numpy as np
import pytest

import gradlite
from gradlite import Tensor

pytestmark = pytest.mark.usefixtures("each_device")


def leaf(*values):
    return Tensor(list(values), dtype="float64", requires_grad=True)


def test_gradients_add_up_over_backward_passes():
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    (3 * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [5.0, 7.0])


def test_adding_to_a_gradient_leaves_the_old_tensor_as_it_was():
    x = leaf(1.0)
    (2 * x).backward()
    first = x.grad
    (2 * x).backward()
    assert (first.item(), x.grad.item()) == (2.0, 4.0)


def test_a_tensor_used_several_times_gets_the_sum():
    x = leaf(3.0)
    (x + x + x * x + x).backward()
    assert x.grad.item() == 9.0


def test_gradients_of_different_leaves_share_no_memory():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).backward(Tensor([1.0, 1.0], dtype="float64"))
    a.grad[...] = 7.0
    np.testing.assert_array_equal(b.grad.numpy(), [1.0, 1.0])


def test_the_gradient_argument_is_not_the_memory_of_the_result():
    x, seed = leaf(1.0, 2.0), Tensor(np.array([1.0, 5.0]))
    x.backward(seed)
    x.grad[...] = 0.0
    np.testing.assert_array_equal(seed.numpy(), [1.0, 5.0])
    y = leaf(1.0, 2.0)
    (y + 0.0).backward(seed)
    y.grad[...] = 0.0
    np.testing.assert_array_equal(seed.numpy(), [1.0, 5.0])


def test_writing_into_any_gradient_leaves_later_passes_right():
    for make in (lambda x: x, lambda x: x + 0.0, lambda x: x.reshape(())):
        x = leaf(2.0)
        y = make(x).sum()
        y.retain_grad()
        y.backward()
        for gradient in (x.grad, y.grad):
            if gradient is not None:
                gradient[...] = 100.0
        again = leaf(2.0)
        (again * 3).sum().backward()
        np.testing.assert_array_equal(again.grad.numpy(), [3.0])


def test_writing_into_what_grad_returns_leaves_later_calls_right():
    x = leaf(2.0).reshape(())
    gradlite.grad(x, x)[...] = 100.0
    y = Tensor(2.0, dtype="float64", requires_grad=True)
    assert gradlite.grad(y * 1.0, y).item() == 1.0


def test_a_retained_gradient_shares_no_memory_with_a_leafs():
    x = leaf(1.0, 2.0)
    y = x + 1.0
    y.retain_grad()
    (y * 2.0).sum().backward()
    x.grad[...] = 9.0
    np.testing.assert_array_equal(y.grad.numpy(), [2.0, 2.0])


def test_with_create_graph_leaves_get_gradients_of_their_own_too():
    a, b = leaf(1.0), leaf(2.0)
    (a + b).backward(create_graph=True)
    with gradlite.no_grad():
        a.grad[...] = 5.0
    assert b.grad.item() == 1.0


def test_the_gradient_argument_weighs_the_outputs():
    x = leaf(1.0, 2.0, 3.0)
    (x * x).backward([1.0, 10.0, 100.0])
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 40.0, 600.0])
    np.testing.assert_array_equal(gradlite.grad(x * 2, x, np.array([1.0, 0.0, -1.0])).numpy(), [2.0, 0.0, -2.0])


def test_outputs_of_several_elements_need_a_gradient():
    with pytest.raises(ValueError, match=r"one element. Received: shape \(2,\)"):
        (leaf(1.0, 2.0) * 2).backward()


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"output's shape \(2,\). Received: \(3,\)"):
        (leaf(1.0, 2.0) * 2).backward([1.0, 2.0, 3.0])


def test_a_tensor_without_history_is_refused_and_the_message_says_why():
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        Tensor([1.0]).sum().backward()
    with gradlite.no_grad():
        y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match="no_grad"):
        y.backward()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x * x).sum(),
        lambda x: (x + 1.0).sum(),
        lambda x: gradlite.exp(x).sum(),
        lambda x: gradlite.layer_norm(x).sum(),
        lambda x: gradlite.max_pool1d(x[None, :, None]).sum(),
    ],
)
def test_a_second_pass_says_that_the_graph_was_freed_and_what_to_pass(function):
    y = function(leaf(1.0, 2.0))
    y.backward()
    with pytest.raises(RuntimeError, match=r"freed by an earlier backward pass.*retain_graph=True"):
        y.backward()


def test_a_retained_graph_can_be_used_again():
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12.0


def test_parts_of_a_graph_that_no_gradient_was_asked_through_stay():
    x = leaf(1.0, 2.0)
    hidden = x * x
    inner = gradlite.grad((hidden * hidden).sum(), hidden)
    np.testing.assert_array_equal(inner.numpy(), 2 * hidden.numpy())
    np.testing.assert_array_equal(gradlite.grad(hidden.sum(), x).numpy(), 2 * x.numpy())


def test_create_graph_keeps_the_graph_and_gives_higher_derivatives():
    x = leaf(2.0)
    derivative = x**4
    for expected in (32.0, 48.0, 48.0, 24.0):
        derivative = gradlite.grad(derivative, x, create_graph=True)
        assert derivative.item() == pytest.approx(expected)


def test_gradients_stored_with_create_graph_can_be_differentiated():
    x = leaf(2.0)
    (x**3).backward(create_graph=True)
    first, x.grad = x.grad, None
    first.backward()
    assert x.grad.item() == pytest.approx(12.0)


def test_gradients_without_create_graph_have_no_history():
    x = leaf(2.0)
    (x**3).backward()
    assert not x.grad.requires_grad
    assert not gradlite.grad(x**3, x).requires_grad


def test_grad_stores_nothing_and_takes_leaves_and_results_alike():
    x = leaf(2.0)
    y = x * x
    z = y * x
    to_x, to_y = gradlite.grad(z, [x, y])
    assert (to_x.item(), to_y.item()) == (12.0, 2.0)
    assert x.grad is None
    assert y.grad is None


def test_grad_gives_one_tensor_for_one_input_and_a_list_for_several():
    x = leaf(2.0)
    assert isinstance(gradlite.grad(x * 1, x), Tensor)
    assert isinstance(gradlite.grad(x * 1, [x]), list)


def test_the_gradient_of_a_tensor_in_itself_is_one():
    x = leaf(2.0)
    y = x * 3
    assert gradlite.grad(y, y).item() == 1.0
    assert gradlite.grad(x, x).item() == 1.0


def test_unused_inputs_raise_or_give_none():
    x, unused = leaf(1.0), leaf(1.0)
    with pytest.raises(RuntimeError, match=r"input 1 of grad\(\).*allow_unused=True"):
        gradlite.grad(x * 2, [x, unused])
    first, second = gradlite.grad(x * 2, [x, unused], allow_unused=True)
    assert first.item() == 2.0
    assert second is None


def test_inputs_without_a_gradient_are_refused():
    with pytest.raises(RuntimeError, match="Input 0 of grad"):
        gradlite.grad(leaf(1.0) * 2, Tensor([1.0]))


def test_several_outputs_add_up_with_their_weights():
    x = leaf(2.0)
    assert gradlite.grad([x * x, 3 * x], x).item() == 7.0
    assert gradlite.grad([x * x, 3 * x], x, [Tensor([10.0]), Tensor([1.0])]).item() == 43.0
    with pytest.raises(ValueError, match="one gradient for each of 2 outputs"):
        gradlite.grad([x * x, 3 * x], x, [Tensor([1.0])])


def test_one_output_used_through_another_is_counted_in_both():
    x = leaf(2.0)
    y = x * x
    z = y * 5
    assert gradlite.grad([y, z], x).item() == 24.0


def test_unused_outputs_of_an_operation_count_as_zero():
    x = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    y, mean, variance = gradlite.batch_norm(x)
    np.testing.assert_allclose(gradlite.grad(mean.sum(), x, retain_graph=True).numpy(), np.full((3, 2), 1 / 3))
    expected = 2 * (x.numpy() - x.numpy().mean(0)) / 3
    np.testing.assert_allclose(gradlite.grad(variance.sum(), x, retain_graph=True).numpy(), expected)
    both = gradlite.grad([y.sum(), variance.sum()], x).numpy()
    np.testing.assert_allclose(both, expected, atol=1e-9)


@pytest.mark.parametrize(("first", "second"), [("float32", "float64"), ("float16", "float32"), ("float16", "float64")])
def test_gradients_come_back_in_the_inputs_dtype(first, second):
    a = Tensor([1.5, 2.0], dtype=first, requires_grad=True)
    b = Tensor([3.0, 0.5], dtype=second, requires_grad=True)
    y = a * b
    assert y.dtype == np.dtype(second)
    y.sum().backward()
    assert (a.grad.dtype, b.grad.dtype) == (np.dtype(first), np.dtype(second))
    np.testing.assert_array_equal(a.grad.numpy(), [3.0, 0.5])
    np.testing.assert_array_equal(b.grad.numpy(), [1.5, 2.0])


def test_what_broadcasting_stretched_is_summed_to_the_inputs_shape():
    a, b = gradlite.ones((2, 1, 3), "float64").requires_grad_(), gradlite.ones((4, 1), "float64").requires_grad_()
    (a * b * 2.0).sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), np.full((2, 1, 3), 8.0))
    np.testing.assert_array_equal(b.grad.numpy(), np.full((4, 1), 12.0))


def test_detached_values_get_no_gradient():
    x = leaf(2.0)
    (x * x.detach()).backward()
    assert x.grad.item() == 2.0


def test_retained_gradients_of_results_are_stored_and_add_up():
    x = leaf(2.0)
    y = (x * 3).retain_grad()
    (y * y).backward(retain_graph=True)
    assert y.grad.item() == 12.0
    (y * 1.0).backward()
    assert y.grad.item() == 13.0
    with pytest.raises(RuntimeError, match="requires a gradient"):
        Tensor([1.0]).retain_grad()


def test_an_error_in_a_backward_pass_restores_the_mode():
    @gradlite.op(lambda g, out, x: 1 / 0)
    def broken(xp, x):
        return x * 1

    with pytest.raises(ZeroDivisionError):
        broken(leaf(1.0)).backward()
    assert gradlite.is_grad_enabled()
