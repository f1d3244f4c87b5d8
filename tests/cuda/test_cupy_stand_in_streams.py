"""The stand-in for CuPy: raw kernels, what is counted, streams, and capture."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

import cupy_stand_in
import emulator
import numpy as np
import pytest
from cupy_stand_in import cupy as cp
from cupy_stand_in.testing import KERNELS, host
from emulator.testing import require_emulator

require_emulator()


@pytest.fixture(scope="module")
def kernels():
    return cp.RawModule(code=KERNELS, options=("--std=c++17",))


@pytest.fixture
def stream() -> Iterator[cp.cuda.Stream]:
    """A stream that can be captured, as the current one."""
    with cp.cuda.Stream(non_blocking=True) as stream:
        yield stream
        if stream.is_capturing():
            with contextlib.suppress(cupy_stand_in.CUDARuntimeError):  # the test may have spoiled it
                stream.end_capture()


# ---- raw kernels


def test_a_raw_kernel_runs_on_the_memory_of_arrays(kernels):
    x, y = cp.asarray(host(100)), cp.empty(100, np.float32)
    kernels.get_function("twice")((4,), (32,), (x, y, np.int32(100)))
    np.testing.assert_array_equal(y.get(), 2 * host(100))


def test_python_numbers_are_passed_as_double_and_64_bits(kernels):
    x = cp.asarray(host())
    kernels.get_function("add_to")((1,), (4,), (x, 0.5, 6))
    np.testing.assert_array_equal(x.get(), host() + 0.5)
    with pytest.raises(emulator.EmulatorError, match="argument 2"):
        kernels.get_function("twice")((1,), (8,), (x, x, 6))
    with pytest.raises(emulator.EmulatorError, match="arguments"):
        kernels.get_function("twice")((1,), (8,), (x, x))


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: s[0]], ids=["array of one", "scalar"])
def test_structures_are_passed_by_value(kernels, wrap):
    x = cp.asarray(host())
    pair = np.array([(3.0, 1)], np.dtype([("scale", "f4"), ("shift", "i4")]))
    kernels.get_function("affine")((1,), (6,), (x, wrap(pair)))
    np.testing.assert_array_equal(x.get(), 3 * host() + 1)


def test_arguments_that_cupy_refuses(kernels):
    twice, x = kernels.get_function("twice"), cp.asarray(host())
    with pytest.raises(TypeError, match=r"pass a cupy\.ndarray instead"):
        twice((1,), (8,), (host(), x, np.int32(6)))
    with pytest.raises(TypeError, match="Unsupported type"):
        twice((1,), (8,), ([1.0], x, np.int32(6)))
    with pytest.raises(TypeError, match="must be tuples"):
        twice(1, (8,), (x, x, np.int32(6)))


def test_what_does_not_compile_raises_cupys_exception():
    with pytest.raises(cp.cuda.compiler.CompileException, match="nonsense"):
        cp.RawModule(code='extern "C" __global__ void f(int n) { nonsense(n); }').get_function("f")


def test_a_strided_array_is_passed_by_its_address_as_cupy_does(kernels):
    x, y = cp.asarray(host(8)), cp.empty(3, np.float32)
    kernels.get_function("twice")((1,), (4,), (x[1::2], y, np.int32(3)))
    assert y.get().tolist() == [2, 4, 6]


def test_more_than_48_kb_of_shared_memory_must_be_asked_for():
    kernel = cp.RawKernel(KERNELS, "reversed")
    x = cp.asarray(host(64))
    with pytest.raises(cupy_stand_in.CUDARuntimeError, match="max_dynamic_shared_size_bytes"):
        kernel((1,), (64,), (x,), shared_mem=50_000)
    kernel.max_dynamic_shared_size_bytes = 50_000
    kernel((1,), (64,), (x,), shared_mem=50_000)
    np.testing.assert_array_equal(x.get(), host(64)[::-1])
    with pytest.raises(cupy_stand_in.CUDARuntimeError):
        kernel.max_dynamic_shared_size_bytes = 200_000


# ---- what it counts


def test_launches_operations_copies_waits_and_allocations_are_counted(kernels, stream):
    with cupy_stand_in.counting() as counts:
        x = cp.asarray(host())
        y = x * 2 + 1
        kernels.get_function("twice")((1,), (8,), (x, y, np.int32(6)))
        y.get()
        float(y[0])
        stream.synchronize()
    assert counts.operation_log == ["multiply", "add"]
    assert counts.kernel_log == ["twice"]
    expected = {"launches": 1, "operations": 2, "host_to_device": 1, "device_to_host": 2, "synchronizations": 3}
    assert {name: counts.numbers()[name] for name in expected} == expected
    assert counts.allocations == 3
    assert counts.default_stream_launches == 0


def test_products_are_logged_so_that_a_test_can_forbid_them():
    x = cp.ones((2, 2), np.float32)
    with cupy_stand_in.counting() as counts:
        cp.matmul(x, x), x @ x, cp.einsum("ij,jk", x, x), cp.tensordot(x, x), cp.random.uniform(size=3)
    assert counts.operation_log == ["matmul", "matmul", "einsum", "tensordot", "random.uniform"]


def test_copies_between_arrays_of_one_layout_are_no_kernel():
    x, y = cp.asarray(host()), cp.empty(6, np.float32)
    with cupy_stand_in.counting() as counts:
        y[...] = x
        y[::2] = x[::2]
    assert (counts.device_to_device, counts.operation_log) == (1, ["copy"])


def test_launches_on_the_default_stream_are_counted_and_can_be_refused(kernels, stream):
    x = cp.asarray(host())
    with cupy_stand_in.counting() as counts, cp.cuda.Stream.null:
        x += 1
        kernels.get_function("add_to")((1,), (4,), (x, 0.5, 6))
    assert counts.default_stream_launches == 2
    with cupy_stand_in.settings(refuse_default_stream=True):
        x += 1
        with cp.cuda.Stream.null, pytest.raises(AssertionError, match="default stream"):
            x += 1


# ---- capture


def test_a_captured_kernel_runs_only_when_the_graph_is_launched(kernels, stream):
    x, y = cp.asarray(host()), cp.zeros(6, np.float32)
    stream.begin_capture()
    kernels.get_function("twice")((1,), (8,), (x, y, np.int32(6)))
    y += 1
    graph = stream.end_capture()
    assert not y.get().any()
    for n in (1, 2):
        x.set(host() * n)
        with cupy_stand_in.counting() as counts:
            graph.launch()
        assert (counts.launches, counts.graph_launches, counts.replayed) == (0, 1, 2)
        np.testing.assert_array_equal(y.get(), 2 * n * host() + 1)


def test_elementwise_operations_gathers_and_copies_replay_bit_for_bit(stream):
    x, places, out = cp.asarray(host()), cp.asarray([5, 1, 1]), cp.empty(3, np.float32)
    source = cp.asarray(np.float32([9, 8, 7]))

    def step():
        y = cp.exp(cp.where(x > 2, x, x * 0.5))[places] + cp.concatenate([source[:2], source[2:]])
        cp.add.at(x, places, y)
        out[...] = y
        out[1:2] *= 3
        return y

    stream.begin_capture()
    kept = step()
    graph = stream.end_capture()
    before = x.get()
    with pytest.raises(cupy_stand_in.CUDARuntimeError, match="freed since its capture"):
        graph.launch()  # intermediate results went back to the pool
    assert (x.get() == before).all()
    pool = cp.cuda.MemoryPool()
    with cp.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        kept = step()
        graph = stream.end_capture()
    for _ in range(2):
        start = x.get()
        graph.launch()
        replayed = kept.get(), out.get(), x.get()
        x.set(start)
        for ours, theirs in zip(replayed, (step().get(), out.get(), x.get())):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("lost", ["x", "places", "kept"])
def test_a_graph_does_not_keep_alive_what_it_uses(kernels, stream, lost):
    arrays = {"x": cp.asarray(host()), "places": cp.asarray([1, 2])}
    stream.begin_capture()
    kernels.get_function("add_to")((1,), (4,), (arrays["x"], 1.0, 6))
    arrays["kept"] = arrays["x"][arrays["places"]]
    graph = stream.end_capture()
    graph.launch()
    del arrays[lost]
    gc.collect()
    with pytest.raises(cupy_stand_in.CUDARuntimeError, match="freed"):
        graph.launch()


def test_a_pool_of_its_own_keeps_a_graph_working_until_its_blocks_are_freed(kernels, stream):
    pool, x = cp.cuda.MemoryPool(), cp.asarray(host())
    with cp.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        y = x * 2
        x += y
        del y
        graph = stream.end_capture()
    graph.launch()
    np.testing.assert_array_equal(x.get(), 3 * host())
    pool.free_all_blocks()
    with pytest.raises(cupy_stand_in.CUDARuntimeError, match="freed"):
        graph.launch()


@pytest.mark.parametrize(
    "step",
    [
        lambda x, s: x.get(),
        lambda x, s: float(x[0]),
        lambda x, s: bool(x[0] > 0),
        lambda x, s: cp.asarray([1.0]),
        lambda x, s: x.set(host()),
        lambda x, s: x[x > 2],
        lambda x, s: cp.nonzero(x),
        lambda x, s: x.sum(),
        lambda x, s: cp.argsort(x),
        lambda x, s: cp.matmul(x, x),
        lambda x, s: cp.einsum("i,i", x, x),
        lambda x, s: cp.random.uniform(size=3),
        lambda x, s: s.synchronize(),
        lambda x, s: cp.cuda.Device().synchronize(),
        lambda x, s: x.data.memset(0, 4),
    ],
)
def test_reading_on_the_host_and_library_calls_are_refused_under_capture(step, stream):
    x = cp.asarray(host())
    stream.begin_capture()
    with pytest.raises(RuntimeError, match="captur"):
        step(x, stream)


def test_a_wait_spoils_the_capture(stream):
    stream.begin_capture()
    with pytest.raises(cupy_stand_in.CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"):
        stream.synchronize()
    with pytest.raises(cupy_stand_in.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        stream.end_capture()
    assert not stream.is_capturing()


def test_new_memory_under_capture_is_allowed_only_in_the_relaxed_mode(stream):
    stream.begin_capture()
    cp.empty(3)
    stream.end_capture()
    pool = cp.cuda.MemoryPool()
    with cp.cuda.using_allocator(pool.malloc):
        cp.empty(3)  # goes back to the pool, which may give it out again
        stream.begin_capture(cp.cuda.runtime.streamCaptureModeGlobal)
        cp.empty(3)
        kept = cp.empty(3)
        del kept
        with pytest.raises(cupy_stand_in.CUDARuntimeError, match="CaptureUnsupported"):
            cp.empty(4)


def test_only_a_stream_of_ones_own_can_be_captured():
    with pytest.raises(RuntimeError, match="default"):
        cp.cuda.Stream.null.begin_capture()
    blocking, x = cp.cuda.Stream(), cp.asarray(host())
    blocking.begin_capture()
    with pytest.raises(cupy_stand_in.CUDARuntimeError, match="CaptureImplicit"):
        x += 1
    with pytest.raises(cupy_stand_in.CUDARuntimeError, match="CaptureInvalidated"):
        blocking.end_capture()


def test_a_capture_forks_and_joins_through_events(stream):
    x, y, side = cp.asarray(host()), cp.asarray(host()), cp.cuda.Stream(non_blocking=True)
    stream.begin_capture()
    side.wait_event(stream.record())
    with side:
        y *= 2
    x += 1
    stream.wait_event(side.record())
    x += y
    graph = stream.end_capture()
    assert not side.is_capturing()
    graph.launch()
    np.testing.assert_array_equal(x.get(), 3 * host() + 1)

    stream.begin_capture()
    side.wait_event(stream.record())
    with side:
        y *= 2
    with pytest.raises(cupy_stand_in.CUDARuntimeError, match="CaptureUnjoined"):
        stream.end_capture()


def test_a_with_block_ends_on_the_stream_of_the_block_around_it_whatever_use_has_chosen():
    outer, chosen, inner = (cp.cuda.Stream(non_blocking=True) for _ in range(3))
    with outer:
        chosen.use()
        with inner:
            assert cp.cuda.get_current_stream() is inner
        assert cp.cuda.get_current_stream() is outer


def test_a_graph_runs_what_was_forked_as_late_as_a_device_might(stream):
    x, y, side = cp.asarray(host()), cp.zeros(6, np.float32), cp.cuda.Stream(non_blocking=True)
    stream.begin_capture()
    side.wait_event(stream.record())
    with side:
        cp.add(x, 0, out=y)
    x += 1  # nothing keeps this from running first
    stream.wait_event(side.record())
    graph = stream.end_capture()
    graph.launch()
    np.testing.assert_array_equal(y.get(), host() + 1)


def test_async_copies_and_fills_are_captured(stream):
    pinned = np.frombuffer(cp.cuda.alloc_pinned_memory(24), np.float32, 6)
    pinned[...] = host()
    x, y = cp.zeros(6, np.float32), cp.ones(6, np.float32)
    runtime = cp.cuda.runtime
    stream.begin_capture()
    runtime.memcpyAsync(x.data.ptr, pinned.ctypes.data, 24, runtime.memcpyHostToDevice, stream.ptr)
    y.data.memset_async(0, 12)
    graph = stream.end_capture()
    assert (x.get().any(), y.get().all()) == (False, True)
    graph.launch()
    assert (x.get().tolist(), y.get().tolist()) == (host().tolist(), [0, 0, 0, 1, 1, 1])
