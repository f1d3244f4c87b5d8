"""CUDA kernels of a step's bookkeeping: totals, counts, the loss with them, random states; bits of single kernels."""

from __future__ import annotations

import numpy as np
import pytest
from comparison import DTYPES, count_launches, in_order, launch, uploaded

from gradlite.backends.registry import REFERENCE

LOSS, STEP = "sparse_softmax_cross_entropy_loss", "sparse_softmax_cross_entropy_step"
LABELS = ("int64", "int32", "uint8")


def on_device(gpu, value):
    """A value of a total with its arrays on the device."""
    if isinstance(value, np.ndarray):
        return gpu.asarray(value)
    return tuple(on_device(gpu, part) for part in value) if isinstance(value, tuple) else value


def totals_and_values(rng, dtype="float32", label="uint8", rows=37, columns=10):
    """Totals of both types, one with each kind of value."""
    labels = rng.integers(0, columns, rows).astype(label)
    scores = rng.normal(size=(rows, columns)).astype(dtype)
    scores[rng.random(rows) < 0.2, 3] = np.nan
    scores[rng.random(rows) < 0.4] = 0.5  # ties
    values = (
        8,
        0.1,
        np.array(rng.normal()),
        np.array(rng.normal(), np.float32),
        ("times", np.array(rng.normal(), np.float32), 31),
        ("times", np.array(rng.normal()), 0.3),
        ("correct", labels, scores),
        np.array(3, np.int32),
        np.array(True),
        7,
        ("correct", labels, scores),
        np.array(2**40, np.int64),
    )
    totals = [*(np.array(v) for v in rng.normal(0, 100, 9)), *(np.array(v) for v in rng.integers(0, 2**50, 3))]
    return totals, values


def accumulated(gpu, totals, values, copies=()):
    """The totals, and the copies, after the kernel."""
    device = uploaded(gpu, totals)
    shared = {}  # one array on the device for each on the host
    moved = tuple(
        tuple(shared.setdefault(id(p), gpu.asarray(p)) if isinstance(p, np.ndarray) else p for p in v)
        if isinstance(v, tuple)
        else on_device(gpu, v)
        for v in values
    )
    gpu.launch("accumulate", *device, values=moved, copies=copies)
    return [np.asarray(x.get()) for x in device]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("label", LABELS)
def test_totals_have_the_bits_of_numpy(gpu, rng, schedule, dtype, label):
    totals, values = totals_and_values(rng, dtype, label, rows=1100 if dtype == "float32" else 5)
    wanted = [x.copy() for x in totals]
    REFERENCE["accumulate"](np, *wanted, values=values)
    for found, expected in zip(accumulated(gpu, totals, values), wanted):
        assert (found.dtype, found.tobytes()) == (expected.dtype, expected.tobytes())


def test_all_totals_are_one_launch_and_without_conflicts(gpu, rng, checked, monkeypatch):
    totals, values = totals_and_values(rng)
    moved = tuple(v for v in values if not isinstance(v, (tuple, np.ndarray)))
    assert count_launches(gpu, monkeypatch, "accumulate", totals[: len(moved)], values=moved) == ["accumulate"]
    accumulated(gpu, totals, values)


def test_a_copy_receives_the_new_total(gpu):
    step, copy, total = gpu.asarray(np.array(41)), gpu.asarray(np.array(0)), gpu.asarray(np.array(1.5))
    gpu.launch("accumulate", total, step, values=(0.25, 1), copies=(None, copy))
    assert (total.get(), step.get(), copy.get()) == (1.75, 42, 42)


def test_totals_that_the_kernel_does_not_know_are_added_too(gpu, rng):
    many = [np.array(float(i)) for i in range(40)]
    for found, x in zip(accumulated(gpu, many, tuple(range(40))), many):
        assert found == 2 * x
    assert accumulated(gpu, [np.array(1, np.float32)], (2.5,)) == [3.5]
    first, second = (("correct", np.arange(n) % 3, rng.normal(size=(n, 3))) for n in (5, 9))
    counts = [REFERENCE["count_correct"](np, *value[1:]) for value in (first, second)]
    assert accumulated(gpu, [np.array(0), np.array(0)], (first, second)) == counts


SHAPES = [(1, 1), (5, 7), (1000, 10), (3, 40), (1700, 11), (3, 1025), (30, 1100)]


