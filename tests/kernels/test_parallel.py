"""The thread pool of the CPU's kernels: every part once, errors, nesting, forks, and BLAS at one thread meanwhile."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import numpy as np
import pytest

from gradlite.backends.cpu import parallel
from gradlite.backends.cpu.registry import CPU

TWO = pytest.mark.skipif(parallel.available_threads() < 2, reason="needs two processors")


def calls(**options):
    seen = []
    parallel.run(lambda t, threads: seen.append((t, threads)), **options)
    return sorted(seen)


def test_every_part_runs_once():
    threads = parallel.available_threads()
    for _ in range(50):
        assert calls() == [(t, threads) for t in range(threads)]


def test_small_and_indivisible_work_stays_in_the_calling_thread():
    here = threading.get_ident()
    seen = []
    parallel.run(lambda t, threads: seen.append((t, threads, threading.get_ident())), work=100)
    parallel.run(lambda t, threads: seen.append((t, threads, threading.get_ident())), parts=1)
    parallel.run(lambda t, threads: seen.append((t, threads, threading.get_ident())), parts=0)
    assert seen == [(0, 1, here)] * 3


@TWO
def test_parts_run_at_the_same_time():
    meeting = threading.Barrier(2, timeout=30)
    parallel.run(lambda t, threads: meeting.wait(), parts=2)
    assert not meeting.broken


@pytest.mark.parametrize("failing", [0, 1])
def test_an_exception_of_any_part_reaches_the_caller_and_the_pool_lives_on(failing):
    failing = min(failing, parallel.available_threads() - 1)

    def part(t, threads):
        if t == failing:
            raise ValueError(f"part {t}")

    for _ in range(3):
        with pytest.raises(ValueError, match=f"part {failing}"):
            parallel.run(part)
    threads = parallel.available_threads()
    assert calls() == [(t, threads) for t in range(threads)]


def test_every_part_handles_floating_point_errors_as_the_caller_does():
    zeros = np.zeros(2)
    with np.errstate(invalid="ignore"):
        parallel.run(lambda t, threads: zeros / zeros)
    last = parallel.available_threads() - 1
    with np.errstate(invalid="raise"), pytest.raises(FloatingPointError):
        parallel.run(lambda t, threads: zeros / zeros if t == last else None)


def test_the_caller_does_the_parts_that_threads_have_not_begun(monkeypatch):
    class Asleep:
        def __init__(self, **options):
            pass

        def start(self):
            pass

    def waits(worker):
        raise AssertionError("The caller waits for a thread that has not begun.")

    monkeypatch.setattr(parallel.threading, "Thread", Asleep)
    monkeypatch.setattr(parallel._Worker, "wait", waits)
    monkeypatch.setattr(parallel, "_pool", parallel._Pool())
    monkeypatch.setattr(parallel, "_THREADS", 3)
    for _ in range(3):
        assert calls() == [(0, 3), (1, 3), (2, 3)]
    with pytest.raises(ValueError, match="part 2"):
        parallel.run(lambda t, threads: int(f"part {t}") if t == 2 else None)
    assert calls() == [(0, 3), (1, 3), (2, 3)]


def test_a_nested_run_runs_its_parts_in_the_thread_it_is_in():
    threads = parallel.available_threads()
    inner = {}

    def outer(t, _):
        here = threading.get_ident()
        seen = inner[t] = []
        parallel.run(lambda u, count: seen.append((u, count, threading.get_ident() == here)))

    parallel.run(outer)
    assert inner == {t: [(u, threads, True) for u in range(threads)] for t in range(threads)}


def test_callers_in_several_threads_do_not_disturb_each_other():
    totals = []

    def caller():
        for _ in range(200):
            sums = np.zeros(64)

            def part(t, threads, sums=sums):
                for i in parallel.share(64, t, threads):
                    sums[i] += i

            parallel.run(part)
            totals.append(sums.sum())

    callers = [threading.Thread(target=caller) for _ in range(3)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert totals == [64 * 63 / 2] * 600


def test_a_finished_run_keeps_nothing_of_the_caller_alive():
    gc.disable()
    try:
        array = np.ones(10)
        alive = weakref.ref(array)

        def part(t, threads, array=array):
            array.sum()

        parallel.run(part)
        del part, array
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_computes_with_threads_of_its_own():
    a = np.arange(90_000.0).reshape(300, 300)
    threads = parallel.available_threads()
    assert len(calls()) == threads
    child = os.fork()
    if child == 0:
        # No assertion of pytest's may run on in the child.
        good = calls() == [(t, threads) for t in range(threads)]
        results = [np.zeros((300, 300)) for _ in range(threads)]
        parallel.run(lambda t, _: np.matmul(a, a, out=results[t]))
        good = good and all(np.array_equal(result, results[0]) for result in results)
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(calls()) == threads


def test_blas_has_one_thread_inside_and_its_own_number_afterwards():
    if parallel.single_threaded_blas.control is None:
        pytest.skip("NumPy's BLAS is not OpenBLAS")
    count = parallel.single_threaded_blas.control[0]
    before = count()
    with parallel.single_threaded_blas:
        assert count() == 1
        with parallel.single_threaded_blas:
            assert count() == 1
        assert count() == 1
    assert count() == before
    with pytest.raises(KeyError), parallel.single_threaded_blas:
        raise KeyError
    assert count() == before


def test_scratch_is_reused_by_its_thread_and_belongs_to_it_alone():
    first = parallel.scratch("test", (4, 8), np.float32)
    assert first.shape == (4, 8)
    assert first.ctypes.data % 64 == 0
    assert np.shares_memory(first, parallel.scratch("test", (3,), np.float64))
    assert not np.shares_memory(first, parallel.scratch("other", (4, 8), np.float32))
    others = []
    thread = threading.Thread(target=lambda: others.append(parallel.scratch("test", (4, 8), np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(first, others[0])


def test_large_scratch_is_not_kept():
    size = parallel.LARGEST_KEPT_BUFFER + 1
    first = parallel.scratch("large", (size,), np.uint8)
    assert not np.shares_memory(first, parallel.scratch("large", (size,), np.uint8))


@pytest.mark.parametrize("count", [0, 1, 5, 16])
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_shares_cover_everything_once_in_order(count, threads):
    assert [i for t in range(threads) for i in parallel.share(count, t, threads)] == list(range(count))


@pytest.mark.parametrize(
    ("value", "expected"), [("1", 1), ("1,4", 1), ("9999", None), ("", None), ("many", None), ("0", 1)]
)
def test_omp_num_threads_caps_the_processors(monkeypatch, value, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    processors = parallel.available_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert parallel.available_threads() == (expected or processors)


@pytest.mark.skipif(parallel.single_threaded_blas.control is None, reason="NumPy's BLAS is not OpenBLAS")
@pytest.mark.parametrize("name", ["conv2d_statistics", "conv2d_parameter_gradients", "batch_norm", "column_sum"])
def test_kernels_never_wake_threads_of_blas_which_would_go_on_spinning(monkeypatch, name):
    rng = np.random.default_rng()
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in ((16, 16, 16, 32), (3, 3, 32, 32)))
    options = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    launches = {
        "conv2d_statistics": lambda: CPU[name](x, w, x[0, 0, 0], **options),
        "conv2d_parameter_gradients": lambda: CPU[name](x, x, kernel_shape=w.shape, **options),
        "batch_norm": lambda: CPU[name](x, x[0, 0, 0], x[0, 0, 1], epsilon=1e-3),
        "column_sum": lambda: CPU[name](x),
    }
    get, set_ = parallel.single_threaded_blas.control
    before, counts = get(), []
    for function in ("matmul", "dot"):
        product = getattr(np, function)
        monkeypatch.setattr(np, function, lambda *a, p=product, **o: (counts.append(get()), p(*a, **o))[1])
    set_(2)
    try:
        launches[name]()
    finally:
        set_(before)
    assert counts
    assert set(counts) == {1}
