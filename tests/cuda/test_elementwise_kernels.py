"""CUDA elementwise kernels against NumPy: every operation, types, broadcasting, strides, special values, assignment."""

from __future__ import annotations

import numpy as np
import pytest
from comparison import check, count_launches, launch, uploaded

from gradlite.backends.cuda import elementwise, strided

SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 7.0, 1e30, -1e30, np.inf, -np.inf, np.nan)
# Where an operation is defined, if not everywhere.
DOMAINS = {"arcsin": (-1, 1), "arccos": (-1, 1), "arctanh": (-0.9, 0.9), "arccosh": (1.1, 3), "tan": (-1.4, 1.4)}
POSITIVE = ("sqrt", "rsqrt", "log", "log2", "log10", "log1p", "reciprocal", "power")
OTHER_TYPES = ("exp", "tanh", "sigmoid", "erf", "square", "isfinite", "rsqrt", "relu")


def domain(name):
    return (0.1, 3) if name in POSITIVE else DOMAINS.get(name, (-3, 3))


@pytest.mark.parametrize("name", [*elementwise.UNARY, *elementwise.FLOAT_UNARY, "relu"])
def test_a_function_is_numpys(gpu, rng, name):
    check(gpu, name, [rng.uniform(*domain(name), (7, 19)).astype(np.float32)], scale=2)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
@pytest.mark.parametrize("name", OTHER_TYPES)
def test_a_function_is_numpys_in_other_types(gpu, rng, name, dtype):
    check(gpu, name, [rng.uniform(*domain(name), (3, 19)).astype(dtype)], scale=2)


@pytest.mark.parametrize("name", [*elementwise.BINARY, *elementwise.FLOAT_BINARY])
def test_an_operation_is_numpys(gpu, rng, name):
    a, b = (rng.uniform(*domain(name), shape).astype(np.float32) for shape in ((7, 19), (19,)))
    check(gpu, name, [a, b], scale=2)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8", "int64", "bool"])
@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "less_equal", "equal", "logical_xor"])
def test_an_operation_is_numpys_in_other_types(gpu, rng, name, dtype):
    a, b = (rng.integers(0, 100, (5, 13)).astype(dtype) for _ in range(2))
    found = launch(gpu, name, [a, b])[0]
    wanted = getattr(np, name)(a, b)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


KINDS = [np.zeros(3, "u1"), np.zeros(3, "i8"), np.zeros((), "f4"), np.zeros(3, "f4"), np.zeros(3, "f8"),
         np.zeros(3, "?"), np.zeros(3, "f2"), 1, 2.5, True, np.float32(2), np.float64(2), np.int64(3)]  # fmt: skip


def test_result_types_are_numpys_for_arrays_and_numbers(gpu, monkeypatch):
    for a in KINDS[:7]:
        for b in KINDS:
            for x, y in ((a, b), (b, a)):
                found, wanted = launch(gpu, "add", [x, y])[0], np.add(x, y)
                assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), (x, y)
                np.testing.assert_array_equal(found, wanted)
    assert launch(gpu, "divide", [np.arange(1, 4), 2])[0].dtype == np.float64
    assert launch(gpu, "sqrt", [np.arange(4)])[0].dtype == np.float64
    # Without a kernel of ours: integer powers, a number that does not fit, a comparison that no type holds.
    np.testing.assert_array_equal(launch(gpu, "power", [np.arange(4), 3])[0], np.arange(4) ** 3)
    np.testing.assert_array_equal(launch(gpu, "equal", [np.arange(4, dtype=np.uint8), 300])[0], np.zeros(4, bool))
    mixed = launch(gpu, "less", [np.array([1, 2**63], np.uint64), np.array([-1, 5])])[0]
    np.testing.assert_array_equal(mixed, [False, False])


