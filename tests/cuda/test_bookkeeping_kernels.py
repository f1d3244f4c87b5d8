"""CUDA kernels of a step's bookkeeping: totals, counts, the loss with them, random states; bits of single kernels."""

from __future__ import annotations

import numpy as np
import pytest
from comparison import DTYPES, check, count_launches, in_order, launch, uploaded

from gradlite.backends.registry import REFERENCE

STEP = "cross_entropy_step"
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


def logits_and_labels(rng, shape, dtype, rows):
    """Logits, and labels as rows that need not sum to 1, or as class numbers."""
    labels = rng.random(shape).astype(dtype) if rows else rng.integers(0, shape[1], shape[0])
    return [rng.normal(0, 3, shape).astype(dtype), labels]


def step_by_step(gpu, logits, labels, scale, totals, number, counted):
    """What the fused kernel stands for, by the kernels one after the other."""
    name = "softmax_cross_entropy_loss" if labels.ndim == 2 else "sparse_softmax_cross_entropy_loss"
    loss, gradient, p = gpu.launch(name, logits, labels)
    gradient = gradient if scale is None else gpu.launch("multiply", gradient, scale)
    count = gpu.launch("count_correct", labels, logits if counted == "logits" else p)
    for total, value in zip(totals, (gpu.launch("multiply", loss, number), number, count, loss)):
        gpu.launch("assign_add", total, value)
    return loss, gradient, p


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("scale", "counted"), [(None, "logits"), (0.3, "probabilities")])
def test_the_loss_of_a_step_has_the_bits_of_all_its_kernels(gpu, rng, shape, dtype, rows, scale, counted):
    logits, labels = uploaded(gpu, logits_and_labels(rng, shape, dtype, rows))
    scale = None if scale is None else gpu.asarray(np.array(scale, dtype))
    kinds = np.float64, np.float64, np.int64, np.float64
    first, second = ([gpu.asarray(np.array(i + 2, kind)) for i, kind in enumerate(kinds)] for _ in range(2))
    wanted = step_by_step(gpu, logits, labels, scale, first, shape[0], counted)
    values = ("times", "loss", shape[0]), shape[0], ("correct", counted), ("times", "loss", 1)
    found = gpu.launch(STEP, logits, labels, scale, *second, values=values)
    for a, b in zip([*found, *second], [*wanted, *first]):
        assert (a.dtype, a.get().tobytes()) == (b.dtype, b.get().tobytes())


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_the_gradient_of_float16_logits_is_rounded_before_it_is_scaled(gpu, rng, scale, rows):
    arrays = uploaded(gpu, logits_and_labels(rng, (40, 10), np.float16, rows))
    scale = None if scale is None else gpu.asarray(np.array(scale, np.float16))
    for a, b in zip(gpu.launch(STEP, *arrays, scale), step_by_step(gpu, *arrays, scale, [], 1, "logits")):
        assert a.get().tobytes() == b.get().tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_mean_loss_of_rows_of_labels_and_its_gradient_are_the_references(gpu, rng, shape, dtype):
    check(gpu, "softmax_cross_entropy_loss", logits_and_labels(rng, shape, dtype, True), scale=1 + shape[1] ** 0.5)


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("shape", [(40, 10), (1700, 10), (3, 1025)])
def test_every_schedule_gives_the_same_step(gpu, schedule, shape, rows):
    arrays = uploaded(gpu, logits_and_labels(np.random.default_rng(shape), shape, np.float32, rows))
    values = ("times", "loss", 3), ("correct", "probabilities")

    def run():
        totals = [gpu.asarray(np.array(0.5)), gpu.asarray(np.array(7))]
        return [x.get().tobytes() for x in (*gpu.launch(STEP, *arrays, None, *totals, values=values), *totals)]

    with in_order():
        first = run()
    assert run() == first


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("shape", [(40, 10), (1700, 10), (3, 1025)])
def test_no_access_of_a_step_is_out_of_bounds_or_races(gpu, rng, checked, shape, rows):
    arrays = logits_and_labels(rng, shape, np.float32, rows)
    rest = np.array(2, np.float32), np.array(0.5), np.array(7)
    for counted in ("probabilities", "logits"):
        launch(gpu, STEP, [*arrays, *rest], values=(("times", "loss", 3), ("correct", counted)))


@pytest.mark.parametrize("rows", [False, True])
def test_the_step_of_a_batch_is_one_launch(gpu, rng, monkeypatch, rows):
    arrays = [*logits_and_labels(rng, (1024, 10), np.float32, rows), np.array(1, np.float32), np.array(0.5)]
    for counted in ("probabilities", "logits"):
        names = count_launches(gpu, monkeypatch, STEP, [*arrays, np.array(3)], values=(0.5, ("correct", counted)))
        assert names == ["softmax_cross_entropy_totals" if rows else "sparse_softmax_cross_entropy_totals"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (9, 4), (1500, 10)])
def test_labels_in_rows_are_where_they_are_largest(gpu, rng, schedule, shape, dtype):
    labels, scores = (rng.integers(0, 3, shape) / 2 for _ in range(2))
    labels[rng.random(len(labels)) < 0.2, -1] = np.nan
    wanted = (labels.argmax(axis=1) == scores.argmax(axis=1)).sum()
    assert launch(gpu, "count_correct", [labels.astype(dtype), scores.astype(np.float32)])[0] == wanted
    assert launch(gpu, "count_correct", [labels.astype(dtype), scores])[0] == wanted, "by three kernels"
    labels, scores = gpu.asarray(labels.astype(dtype)), gpu.asarray(scores.astype(np.float32))
    total = gpu.asarray(np.array(5))
    gpu.launch("accumulate", total, values=(("correct", labels, scores),))
    assert total.get() == 5 + wanted


def test_states_drawn_together_are_those_drawn_one_by_one(gpu, rng, checked, monkeypatch):
    states = [rng.integers(0, 2**63, 3).astype(np.uint64) for _ in range(70)]
    first, second = uploaded(gpu, states), uploaded(gpu, states)
    wanted = [gpu.launch("draw_random", state) for state in first]
    for a, b in zip([*gpu.launch("draw_random_each", *second), *second], [*wanted, *first]):
        np.testing.assert_array_equal(a.get(), b.get())
    assert count_launches(gpu, monkeypatch, "draw_random_each", states[:60]) == ["draw_random_each"]
