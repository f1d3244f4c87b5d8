"""Hooks on leaves and on results: what they see, what they replace, and how they go."""

from __future__ import annotations

import numpy as np
import pytest

import gradlite
from gradlite import Tensor

pytestmark = pytest.mark.usefixtures("each_device")


@pytest.fixture
def x():
    return Tensor([1.0, 2.0], dtype="float64", requires_grad=True)


def test_a_hook_on_a_leaf_sees_the_whole_gradient_once(x):
    seen = []
    x.register_hook(lambda g: seen.append(g.numpy()))
    (x * x + x).sum().backward()
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0], [3.0, 5.0])
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 5.0])


def test_a_hook_on_a_result_sees_the_whole_gradient_once_and_may_replace_it(x):
    y = x * 3
    seen = []

    def halve(g):
        seen.append(g.numpy())
        return g * 0.5

    y.register_hook(halve)
    (y * y + y).sum().backward()
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0], [7.0, 13.0])
    np.testing.assert_array_equal(x.grad.numpy(), [10.5, 19.5])


def test_a_hook_on_a_leaf_may_replace_the_gradient(x):
    x.register_hook(lambda g: g * 0 + 7)
    x.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [7.0, 7.0])


def test_hooks_run_in_the_order_of_registration(x):
    x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: g * 10)
    x.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [20.0, 20.0])


def test_a_removed_hook_does_not_run_and_removing_it_again_does_nothing(x):
    calls = []
    for tensor in (x, x * 2):
        remove = tensor.register_hook(lambda g: calls.append(g))
        remove()
        remove()
        tensor.sum().backward()
    assert calls == []


def test_removing_one_of_two_equal_hooks_leaves_the_other(x):
    calls = []

    def hook(g):
        calls.append(g)

    remove = x.register_hook(hook)
    x.register_hook(hook)
    remove()
    remove()
    x.sum().backward()
    assert len(calls) == 1


def test_a_hook_may_remove_itself_while_it_runs(x):
    calls = []

    def once(g):
        calls.append("once")
        remove()

    remove = x.register_hook(once)
    x.register_hook(lambda g: calls.append("second"))
    x.sum().backward()
    x.sum().backward()
    assert calls == ["once", "second", "second"]


def test_hooks_run_in_grad_too(x):
    x.register_hook(lambda g: g * 2)
    y = x * 1
    y.register_hook(lambda g: g + 1)
    to_y, to_x = gradlite.grad(y.sum(), [y, x])
    np.testing.assert_array_equal(to_y.numpy(), [2.0, 2.0])
    np.testing.assert_array_equal(to_x.numpy(), [4.0, 4.0])


def test_a_hook_on_one_output_of_several_sees_that_outputs_gradient(x):
    y, mean, _ = gradlite.batch_norm(x.reshape(2, 1))
    seen = []
    mean.register_hook(lambda g: seen.append(g.numpy()))
    (y.sum() + 5 * mean.sum()).backward()
    np.testing.assert_array_equal(seen, [[5.0]])


def test_with_create_graph_a_hook_is_differentiated_too(x):
    y = x * x
    y.register_hook(lambda g: g * x)
    first = gradlite.grad(y.sum(), x, create_graph=True)
    second = gradlite.grad(first.sum(), x)
    np.testing.assert_array_equal(first.numpy(), 2 * x.numpy() ** 2)
    np.testing.assert_array_equal(second.numpy(), 4 * x.numpy())


def test_writing_into_what_a_hook_received_changes_no_other_gradient(x):
    other = Tensor([1.0, 1.0], dtype="float64", requires_grad=True)

    def clear(g):
        g[...] = 0.0

    x.register_hook(clear)
    (x + other).sum().backward()
    np.testing.assert_array_equal(other.grad.numpy(), [1.0, 1.0])


def test_a_retained_gradient_is_the_one_after_the_hooks(x):
    y = (x * 1).retain_grad()
    y.register_hook(lambda g: g * 3)
    y.sum().backward()
    np.testing.assert_array_equal(y.grad.numpy(), [3.0, 3.0])


def test_hooks_need_a_tensor_with_a_gradient():
    with pytest.raises(RuntimeError, match="requires a gradient"):
        Tensor([1.0]).register_hook(print)