@pytest.mark.parametrize("name", ["floor_divide", "remainder"])
def test_quotients_and_remainders_of_special_numbers_are_numpys(gpu, name):
    with np.errstate(all="ignore"):
        for dtype in (np.float32, np.float64):
            a, b = (x.ravel() for x in np.meshgrid(np.array(SPECIAL, dtype), np.array(SPECIAL, dtype)))
            wanted = getattr(np, name)(a, b)
            found = launch(gpu, name, [a, b])[0]
            np.testing.assert_array_equal(found, wanted)
            np.testing.assert_array_equal(np.signbit(found[found == 0]), np.signbit(wanted[wanted == 0]))
        for dtype in (np.int8, np.int32, np.int64, np.uint8):
            bounds = np.iinfo(dtype)
            values = np.array([bounds.min, 0, 1, 2, 3, 7, bounds.max], dtype)
            values = np.concatenate([values, (-values[2:6]).astype(dtype)])
            a, b = (x.ravel() for x in np.meshgrid(values, values))
            np.testing.assert_array_equal(launch(gpu, name, [a, b])[0], getattr(np, name)(a, b))


@pytest.mark.parametrize("name", ["maximum", "minimum", "less", "not_equal", "logical_and", "relu_gradient"])
def test_special_numbers_in_operations_of_two(gpu, name):
    a, b = (x.ravel() for x in np.meshgrid(np.array(SPECIAL, np.float32), np.array(SPECIAL, np.float32)))
    wanted = np.where(b > 0, a, np.float32(0)) if name == "relu_gradient" else getattr(np, name)(a, b)
    np.testing.assert_array_equal(launch(gpu, name, [a, b])[0], wanted)


@pytest.mark.parametrize("name", ["sign", "abs", "isnan", "isinf", "isfinite", "relu", "sigmoid", "softplus", "rint"])
def test_special_numbers_in_functions(gpu, name):
    x = np.array([*SPECIAL, 0.5, 1.5, 100.0, -100.0], np.float32)
    with np.errstate(all="ignore"):
        wanted = {
            "relu": lambda: np.maximum(x, 0),
            "sigmoid": lambda: 1 / (1 + np.exp(-x.astype(np.float64))),
            "softplus": lambda: np.logaddexp(0, x.astype(np.float64)),
        }.get(name, lambda: getattr(np, name)(x))()
    np.testing.assert_allclose(launch(gpu, name, [x])[0], wanted, rtol=1e-6, atol=1e-37)


# Layouts.


@pytest.mark.parametrize("axes", range(8))
def test_random_layouts(gpu, rng, axes, checked):
    for _ in range(4):
        shape = tuple(int(n) for n in rng.integers(1, 4, axes))
        base = rng.normal(size=tuple(3 * n for n in shape)).astype(np.float32)
        order = rng.permutation(axes)
        cut = tuple(slice(int(s), None, 3) if s >= 0 else slice(None, None, -3) for s in rng.integers(-1, 3, axes))
        b = rng.normal(size=tuple(int(rng.choice([1, n])) for n in shape[int(rng.integers(0, axes + 1)) :]))
        device, a = gpu.asarray(base)[(..., *cut)], base[(..., *cut)]
        if axes and b.ndim == axes:
            a, device = a.transpose(order), device.transpose(order)
            b = b.transpose(order)
        b = b.astype(np.float32)
        other = gpu.asarray(np.ascontiguousarray(b))
        np.testing.assert_array_equal(gpu.launch("add", device, other).get(), a + b)
        np.testing.assert_array_equal(gpu.launch("copy", device).get(), a)
        assert gpu.launch("copy", device).flags.c_contiguous
        np.testing.assert_array_equal(gpu.launch("where", device > 0, device, other).get(), np.where(a > 0, a, b))
        gpu.launch("assign", device, other)
        a[...] = b
        np.testing.assert_array_equal(device.get(), a)


def test_division_by_multiplication_is_exact(rng):
    lengths = [2, 3, 5, 7, 31, 32, 33, 641, 2**16 - 1, 2**16 + 1, 2**30, 2**30 + 1, 2**31 - 1]
    numbers = [0, 1, 2**31 - 1, 2**31 - 2, *(int(n) for n in rng.integers(0, 2**31, 50))]
    for length in lengths:
        table = strided._layout((length, 2), ((1, 5),)) if 2 * length < 2**31 else strided._layout((length,), ((1,),))
        which = list(table["length"]).index(length)
        multiplier, shift = int(table["multiplier"][which]), int(table["shift"][which])
        for n in (*numbers, length, length - 1, length + 1):
            if n < 2**31:
                assert (((n * multiplier) >> 32) + n) >> shift == n // length


