"""Memory of a GPU: what is counted, what an overflow says, and uploads that nothing waits for."""

from __future__ import annotations

import gc

import cupy_stand_in
import numpy as np
import pytest
from devices import emulated

import gradlite
from gradlite import Tensor
from gradlite.backends.cuda import memory

only_emulated = pytest.mark.skipif(not emulated(), reason="looks into the stand-in for CuPy")


def used():
    gc.collect()
    return gradlite.memory_stats("gpu")["used"]


def test_statistics_follow_arrays_and_the_cache_can_be_emptied(gpu):
    before = used()
    x = gradlite.zeros((256, 1024), device="gpu")
    assert used() - before == x.nbytes
    held = gradlite.memory_stats("gpu")
    assert held["total"] >= held["free"] > 0
    del x
    assert used() == before
    assert gradlite.memory_stats("gpu")["pooled"] >= 1 << 20
    gradlite.empty_cache("gpu")
    assert gradlite.memory_stats("gpu")["pooled"] < 1 << 20


def test_the_cpu_has_no_statistics_and_the_current_device_is_the_default(gpu):
    assert gradlite.memory_stats() == {}
    gradlite.empty_cache()
    gradlite.synchronize()
    with gradlite.device("gpu"):
        assert set(gradlite.memory_stats()) == {"used", "pooled", "free", "total"}
        gradlite.empty_cache()
        gradlite.synchronize()


def test_the_graph_keeps_no_memory_after_backward(gpu):
    x = Tensor(np.ones((64, 64), np.float32), requires_grad=True, device="gpu")
    before = None
    for _ in range(3):
        (gradlite.sigmoid(x @ x) * 2.0).mean().backward()
        before = before or used()  # after the first: constants are made once for a device
    assert used() == before


@only_emulated
def test_running_out_says_what_is_used_and_lists_the_largest_arrays(gpu):
    gradlite.empty_cache("gpu")
    kept = [gradlite.zeros((1000, 300), device="gpu") for _ in range(2)]
    other = gradlite.zeros((50, 1000), dtype="float64", device="gpu")
    with cupy_stand_in.settings(memory=8 << 20):
        with pytest.raises(memory.GpuMemoryError) as failure:
            gradlite.zeros((4000, 1000), device="gpu")
        with pytest.raises(MemoryError, match="GPU 0 is out of memory"):
            gradlite.tile(other, (20, 1))
        assert gradlite.zeros((100, 100), device="gpu").numpy().sum() == 0, "afterwards everything works"
    text = str(failure.value)
    for part in ("GPU 0 is out of memory", "are free on the device", "float32 (1000, 300)  x 2", "float64 (50, 1000)"):
        assert part in text
    assert text.index("(1000, 300)") < text.index("(50, 1000)")
    del kept, other


@only_emulated
def test_a_full_cache_is_emptied_before_giving_up(gpu):
    gradlite.empty_cache("gpu")
    with cupy_stand_in.settings(memory=gradlite.memory_stats("gpu")["used"] + (8 << 20)):
        for shape in ((1500, 1000), (1250, 1000), (1700, 1000)):
            assert gradlite.ones(shape, device="gpu").shape == shape


@pytest.mark.parametrize("size", [0, 1, 1000, memory.PIECE // 4, memory.PIECE // 4 + 1, memory.PIECE + 12345])
def test_arrays_of_every_size_arrive_whole(gpu, size):
    host = np.random.default_rng(size).normal(size=size).astype(np.float32)
    np.testing.assert_array_equal(Tensor(host, device="gpu").numpy(), host)


def test_uploads_take_strides_types_and_scalars(gpu):
    host = np.random.default_rng(0).normal(size=(1300, 1700))
    for given in (host.T, host[::-2, 1::3], host.astype(np.uint8), np.float64(3.0), np.array(2), host > 0):
        found = Tensor(given, device="gpu")
        assert found.dtype == given.dtype
        assert found.data.flags.c_contiguous
        np.testing.assert_array_equal(found.numpy(), given)
    converted = Tensor(host, dtype="float32", device="gpu")
    np.testing.assert_array_equal(converted.numpy(), host.astype(np.float32))


def test_the_host_array_may_be_changed_at_once(gpu):
    for size in (1000, 5 * memory.PIECE // 4):
        host = np.ones(size, np.float32)
        x = Tensor(host, device="gpu")
        host[...] = 2.0
        assert x.numpy().max() == 1.0


@only_emulated
def test_an_upload_waits_for_nothing(gpu):
    small, large = np.ones(1000, np.float32), np.ones(memory.BUFFERS * memory.PIECE // 4, np.float32)
    gradlite.zeros(1, device="gpu")
    uploader = memory.Uploader(gpu.xp, gpu.stream)
    with gpu.entered(), cupy_stand_in.counting() as counts:
        uploader(small)
        uploader(large)
    assert counts.synchronizations == 0
    assert counts.host_to_device == 1 + memory.BUFFERS


def test_amounts_are_written_in_units_that_people_read():
    assert [memory.in_units(n) for n in (0, 1023, 1 << 10, 5 << 19, 7 << 30)] == [
        "0 B", "1023 B", "1.00 KiB", "2.50 MiB", "7.00 GiB",
    ]  # fmt: skip
