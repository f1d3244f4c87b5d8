"""Checkpoints: the same values and gradients as without, of any order, with less kept in memory."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import gradlite
from gradlite import Tensor
from gradlite.autograd import is_recomputing
from gradlite.random import Generator

pytestmark = pytest.mark.usefixtures("each_device")


@pytest.fixture
def arrays(rng):
    return [rng.normal(size=shape) for shape in ((4, 3), (3, 5), (5,), (5, 2))]


def block(x, w, b):
    return gradlite.tanh(gradlite.layer_norm(gradlite.dense(x, w, b))) * gradlite.sigmoid(x.sum())


def network(arrays, wrap):
    """Loss, leaves: two blocks, one of which takes its weights as arguments, the other by closure."""
    leaves = [Tensor(a, requires_grad=True) for a in arrays]
    x, w, b, v = leaves
    y = wrap(block, x, w, b)
    z = wrap(lambda y: gradlite.exp(y @ v * v.sum()), y * 2)
    return (z * z).sum(), leaves


def plain(function, *args):
    return function(*args)


def test_values_and_gradients_are_those_without_a_checkpoint(arrays):
    expected, leaves = network(arrays, plain)
    found, checkpointed = network(arrays, gradlite.checkpoint)
    assert found.item() == expected.item()
    expected.backward()
    found.backward()
    for a, b in zip(leaves, checkpointed):
        np.testing.assert_array_equal(a.grad.numpy(), b.grad.numpy())


def test_second_derivatives_are_those_without_a_checkpoint(arrays):
    results = []
    for wrap in (plain, gradlite.checkpoint):
        loss, leaves = network(arrays, wrap)
        first = gradlite.grad(loss, leaves, create_graph=True)
        results.append([g.numpy() for g in gradlite.grad(sum((g * g).sum() for g in first), leaves)])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_gradcheck_and_gradgradcheck_pass_through_a_checkpoint():
    w = Tensor([[0.5, -1.0], [0.3, 0.7]], dtype="float64", requires_grad=True)
    x = Tensor([[1.0, 2.0]], dtype="float64", requires_grad=True)

    def function(x):
        return gradlite.checkpoint(lambda x: gradlite.tanh(x @ w) * w.sum(), x)

    assert gradlite.gradcheck(function, x)
    assert gradlite.gradgradcheck(function, x)


def test_a_graph_may_be_retained_and_used_again(arrays):
    loss, leaves = network(arrays, gradlite.checkpoint)
    first = [g.numpy() for g in gradlite.grad(loss, leaves, retain_graph=True)]
    second = [g.numpy() for g in gradlite.grad(loss, leaves)]
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(RuntimeError, match="freed by an earlier backward pass"):
        gradlite.grad(loss, leaves)


def test_several_outputs_and_constants_come_through():
    def function(x, scale, nothing):
        assert nothing is None
        return x * scale, gradlite.exp(x)

    x = Tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    a, b = gradlite.checkpoint(function, x, 3.0, None)
    (a.sum() + b.sum()).backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 + np.exp(x.numpy()))


def test_dropout_draws_the_same_mask_again_and_the_next_draw_is_another(rng):
    values = rng.normal(size=(50,))
    for depth in (0, 1, 2):
        masks = []
        generator = Generator(5)
        x = Tensor(values, requires_grad=True)

        def dropped(x):
            y = gradlite.dropout(gradlite.exp(x), 0.5, generator=generator)  # noqa: B023
            masks.append(y.numpy() != 0)  # noqa: B023
            return y * y

        function = dropped
        for _ in range(depth):
            function = (lambda inner: lambda x: gradlite.checkpoint(inner, x))(function)
        y = function(x)
        y.sum().backward()
        expected = np.where(masks[0], 2 * np.exp(2 * values) * 4, 0)
        np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12)
        assert all((m == masks[0]).all() for m in masks)
        after = gradlite.dropout(gradlite.ones(50), 0.5, generator=generator).numpy()
        control = Generator(5)
        gradlite.dropout(gradlite.ones(50), 0.5, generator=control)
        np.testing.assert_array_equal(after, gradlite.dropout(gradlite.ones(50), 0.5, generator=control).numpy())


def test_nested_checkpoints_repeat_inner_draws_for_what_follows_them(rng):
    values = rng.normal(size=(50,))
    results = []
    for wrap in (plain, gradlite.checkpoint):
        generator = Generator(7)
        x = Tensor(values, requires_grad=True)

        def outer(x):
            y = wrap(lambda x: gradlite.dropout(gradlite.exp(x), 0.5, generator=generator), x)  # noqa: B023
            return gradlite.sin(y) * gradlite.dropout(y, 0.3, generator=generator)  # noqa: B023

        wrap(outer, x).sum().backward()
        results.append(x.grad.numpy())
    np.testing.assert_array_equal(*results)


def test_is_recomputing_says_when_side_effects_should_not_be_repeated():
    seen = []

    def inner(x):
        seen.append(("inner", is_recomputing()))
        return gradlite.exp(x)

    def outer(x):
        seen.append(("outer", is_recomputing()))
        return gradlite.exp(gradlite.checkpoint(inner, x))

    x = Tensor([0.5], requires_grad=True)
    y = gradlite.checkpoint(outer, x)
    assert seen == [("outer", False), ("inner", False)]
    assert not is_recomputing()
    del seen[:]
    y.backward()
    assert seen
    assert all(again for _, again in seen)
    assert not is_recomputing()


def test_weights_that_were_changed_before_the_forward_pass_are_as_they_are():
    """As in every training step after the first, also for inputs that no derivative reads, such as a bias."""
    weights = [gradlite.Variable([[2.0]]), gradlite.Variable([1.0])]
    x = Tensor([[3.0]], requires_grad=True)
    for _ in range(2):
        for weight in weights:
            weight.assign_add(gradlite.ones(weight.shape))
            weight.grad = None
        gradlite.checkpoint(lambda x: gradlite.dense(x, *weights), x).sum().backward()
    assert [weight.grad.item() for weight in weights] == [3.0, 1.0]
    assert x.grad.item() == 3.0 + 4.0


def test_weights_changed_between_the_passes_are_refused():
    weight, bias = gradlite.Variable([[2.0]]), gradlite.Variable([1.0])
    for changed in (weight, bias):
        x = Tensor([[3.0]], requires_grad=True)
        loss = gradlite.checkpoint(lambda x: gradlite.dense(x, weight, bias), x).sum()
        changed.assign_add(gradlite.ones(changed.shape))
        with pytest.raises(RuntimeError, match=r"dense needs an input of shape .* changed in place 1 time"):
            loss.backward()


def test_a_function_that_computes_something_else_the_second_time_is_refused():
    calls = []

    def unsteady(x):
        calls.append(1)
        return gradlite.exp(x) if len(calls) == 1 else gradlite.exp(gradlite.exp(x))

    y = gradlite.checkpoint(unsteady, Tensor([1.0], requires_grad=True))
    with pytest.raises(RuntimeError, match="ran 1 recorded operations first and 2 the second"):
        y.backward()


def test_nothing_is_kept_and_nothing_repeated_where_nothing_is_recorded():
    calls = []

    def function(x):
        calls.append(1)
        return gradlite.exp(x)

    with gradlite.no_grad():
        assert not gradlite.checkpoint(function, Tensor([1.0], requires_grad=True)).requires_grad
    gradlite.checkpoint(function, Tensor([1.0]))
    assert len(calls) == 2


def test_intermediate_arrays_are_freed_after_the_forward_pass():
    def chain(x, kept):
        for _ in range(20):
            x = gradlite.tanh(x) * gradlite.sin(x)
            kept.append(weakref.ref(x.data))
        return x

    alive = {}
    for name, wrap in (("plain", plain), ("checkpoint", gradlite.checkpoint)):
        refs = []
        y = wrap(lambda x, refs=refs: chain(x, refs), Tensor(np.ones(1000), requires_grad=True))
        gc.collect()
        alive[name] = sum(r() is not None for r in refs)
        y.sum().backward()
        del y
    assert alive == {"plain": 20, "checkpoint": 1}


@pytest.mark.cpu_only
def test_memory_at_the_peak_is_that_of_one_checkpoint_at_a_time():
    import tracemalloc

    def chain(x):
        for _ in range(10):
            x = gradlite.tanh(x * 1.01) + 0.1
        return x

    peaks = {}
    for name, wrap in (("plain", plain), ("checkpoint", gradlite.checkpoint)):
        x = Tensor(np.ones(20_000), requires_grad=True)
        tracemalloc.start()
        y = x
        for _ in range(10):
            y = wrap(chain, y)
        y.sum().backward()
        peaks[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks["checkpoint"] < peaks["plain"] / 3