def test_axes_that_lie_in_line_are_joined_and_what_no_layout_holds_falls_back(gpu):
    assert strided._layout((4, 5, 6), ((30, 6, 1), (30, 6, 1)))["axes"] == 1
    assert strided._layout((4, 5, 6), ((30, 6, 1), (0, 6, 1)))["axes"] == 2
    assert strided._layout((2**16, 2**15), ((1, 2**16),)) is None
    x = np.arange(3**7, dtype=np.float32).reshape((3,) * 7)
    turned = gpu.asarray(x)[::-1, :, ::-1, :, ::-1, :, ::-1]
    assert strided.layout(turned.shape, turned) is None
    np.testing.assert_array_equal(gpu.launch("negative", turned).get(), -x[::-1, :, ::-1, :, ::-1, :, ::-1])


@pytest.mark.parametrize("start", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "float64"])
def test_any_size_at_any_address(gpu, start, dtype, checked):
    for size in (0, 1, 3, 4, 5, 8, 1021):
        x = np.arange(size + start).astype(dtype)
        here = gpu.asarray(x)[start:]
        np.testing.assert_array_equal(gpu.launch("add", here, here).get(), x[start:] + x[start:])
        np.testing.assert_array_equal(gpu.launch("copy", here).get(), x[start:])
        gpu.launch("assign", here, 7)
        np.testing.assert_array_equal(here.get(), np.full(size, 7, dtype))


def test_arrays_without_elements(gpu):
    x, one = np.zeros((0, 3), np.float32), np.ones((1, 3), np.float32)
    for operands, name in (([x], "exp"), ([x, one], "add"), ([x > 0, one, x], "where"), ([x], "copy")):
        assert launch(gpu, name, operands)[0].shape == (0, 3)
    np.testing.assert_array_equal(launch(gpu, "pad", [x], widths=((1, 0), (0, 0)), value=2)[0], 2 * one)


def test_shapes_that_do_not_broadcast_are_refused(gpu):
    with pytest.raises(ValueError, match="broadcast"):
        launch(gpu, "add", [np.zeros((2, 3), np.float32), np.zeros((2,), np.float32)])


# Where results go.


def test_results_may_be_written_over_an_operand(gpu, rng):
    x, y = rng.normal(size=(2, 33)).astype(np.float32)
    a, b = uploaded(gpu, [x, y])
    assert gpu.launch("add", a, b, out=a) is a
    np.testing.assert_array_equal(a.get(), x + y)
    gpu.launch("exp", b, out=b)
    np.testing.assert_allclose(b.get(), np.exp(y), rtol=1e-6)


def test_operands_that_overlap_the_result_are_read_before_it_is_written(gpu, rng):
    x = rng.normal(size=300).astype(np.float32)
    a = gpu.asarray(x)
    gpu.launch("add", a[:-1], a[1:], out=a[1:])
    np.testing.assert_array_equal(a.get(), np.concatenate([x[:1], x[:-1] + x[1:]]))
    a = gpu.asarray(x)
    gpu.launch("multiply", a, a[:1], out=a)
    np.testing.assert_array_equal(a.get(), x * x[0])
    a = gpu.asarray(x)
    gpu.launch("assign", a[1:], a[:-1])
    np.testing.assert_array_equal(a.get(), np.concatenate([x[:1], x[:-1]]))
    a = gpu.asarray(x)
    gpu.launch("negative", a[::-1], out=a)
    np.testing.assert_array_equal(a.get(), -x[::-1])


@pytest.mark.parametrize("value", [np.ones((), "f4"), np.array(3), 2, 2.5, np.float32(0.1), np.array(True)])
def test_assign_add_to_a_wider_number_keeps_its_type(gpu, monkeypatch, value):
    total = gpu.asarray(np.array(0.25))
    operand = gpu.asarray(value) if isinstance(value, np.ndarray) else value
    assert count_launches(gpu, monkeypatch, "assign_add", [total, operand]) == ["binary"]
    assert total.dtype == np.float64
    assert total.get() == 0.25 + np.float64(value)


