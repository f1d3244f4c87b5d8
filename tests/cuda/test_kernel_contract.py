"""The contract of CUDA kernels: the reference's signature, values, dtypes and strides; out= gives the same bits."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import numpy as np
import pytest

import gradlite.backends.cuda  # noqa: F401  (fills the table)
from gradlite.backends.base import ARRAY_FUNCTIONS
from gradlite.backends.cuda.registry import CUDA
from gradlite.backends.registry import REFERENCE
from gradlite.backends.rows import Rows

sys.path.append(str(Path(__file__).parents[1] / "backends"))

from helpers import strided
from kernel_calls import CALLS

# More than float32's rounding where functions of a device are used: exp, log, pow and their like.
TOLERANCES = {"float16": 4e-3, "float32": 5e-5, "float64": 1e-11}
OWN = [c for c in CALLS if c.name in CUDA]


def each(calls):
    return pytest.mark.parametrize(
        ("call", "dtype"),
        [(c, d) for c in calls for d in c.dtypes],
        ids=[f"{c.name}-{d}" for c in calls for d in c.dtypes],
    )


def host_arrays(call, dtype):
    return call.arrays(np.random.default_rng(3), dtype)


def uploaded(gpu, arrays):
    return [gpu.asarray(x) if isinstance(x, np.ndarray) else x for x in arrays]


def attributes_of(gpu, call):
    return {key: on_device(gpu, value) for key, value in call.attributes.items()}


def on_device(gpu, value):
    if isinstance(value, np.ndarray):
        return gpu.asarray(value)
    if isinstance(value, Rows):
        return gpu.rows(*on_device(gpu, (value.arrays, value.order)))
    return tuple(on_device(gpu, part) for part in value) if isinstance(value, tuple) else value


def listed(value):
    return list(value) if isinstance(value, (tuple, list)) else [value]


def host(gpu, value):
    return gpu.to_numpy(value) if isinstance(value, gpu.array_type) else value


def expected(call, arrays):
    kernel = REFERENCE.get(call.name)
    with np.errstate(all="ignore"):
        if kernel is None:
            return getattr(np, call.name)(*arrays, **call.attributes)
        return kernel(np, *arrays, **call.attributes)


def close(found, wanted, dtype):
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    if found.dtype.kind != "f":
        np.testing.assert_array_equal(found, wanted)
        return
    tolerance = TOLERANCES[str(found.dtype)] if str(dtype) != "float16" else TOLERANCES["float16"]
    scale = float(np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted)))
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * max(scale, 1e-3))


@pytest.mark.parametrize("name", sorted(CUDA))
def test_a_cuda_kernel_has_the_signature_of_the_reference_with_gpu_for_xp(name):
    own = list(inspect.signature(CUDA[name]).parameters.values())
    assert own[0].name == "gpu"
    assert CUDA[name].__doc__
    if name not in REFERENCE:
        assert name in ARRAY_FUNCTIONS
        return
    reference = list(inspect.signature(REFERENCE[name]).parameters.values())
    assert [(p.name, p.kind, p.default) for p in own[1:]] == [(p.name, p.kind, p.default) for p in reference[1:]]


def test_every_cuda_kernel_is_called_here():
    assert set(CUDA) <= {c.name for c in CALLS} | {"pack"}


@each(OWN)
def test_values_and_types_are_the_references_for_contiguous_and_strided_arrays(gpu, call, dtype):
    arrays = host_arrays(call, dtype)
    views = [strided(x) if isinstance(x, np.ndarray) and x.ndim and x.dtype.kind == "f" else x for x in arrays]
    for given in (arrays, [wide_on(gpu, x) for x in views]):
        if call.updates and given is not arrays:
            continue  # updates are of whole buffers
        wanted_arrays = host_arrays(call, dtype)
        wanted = expected(call, wanted_arrays)
        device = uploaded(gpu, given) if given is arrays else given
        found = gpu.launch(call.name, *device, **attributes_of(gpu, call))
        if call.updates:
            for x, y in zip(device, wanted_arrays):
                if isinstance(y, np.ndarray):
                    close(host(gpu, x), y, dtype)
        else:
            for x, y in zip(listed(found), listed(wanted)):
                close(host(gpu, x), y, dtype)


def wide_on(gpu, x):
    """A strided host array as one of the same strides on the device."""
    if not isinstance(x, np.ndarray) or x.flags.c_contiguous:
        return gpu.asarray(x) if isinstance(x, np.ndarray) else x
    return gpu.asarray(x.base)[(slice(None, None, -2),) * x.ndim]


@each([c for c in OWN if not c.updates])
def test_out_receives_the_same_bits_and_inputs_stay(gpu, call, dtype):
    arrays = host_arrays(call, dtype)
    device, attributes = uploaded(gpu, arrays), attributes_of(gpu, call)
    results = listed(gpu.launch(call.name, *device, **attributes))
    buffers = [gpu.full(r.shape, 1, r.dtype) for r in results]
    returned = listed(
        gpu.launch(call.name, *device, **attributes, out=tuple(buffers) if len(buffers) > 1 else buffers[0])
    )
    for result, buffer, again in zip(results, buffers, returned):
        assert again is buffer
        assert host(gpu, result).tobytes() == host(gpu, buffer).tobytes()
        assert all(not isinstance(x, gpu.array_type) or result.data.ptr != x.data.ptr for x in device)
    for x, old in zip(device, arrays):
        if isinstance(old, np.ndarray):
            np.testing.assert_array_equal(host(gpu, x), old, err_msg="a kernel must not change its input")
