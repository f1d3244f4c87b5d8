"""Graphs of 100,000 operations: no recursion, and memory that returns without the garbage collector."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import gradlite
from gradlite import Tensor

LENGTH = 100_000


@pytest.fixture(autouse=True)
def no_garbage_collector():
    """Reference counts alone must do; and a low recursion limit, so that any recursion shows."""
    gc.collect()
    gc.disable()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    yield
    sys.setrecursionlimit(limit)
    gc.enable()


def chain(x, length):
    for _ in range(length):
        x = x * 1.0
    return x


def watched(tensor):
    """Weak references to a tensor, its array and its node."""
    return [weakref.ref(tensor), weakref.ref(tensor.data), *([] if tensor.node is None else [weakref.ref(tensor.node)])]


def alive(references):
    return sum(r() is not None for r in references)


def test_a_long_chain_goes_forward_backward_and_away():
    x = Tensor([1.5], requires_grad=True)
    y = chain(x, LENGTH)
    y.backward()
    assert x.grad.item() == 1.0
    last = watched(y)
    del y
    assert alive(last) == 0


def test_a_long_chain_goes_away_without_a_backward_pass_also_in_a_thread_with_a_small_stack():
    def run():
        y = chain(Tensor([1.5], requires_grad=True), LENGTH)
        del y
        done.append(True)

    done = []
    previous = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(previous)
    assert done == [True]


def test_a_long_chain_of_operations_with_several_outputs():
    x = Tensor([[1.0], [2.0]], requires_grad=True)
    y = x
    for _ in range(LENGTH // 50):
        y, mean, _ = gradlite.batch_norm(y)
        y = y + mean * 0.0
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    last = watched(y)
    del y, mean, _
    assert alive(last) == 0


def test_a_wide_graph_whose_paths_double_at_every_step_is_walked_once_per_operation():
    x = Tensor([1.0], dtype="float64", requires_grad=True)
    y = x
    for _ in range(1000):
        y = (y + y) * 0.5
    y.backward()
    assert x.grad.item() == 1.0


@pytest.mark.parametrize("create_graph", [False, True])
def test_memory_returns_after_a_pass_and_no_cycle_is_left(create_graph):
    def step():
        x = Tensor(np.ones(100_000), requires_grad=True)
        y = gradlite.tanh(chain(x, 20)).reshape(1000, 100)
        z, mean, variance = gradlite.batch_norm(y)
        y.register_hook(lambda g: g * 2)
        x.register_hook(lambda g: None)
        z.retain_grad()
        references = [r for t in (x, y, z, mean, variance) for r in watched(t)]
        loss = gradlite.logsumexp(z) + gradlite.max(y) + variance.sum() + gradlite.max_pool1d(z[None]).mean()
        if create_graph:
            (first,) = gradlite.grad(loss, [x], create_graph=True)
            references += watched(first)
            loss = loss + (first * first).sum()
        loss.backward()
        return references

    assert alive(step()) == 0
    assert gc.collect() == 0
    tracemalloc.start()
    step()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(3):
        step()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 80_000, f"{grown} bytes stayed after three passes over arrays of 800,000 bytes each"


def test_what_backward_needed_is_freed_by_it_while_the_outputs_live():
    x = Tensor(np.ones(1000), requires_grad=True)
    hidden = gradlite.exp(x)
    references = [weakref.ref(hidden.data)]
    y = gradlite.sin(hidden * hidden).sum()
    del hidden
    assert alive(references) == 1
    y.backward()
    assert alive(references) == 0


def test_checkpoints_and_users_operations_leave_nothing_behind():
    @gradlite.op(lambda g, out, x: g * out)
    def exponential(xp, x):
        return xp.exp(x)

    def step():
        x = Tensor(np.ones(10), requires_grad=True)
        y = gradlite.checkpoint(lambda x: exponential(gradlite.sin(x)), x)
        references = watched(x) + watched(y)
        (first,) = gradlite.grad(y.sum(), [x], create_graph=True)
        (first * y).sum().backward()
        return references

    assert alive(step()) == 0


def test_an_error_in_a_backward_pass_leaves_nothing_behind():
    @gradlite.op(lambda g, out, x: 1 / 0)
    def broken(xp, x):
        return x * 1

    def step():
        x = Tensor(np.ones(10), requires_grad=True)
        y = gradlite.exp(broken(gradlite.exp(x)))
        references = watched(x) + watched(y)
        try:
            y.sum().backward()
        except ZeroDivisionError:
            return references
        raise AssertionError("the pass should fail")

    assert alive(step()) == 0
