"""The stand-in for CuPy: it computes what NumPy computes, refuses what CuPy refuses, and offers nothing that the real
module does not have."""

from __future__ import annotations

import importlib.machinery
import inspect
import json
import subprocess
import sys
import types
from collections.abc import Iterator

import cupy_stand_in
import numpy as np
import pytest
from cupy_stand_in import cupy as cp
from cupy_stand_in import modules
from cupy_stand_in.testing import host
from emulator.testing import require_emulator

from gradlite.backends.base import Backend
from gradlite.backends.rows import Rows

sys.path.insert(0, __file__.rpartition("/cuda/")[0] + "/backends")
from kernel_calls import CALLS

require_emulator()


# ---- what it computes


def moved(value):
    if isinstance(value, np.ndarray):
        return cp.asarray(value)
    if isinstance(value, Rows):
        return Rows(None, moved(value.arrays), moved(value.order))
    return tuple(map(moved, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_reference_kernels_give_the_bits_that_they_give_over_numpy(call, rng):
    here, there = Backend(np, "cpu"), Backend(cp, "gpu:0")
    for dtype in call.dtypes:
        arrays = call.arrays(rng, np.dtype(dtype))
        copies = [moved(a) for a in arrays]
        attributes = {k: moved(v) if k in ("index", "rows", "values") else v for k, v in call.attributes.items()}
        expected = here.launch(call.name, *arrays, **call.attributes)
        found = there.launch(call.name, *copies, **attributes)
        pairs = zip(
            (*(expected if isinstance(expected, tuple) else (expected,)), *arrays),
            (*(found if isinstance(found, tuple) else (found,)), *copies),
        )
        for ours, theirs in pairs:
            if ours is None:
                assert theirs is None
                continue
            ours = np.asarray(ours)
            theirs = theirs.get() if isinstance(theirs, cp.ndarray) else np.asarray(theirs)
            assert (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())


def test_results_without_axes_are_arrays_never_scalars():
    x = cp.asarray(host())
    for result in (x.sum(), cp.max(x), x[2], cp.all(x > 0), x.argmax(), cp.matmul(x, x), cp.mean(x), x[0] + 1):
        assert type(result) is cp.ndarray
        assert result.shape == ()


def test_new_results_are_c_contiguous_whatever_the_operands_are():
    x = cp.asarray(host(12)).reshape(3, 4).T
    assert (x * 2).flags.c_contiguous
    assert not x.flags.c_contiguous
    assert x.copy().flags.c_contiguous
    assert x.astype("float64").flags.f_contiguous  # astype keeps the order, as CuPy's does


def test_views_share_memory_and_launch_nothing():
    x = cp.asarray(host(12))
    with cupy_stand_in.counting() as counts:
        views = [x.reshape(3, 4), x[2:], x[::-1], x[3], cp.flip(x), cp.broadcast_to(x, (2, 12)), x.reshape(3, 4).T]
    assert counts.operations == 0
    x[...] = 7
    assert all((v.get() == 7).all() for v in views)
    assert x[2:].data.ptr == x.data.ptr + 8
    assert all(v.base is x for v in views)


def test_indices_out_of_range_wrap_as_on_the_device():
    x = cp.asarray(host())
    places = cp.asarray([0, 6, -7, 13])
    np.testing.assert_array_equal(x[places].get(), [0, 0, 5, 1])
    np.testing.assert_array_equal(cp.take(x, places).get(), [0, 0, 5, 1])
    x[cp.asarray([8])] = 50
    assert x[2].item() == 50
    with pytest.raises(IndexError):
        x[6]


INDICES = (
    2,
    (1, -1),
    slice(None, None, -2),
    (..., None, 1),
    np.array([2, 0, 0]),
    [1, -1],
    np.array([[True, False, True, True], [False] * 4, [True] * 4]),
    (np.array([True, False, True]), 1),
    (np.array([0, 2]), slice(1, 3)),
    (slice(None), np.array([3, 1])),
    (np.array([[0], [2]]), np.array([1, 3])),
    (0, np.array([1, 1])),
    (np.array(1), slice(None)),
    np.array([], np.int64),
)


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("on_device", [False, True])
def test_indexing_selects_writes_and_adds_as_numpy_does(index, on_device):
    plain = host(12).reshape(3, 4)
    x = cp.asarray(plain)
    ours = moved(index) if on_device else index
    assert x[ours].shape == plain[index].shape
    np.testing.assert_array_equal(x[ours].get(), plain[index])
    values = np.broadcast_to(np.float32(-3), plain[index].shape)
    plain[index] = values
    x[ours] = cp.asarray(values)
    np.testing.assert_array_equal(x.get(), plain)
    np.add.at(plain, index, 2.0)
    cp.add.at(x, ours, 2.0)
    np.testing.assert_array_equal(x.get(), plain)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_negative_powers_of_integers_truncate_as_on_the_device(dtype):
    base = cp.asarray(np.array([-2, -1, 1, 2], dtype))
    for found, expected in ((base**-1, [0, -1, 1, 0]), (base**-2, [0, 1, 1, 0]), (base**2, [4, 1, 1, 4])):
        assert (found.dtype, found.get().tolist()) == (dtype, expected)
    exponents = cp.asarray(np.array([3, -3, -3, -3], dtype))
    assert (base**exponents).get().tolist() == [-8, -1, 1, 0]


def test_scatters_add_repeated_positions_and_take_only_dtypes_with_atomics():
    x = cp.zeros(3, np.float32)
    cp.add.at(x, cp.asarray([0, 0, 2]), cp.asarray([1, 2, 4], np.float32))
    np.testing.assert_array_equal(x.get(), [3, 0, 4])
    with pytest.raises(TypeError, match="only supports"):
        cp.add.at(cp.zeros(3, np.int64), cp.asarray([0]), 1)
    with pytest.raises(NotImplementedError):
        cp.multiply.at(x, cp.asarray([0]), 1)


def test_python_scalars_promote_weakly_and_arrays_without_axes_do_not():
    x = cp.ones(3, np.float32)
    assert (x * 2.0).dtype == np.float32
    assert (x * np.float64(2)).dtype == np.float64
    assert (x * cp.asarray(2.0)).dtype == np.float64
    assert (cp.ones(3, np.uint8) + 1).dtype == np.uint8


def test_a_gpu_gives_no_warnings():
    zero = cp.zeros(2, np.float32)
    assert np.isnan((zero / zero).get()).all()
    assert (cp.ones(2, np.int32) // cp.zeros(2, np.int32)).get().tolist() == [0, 0]


def test_new_memory_is_not_a_number():
    assert np.isnan(cp.empty(5, np.float32).get()).all()


# ---- what it refuses


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, a: x + a,
        lambda x, a: a + x,
        lambda x, a: np.add(x, a),
        lambda x, a: cp.add(x, a),
        lambda x, a: cp.where(x > 0, a, x),
        lambda x, a: cp.concatenate([x, a]),
        lambda x, a: cp.sum(a),
        lambda x, a: cp.clip(x, a, 3),
        lambda x, a: cp.add(x, x, out=a),
        lambda x, a: x + [1.0] * 6,
        lambda x, a: np.concatenate([x, a]),
    ],
)
def test_numpy_arrays_and_sequences_among_operands_are_refused(mix):
    with pytest.raises(TypeError):
        mix(cp.asarray(host()), host())


def test_assigning_a_numpy_array_is_refused():
    x = cp.asarray(host())
    with pytest.raises(ValueError, match=r"non-scalar numpy\.ndarray cannot be used for fill"):
        x[...] = host()
    x[...] = np.array(2.0)
    assert x.get().tolist() == [2.0] * 6


@pytest.mark.parametrize("convert", [np.asarray, np.array, np.float32, range, lambda x: np.asarray([x])])
def test_implicit_conversion_is_refused(convert):
    with pytest.raises(TypeError):
        convert(cp.asarray(3))


def test_what_cupy_lacks_is_absent():
    for name in ("errstate", "einsum_path", "longdouble", "block", "insert", "spacing"):
        assert not hasattr(cp, name)
    x = cp.asarray(host())
    with pytest.raises(TypeError):
        cp.sum(x, where=x > 2)
    with pytest.raises(TypeError):
        cp.einsum("i->", x, out=x)
    with pytest.raises(TypeError):
        cp.take(x, x.astype(int), mode="clip")


def test_out_keeps_to_numpys_casting_rules():
    x = cp.asarray(host())
    out = cp.empty(6, np.float64)
    assert cp.multiply(x, 2, out=out) is out
    with pytest.raises(TypeError):
        cp.multiply(x, 2, out=cp.empty(6, np.int32))


# ---- the real module

CHECK = r"""
import importlib, inspect, json, re, sys

def parameters(function):
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        # Compiled functions say what they take in the first line of their docstrings.
        line = (function.__doc__ or "").strip().partition("\n")[0]
        match = re.match(r"[\w.]+\((.*)\)", line)
        if not match:
            return None
        return [re.split("[=:]", part)[0].split()[-1].strip("*") for part in match[1].split(",") if part.strip()]

def find(name):
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found

wrong = []
for name, ours in json.load(sys.stdin):
    try:
        found = find(name)
    except AttributeError:
        wrong.append(f"{name} is not in CuPy")
        continue
    theirs = parameters(found) if ours and not isinstance(found, type) else None
    extra = set(ours or ()) - set(theirs or ours or ())
    if extra:
        wrong.append(f"{name} has no parameters {sorted(extra)}; it has {theirs}")
print(json.dumps(wrong))
"""


def offered() -> Iterator[tuple[str, list[str] | None]]:
    """Every public name that the stand-in's modules offer, with the parameters of functions."""
    for module_name, module in modules.build().items():
        for name, value in vars(module).items():
            if name.startswith("_"):
                continue
            full = f"{module_name}.{name}"
            yield full, parameters(value)
            ours = inspect.isclass(value) and value.__module__.startswith("cupy_stand_in")
            for cls in value.__mro__ if ours else ():
                if cls.__module__.startswith("cupy_stand_in"):
                    members = [(k, v) for k, v in vars(cls).items() if not k.startswith("_")]
                    yield from ((f"{full}.{k}", parameters(v)) for k, v in members)


def parameters(value) -> list[str] | None:
    if isinstance(value, cp.ufunc):
        return ["out", "casting", "dtype"]
    if isinstance(value, types.FunctionType):
        return list(inspect.signature(value).parameters)
    return None


def test_every_name_and_parameter_exists_in_the_real_cupy(tmp_path):
    # Not importlib.util.find_spec: it asks the stand-in where that is installed.
    if importlib.machinery.PathFinder.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed")
    names = list(offered())
    assert len(names) > 400
    # In another process, from another folder: the real module must not be hidden by the stand-in.
    made_up = [("cupy.cuda.Strem", None), ("cupy.cuda.Stream.begin", []), ("cupy.sum", ["a", "where"])]
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        input=json.dumps(names + made_up),
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    wrong = json.loads(done.stdout.splitlines()[-1])
    assert len(wrong) == len(made_up), "\n".join(wrong)  # the last three prove that the check finds something
    assert all(name in line for (name, _), line in zip(made_up, wrong))