def test_assign_add_computes_in_the_wider_type_and_refuses_to_lose_a_kind(gpu):
    x, y = np.float32([1e8, 1]), np.array([1.0, 2.0**-30])
    target = gpu.asarray(x)
    gpu.launch("assign_add", target, gpu.asarray(y))
    np.testing.assert_array_equal(target.get(), (x.astype(np.float64) + y).astype(np.float32))
    count = gpu.asarray(np.arange(3))
    gpu.launch("assign_add", count, 2)
    np.testing.assert_array_equal(count.get(), [2, 3, 4])
    with pytest.raises(TypeError):
        gpu.launch("assign_add", count, 0.5)
    with pytest.raises(TypeError):
        gpu.launch("assign_add", count, gpu.asarray(np.ones(3)))
    np.testing.assert_array_equal(count.get(), [2, 3, 4])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8", "bool"])
def test_assign_converts_like_numpy(gpu, dtype):
    for value in (0, 1, True, 2.75, np.float32(1.5), np.arange(3.0), np.arange(3, dtype=np.int32), np.array(2)):
        wanted, target = np.zeros((2, 3), dtype), gpu.asarray(np.zeros((2, 3), dtype))
        wanted[...] = value
        gpu.launch("assign", target, gpu.asarray(value) if isinstance(value, np.ndarray) else value)
        np.testing.assert_array_equal(target.get(), wanted)
        part = gpu.asarray(np.zeros((3, 6), dtype))[1:, ::2]
        gpu.launch("assign", part, gpu.asarray(value) if isinstance(value, np.ndarray) else value)
        np.testing.assert_array_equal(part.get(), wanted)


@pytest.mark.parametrize("to", ["float32", "float64", "float16", "int32", "bool", "uint8"])
def test_astype_converts_like_numpy(gpu, rng, to):
    for source in ("float32", "float64", "float16", "int64", "uint8", "bool"):
        x = rng.uniform(0, 100, (3, 7)).astype(source)
        found = launch(gpu, "astype", [x], dtype=np.dtype(to))[0]
        assert found.dtype == to
        np.testing.assert_array_equal(found, x.astype(to))


def test_where_pad_and_assignment_to_a_part(gpu, rng):
    mask, a, b = rng.random((5, 7)) > 0.5, *rng.normal(size=(2, 5, 7)).astype(np.float32)
    check(gpu, "where", [mask, a, b[0]])
    np.testing.assert_array_equal(launch(gpu, "where", [mask, a, 0])[0], np.where(mask, a, 0))
    np.testing.assert_array_equal(launch(gpu, "where", [mask, 1.5, b])[0], np.where(mask, np.float32(1.5), b))
    np.testing.assert_array_equal(launch(gpu, "where", [mask, mask, False])[0], mask)
    check(gpu, "pad", [a], widths=((1, 0), (2, 3)), value=1.5)
    target = gpu.asarray(a)
    gpu.launch("assign_at", target, gpu.asarray(b[:, 2]), index=(slice(None), 2))
    gpu.launch("assign_at", target, 5, index=(1, 3))
    a[:, 2], a[1, 3] = b[:, 2], 5
    np.testing.assert_array_equal(target.get(), a)


HOT = {
    "relu": ([(32, 8, 8, 16)], {}),
    "relu_gradient": ([(32, 512), (32, 512)], {}),
    "multiply": ([(), 0.5], {}),
    "divide": ([(32, 10), ()], {}),
    "astype": ([(32,)], {"dtype": np.dtype("float64")}),
}


@pytest.mark.parametrize("name", HOT)
def test_what_a_training_step_launches_is_one_kernel_of_ours(gpu, monkeypatch, rng, name):
    shapes, attributes = HOT[name]
    operands = [rng.normal(size=s).astype(np.float32) if isinstance(s, tuple) else s for s in shapes]
    operands = [np.asarray(x) if isinstance(x, np.generic) else x for x in operands]
    assert len(count_launches(gpu, monkeypatch, name, operands, **attributes)) == 1


def test_labels_are_compared_with_predictions_and_counted_by_our_kernels(gpu, monkeypatch):
    labels, predicted = np.arange(8, dtype=np.uint8), np.array([0, 1, 2, 0, 4, 5, 6, 0])
    assert count_launches(gpu, monkeypatch, "equal", [labels, predicted]) == ["binary"]
    np.testing.assert_array_equal(launch(gpu, "equal", [labels, predicted])[0], labels == predicted)
    step, one = np.array(41), np.array(1)
    assert count_launches(gpu, monkeypatch, "add", [step, one]) == ["binary"]
    assert launch(gpu, "add", [step, one])[0] == 42