def step_by_step(gpu, logits, labels, scale, totals, number):
    """What the fused kernel stands for, by the kernels one after the other."""
    loss, gradient, p = gpu.launch(LOSS, logits, labels)
    gradient = gradient if scale is None else gpu.launch("multiply", gradient, scale)
    values = gpu.launch("multiply", loss, number), number, gpu.launch("count_correct", labels, p), loss
    for total, value in zip(totals, values):
        gpu.launch("assign_add", total, value)
    return loss, gradient, p


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [None, 0.3])
def test_the_loss_of_a_step_has_the_bits_of_all_its_kernels(gpu, rng, shape, dtype, scale):
    logits, labels = rng.normal(0, 3, shape).astype(dtype), rng.integers(0, shape[1], shape[0])
    logits, labels = uploaded(gpu, [logits, labels])
    scale = None if scale is None else gpu.asarray(np.array(scale, dtype))
    kinds = np.float64, np.float64, np.int64, np.float64
    first, second = ([gpu.asarray(np.array(i + 2, kind)) for i, kind in enumerate(kinds)] for _ in range(2))
    wanted = step_by_step(gpu, logits, labels, scale, first, shape[0])
    values = ("times", "loss", shape[0]), shape[0], ("correct",), ("times", "loss", 1)
    found = gpu.launch(STEP, logits, labels, scale, *second, values=values)
    for a, b in zip([*found, *second], [*wanted, *first]):
        assert (a.dtype, a.get().tobytes()) == (b.dtype, b.get().tobytes())


@pytest.mark.parametrize("scale", [None, 0.3])
def test_the_gradient_of_float16_logits_is_rounded_before_it_is_scaled(gpu, rng, scale):
    logits, labels = uploaded(gpu, [rng.normal(0, 3, (40, 10)).astype(np.float16), rng.integers(0, 10, 40)])
    scale = None if scale is None else gpu.asarray(np.array(scale, np.float16))
    for a, b in zip(gpu.launch(STEP, logits, labels, scale), step_by_step(gpu, logits, labels, scale, [], 1)):
        assert a.get().tobytes() == b.get().tobytes()


@pytest.mark.parametrize("shape", [(40, 10), (1700, 10), (3, 1025)])
def test_every_schedule_gives_the_same_step(gpu, schedule, shape):
    rng = np.random.default_rng(shape)
    logits, labels = uploaded(gpu, [rng.normal(0, 3, shape).astype(np.float32), rng.integers(0, shape[1], shape[0])])

    def run():
        totals = [gpu.asarray(np.array(0.5)), gpu.asarray(np.array(7))]
        results = gpu.launch(STEP, logits, labels, None, *totals, values=(("times", "loss", 3), ("correct",)))
        return [x.get().tobytes() for x in (*results, *totals)]

    with in_order():
        first = run()
    assert run() == first


@pytest.mark.parametrize("shape", [(40, 10), (1700, 10), (3, 1025)])
def test_no_access_of_a_step_is_out_of_bounds_or_races(gpu, rng, checked, shape):
    arrays = [rng.normal(0, 3, shape).astype(np.float32), rng.integers(0, shape[1], shape[0])]
    scale, total, count = np.array(2, np.float32), np.array(0.5), np.array(7)
    launch(gpu, STEP, [*arrays, scale, total, count], values=(("times", "loss", 3), ("correct",)))


def test_the_step_of_a_batch_is_one_launch(gpu, rng, monkeypatch):
    arrays = [rng.normal(0, 3, (1024, 10)).astype(np.float32), rng.integers(0, 10, 1024).astype(np.uint8)]
    arrays += [np.array(1, np.float32), np.array(0.5), np.array(3)]
    names = count_launches(gpu, monkeypatch, STEP, arrays, values=(("times", "loss", 1024), ("correct",)))
    assert names == ["sparse_softmax_cross_entropy_totals"]


def test_states_drawn_together_are_those_drawn_one_by_one(gpu, rng, checked, monkeypatch):
    states = [rng.integers(0, 2**63, 3).astype(np.uint64) for _ in range(70)]
    first, second = uploaded(gpu, states), uploaded(gpu, states)
    wanted = [gpu.launch("draw_random", state) for state in first]
    for a, b in zip([*gpu.launch("draw_random_each", *second), *second], [*wanted, *first]):
        np.testing.assert_array_equal(a.get(), b.get())
    assert count_launches(gpu, monkeypatch, "draw_random_each", states[:60]) == ["draw_random_each"]
