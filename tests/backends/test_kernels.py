"""The contract of kernels: out= gives the same bits, results are fresh, inputs stay, strides do not matter."""

from __future__ import annotations

import inspect
from functools import partial

import numpy as np
import pytest
from helpers import strided
from kernel_calls import CALLS

from gradlite.backends import get_backend
from gradlite.backends.base import ARRAY_FUNCTIONS
from gradlite.backends.cpu.native.launches import native
from gradlite.backends.cpu.registry import CPU
from gradlite.backends.registry import REFERENCE, reference_kernel

# Native kernels, without what lets eager execution choose NumPy for few elements.
NATIVE = {
    name: native(kernel.plan, CPU.get(name) or kernel.__wrapped__)
    for name, kernel in get_backend("cpu").kernels.items()
    if hasattr(kernel, "plan")
}
TABLES = {"reference": {call.name for call in CALLS}, "cpu": CPU, "native": NATIVE}
CASES = [(c, which) for c in CALLS for which, table in TABLES.items() if c.name in table]


def kernel_of(call, which):
    """The kernel as a function of arrays."""
    if which == "reference":
        return reference_of(call.name)
    return TABLES[which][call.name]


def reference_of(name):
    """What a kernel means: the reference of this name, or the array module's function."""
    return partial(REFERENCE[name], np) if name in REFERENCE else getattr(np, name)


def arrays_of(call, dtype):
    return call.arrays(np.random.default_rng(3), dtype)


def listed(value):
    return list(value) if isinstance(value, tuple) else [value]


def copied(arrays):
    return [np.array(x) if isinstance(x, np.ndarray) else x for x in arrays]


def each(cases):
    return pytest.mark.parametrize(
        ("call", "which", "dtype"),
        [(c, w, d) for c, w in cases for d in c.dtypes],
        ids=[f"{c.name}-{w}-{d}" for c, w in cases for d in c.dtypes],
    )


def test_every_kernel_is_called_here():
    assert (
        {c.name for c in CALLS} | {"pack"} == set(REFERENCE) | set(ARRAY_FUNCTIONS) == set(get_backend("cpu").kernels)
    )


@pytest.mark.parametrize("name", sorted(CPU.keys() & REFERENCE.keys()))
def test_a_cpu_kernel_has_the_signature_of_the_reference_without_xp(name):
    reference = list(inspect.signature(REFERENCE[name]).parameters.values())
    own = list(inspect.signature(CPU[name]).parameters.values())
    assert reference[0].name == "xp"
    described = [(p.name, p.kind, p.default) for p in reference[1:]]
    assert [(p.name, p.kind, p.default) for p in own] == described


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_a_reference_kernel_takes_arrays_by_position_attributes_by_name_and_out_last(name):
    parameters = list(inspect.signature(REFERENCE[name]).parameters.values())
    kinds = [p.kind for p in parameters]
    assert kinds == sorted(kinds), "positions come first"
    assert REFERENCE[name].__doc__
    if "out" in (p.name for p in parameters):
        assert parameters[-1].name == "out"
        assert parameters[-1].kind is inspect.Parameter.KEYWORD_ONLY
    elif name not in ("assign", "assign_add", "assign_at"):
        assert any(c.name == name and c.updates for c in CALLS), f"{name} returns nothing and updates nothing"


@each([(c, w) for c, w in CASES if c.updates == 0])
def test_a_result_is_fresh_the_same_bits_go_into_out_and_inputs_stay(call, which, dtype):
    kernel, arrays = kernel_of(call, which), arrays_of(call, dtype)
    before = copied(arrays)
    results = listed(kernel(*arrays, **call.attributes))
    for result in results:
        for x in arrays:
            assert not isinstance(x, np.ndarray) or not np.shares_memory(result, x), "the result is a view of an input"
    buffers = [np.full_like(np.asarray(r), 77, order="C") for r in results]
    out = tuple(buffers) if len(buffers) > 1 else buffers[0]
    returned = listed(kernel(*arrays, **call.attributes, out=out))
    for result, buffer, again in zip(results, buffers, returned):
        assert again is buffer
        assert np.asarray(result).tobytes() == buffer.tobytes()
    for x, old in zip(arrays, before):
        np.testing.assert_array_equal(x, old, err_msg="a kernel must not change its input")


@each([(c, w) for c, w in CASES if c.updates == 0])
def test_strided_inputs_give_the_same_values(call, which, dtype):
    kernel, arrays = kernel_of(call, which), arrays_of(call, dtype)
    views = [strided(x) if isinstance(x, np.ndarray) and x.ndim and x.dtype.kind == "f" else x for x in arrays]
    before = copied(views)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for a, b in zip(listed(kernel(*arrays, **call.attributes)), listed(kernel(*views, **call.attributes))):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        # Views are summed in another order than whole arrays are: roundings are those of the largest terms.
        largest = np.abs(np.asarray(b, np.float64)).max(initial=1.0)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * largest)
    for x, old in zip(views, before):
        np.testing.assert_array_equal(x, old)


@each([(c, w) for c, w in CASES if c.updates])
def test_an_update_changes_its_first_arrays_in_place_and_nothing_else(call, which, dtype):
    kernel, arrays = kernel_of(call, which), arrays_of(call, dtype)
    before = copied(arrays)
    returned = kernel(*arrays, **call.attributes)
    assert returned is None or call.name.startswith("draw_random")
    changed = [isinstance(x, np.ndarray) and not np.array_equal(x, old) for x, old in zip(arrays, before)]
    assert changed[0]
    assert not any(changed[call.updates :])
    for x, old in zip(arrays, before):
        if isinstance(x, np.ndarray):
            assert x.dtype == old.dtype
    if call.updates > 1 and call.name not in ("adapt_scale", "unscale"):
        assert not changed[1], "the gradient is an input"


@each([(c, w) for c, w in CASES if w != "reference"])
def test_the_cpus_values_are_the_references(call, which, dtype):
    own, theirs = arrays_of(call, dtype), arrays_of(call, dtype)
    a = kernel_of(call, which)(*own, **call.attributes)
    b = reference_of(call.name)(*theirs, **call.attributes)
    tolerance = 5e-5 if dtype == "float32" else 1e-11
    pairs = list(zip(own, theirs)) if call.updates else list(zip(listed(a), listed(b)))
    for x, y in pairs:
        if isinstance(y, (np.ndarray, np.generic)):
            assert np.asarray(x).dtype == np.asarray(y).dtype
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@each([(c, w) for c, w in CASES if c.updates == 0])
def test_the_same_call_gives_the_same_bits(call, which, dtype):
    kernel, arrays = kernel_of(call, which), arrays_of(call, dtype)
    first, second = (listed(kernel(*arrays, **call.attributes)) for _ in range(2))
    for a, b in zip(first, second):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_pack_writes_arrays_one_after_the_other():
    out = np.zeros(9, np.float32)
    arrays = [np.arange(4.0).reshape(2, 2), np.array([7.0]), np.arange(3.0)]
    assert REFERENCE["pack"](np, *arrays, offsets=(0, 4, 6), out=out) is out
    np.testing.assert_array_equal(out, [0, 1, 2, 3, 7, 0, 0, 1, 2])


def test_two_reference_kernels_of_one_name_are_refused():
    def relu(xp, x, *, out=None):
        return x

    with pytest.raises(ValueError, match="already a reference kernel named 'relu'"):
        reference_kernel(relu)
