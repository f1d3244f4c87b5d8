"""Native Philox: the reference's bits, whatever the size, the draw and the threads; dropout selects."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.native import random
from gradlite.backends.cpu.native.launches import run_plan
from gradlite.backends.reference import random as reference

STATES = [(0, 0, 0), (2**64 - 1, 2**32 - 1, 2**64 - 1), (0x9E3779B97F4A7C15, 77, 2**33 + 5)]


@pytest.fixture(params=[1, 2])
def threads(request, monkeypatch):
    monkeypatch.setattr(parallel, "_THREADS", request.param)
    return request.param


@pytest.mark.parametrize("state", STATES, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (5, 3), (2049,), (7, 9001)], ids=str)
@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 0.999])
def test_dropout_is_the_references(threads, state, shape, rate):
    x = np.asarray(np.random.default_rng().normal(size=shape), np.float32)
    snapshot = np.array(state, np.uint64)
    expected = reference.dropout(np, x, snapshot, rate=rate)
    np.testing.assert_array_equal(run_plan(random.dropout(x, snapshot, rate=rate)), expected)
    assert run_plan(random.dropout(x, snapshot, rate=rate, out=x)) is x
    np.testing.assert_array_equal(x, expected)


def test_dropped_nan_is_zero():
    x = np.full(1000, np.nan, np.float32)
    x[::2] = np.inf
    y = run_plan(random.dropout(x, np.array(STATES[2], np.uint64), rate=0.5))
    np.testing.assert_array_equal(y, reference.dropout(np, x, np.array(STATES[2], np.uint64), rate=0.5))
    assert (y == 0).any()


def test_what_is_left_to_numpy():
    x, state = np.ones((6, 8), np.float32), np.array(STATES[2], np.uint64)
    assert random.dropout(x.T, state, rate=0.5) is None
    assert random.dropout(x.astype(np.float64), state, rate=0.5) is None
    assert random.dropout(x, state, rate=1.0) is None
    assert random.dropout(x, state, rate=0.5, noise_shape=(6, 1)) is None
