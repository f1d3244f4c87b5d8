"""The stand-in for CuPy: memory pools, several devices, and memory shared with other libraries."""

from __future__ import annotations

import gc

import cupy_stand_in
import numpy as np
import pytest
from cupy_stand_in import cupy as cp
from cupy_stand_in import modules
from cupy_stand_in.testing import KERNELS, host
from emulator.testing import require_emulator

require_emulator()


@pytest.fixture(scope="module")
def kernels():
    return cp.RawModule(code=KERNELS, options=("--std=c++17",))


# ---- memory


def test_pools_count_in_units_of_512_bytes():
    pool = cp.cuda.MemoryPool()
    with cp.cuda.using_allocator(pool.malloc):
        x = cp.empty(200, np.float32)
        pointer = x.data.ptr
        assert (pool.used_bytes(), pool.free_bytes(), pool.total_bytes()) == (1024, 0, 1024)
        view = x[3:]
        del x
        assert pool.used_bytes() == 1024  # the view keeps it
        del view
        assert (pool.used_bytes(), pool.free_bytes(), pool.n_free_blocks()) == (0, 1024, 1)
        y = cp.empty(200, np.float32)
        assert y.data.ptr == pointer
        assert np.isnan(y.get()).all()
        del y
    pool.free_all_blocks()
    assert pool.total_bytes() == 0


def test_the_default_pool_counts_what_it_would_keep():
    pool = cp.get_default_memory_pool()
    pool.free_all_blocks()
    used, total = pool.used_bytes(), pool.total_bytes()
    x = cp.empty(1000, np.float32)
    assert pool.used_bytes() - used == 4096
    del x
    assert (pool.used_bytes() - used, pool.total_bytes() - total) == (0, 4096)
    pool.free_all_blocks()
    assert pool.total_bytes() == total


def test_running_out_of_memory_says_how_much_was_asked_for():
    gc.collect()  # what other tests left would be given back in the middle, and make room
    free = cp.cuda.Device().mem_info[0]
    with cupy_stand_in.settings(memory=cupy_stand_in.machine.MACHINE.memory - free + 4096):
        x = cp.empty(4096, np.uint8)
        with pytest.raises(cupy_stand_in.OutOfMemoryError, match=r"Out of memory allocating 5,000 bytes") as caught:
            cp.empty(5000, np.uint8)
        assert isinstance(caught.value, MemoryError)
        assert caught.value._size == 5000
        del x
        cp.empty(4096, np.uint8)
    assert cp.cuda.memory.OutOfMemoryError is cupy_stand_in.OutOfMemoryError
    pool = cp.cuda.MemoryPool()
    pool.set_limit(1024)
    kept = pool.malloc(600)
    with pytest.raises(MemoryError, match=r"allocated so far: 1,024 bytes, limit set to: 1,024 bytes\)"):
        pool.malloc(1)
    assert kept.mem.size == 600


def test_pinned_memory_is_larger_than_asked_for_as_cupys_is():
    memory = cp.cuda.alloc_pinned_memory(10)
    assert memory.size() == 512
    array = np.frombuffer(memory, np.uint8, 10)
    array[...] = 3
    assert array.ctypes.data == memory.ptr
    pinned = modules.zeros_pinned((2, 3), np.float32)
    assert (pinned.shape, pinned.dtype, pinned.any()) == ((2, 3), np.float32, False)


# ---- devices, and other libraries


def test_arrays_belong_to_a_device_and_kernels_refuse_those_of_another(kernels):
    with cupy_stand_in.settings(devices=2):
        assert cp.cuda.runtime.getDeviceCount() == 2
        x = cp.asarray(host())
        with cp.cuda.Device(1):
            y = cp.asarray(host())
            assert (x.device.id, y.device.id, y[2:].device.id) == (0, 1, 1)
            with pytest.raises(ValueError, match=r"array resides \(0\)"):
                y + x
            with pytest.raises(cupy_stand_in.CUDARuntimeError, match="is on device 0"):
                kernels.get_function("add_to")((1,), (4,), (x, 1.0, 6))
            (y + 1).get()
            side = cp.cuda.Stream(non_blocking=True)
        assert cp.cuda.Device().id == 0
        with pytest.raises(RuntimeError), side:
            pass
        with pytest.raises(cupy_stand_in.CUDARuntimeError, match="invalid device ordinal"):
            cp.cuda.Device(2)


def test_without_a_gpu_it_is_not_available():
    with cupy_stand_in.settings(devices=0):
        assert not cp.is_available()
        with pytest.raises(cupy_stand_in.CUDARuntimeError, match="no CUDA-capable device"):
            cp.cuda.runtime.getDeviceCount()
        with pytest.raises(cupy_stand_in.CUDARuntimeError):
            cp.zeros(3)


def test_a_device_tells_what_it_is():
    with cupy_stand_in.settings(compute_capability="90", multiprocessors=7, memory=1 << 30):
        device, properties = cp.cuda.Device(0), cp.cuda.runtime.getDeviceProperties(0)
        assert device.compute_capability == "90"
        assert device.attributes["MultiProcessorCount"] == properties["multiProcessorCount"] == 7
        assert (properties["major"], properties["minor"]) == (9, 0)
        assert device.attributes["MaxSharedMemoryPerBlockOptin"] == 227 * 1024
        assert cp.cuda.runtime.memGetInfo()[1] == properties["totalGlobalMem"] == 1 << 30


def test_dlpack_hands_over_the_memory_itself_once():
    x = cp.asarray(host(12)).reshape(3, 4)[:, ::2]
    assert x.__dlpack_device__() == (2, 0)
    y = cp.from_dlpack(x)
    y[...] = 5
    assert (x.get() == 5).all()
    capsule = x.__dlpack__()
    capsule.consume()
    with pytest.raises(ValueError, match="consumed multiple times"):
        capsule.consume()
    with pytest.raises(BufferError):
        cp.from_dlpack(host())
    copied = Exported(cp.asarray(host()).__dlpack__(dl_device=(1, 0)))
    np.testing.assert_array_equal(np.from_dlpack(copied), host())


class Exported:
    """What NumPy takes a capsule from."""

    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **options):
        return self.capsule

    def __dlpack_device__(self):
        return 1, 0


def test_the_cuda_array_interface_works_both_ways():
    class Foreign:
        def __init__(self, array):
            self.array = array
            self.__cuda_array_interface__ = array.__cuda_array_interface__

    x = cp.asarray(host(12)).reshape(3, 4).T
    interface = x.__cuda_array_interface__
    assert (interface["shape"], interface["strides"], interface["typestr"]) == ((4, 3), (4, 16), "<f4")
    y = cp.asarray(Foreign(x))
    y[1] = -1
    assert x[1].get().tolist() == [-1, -1, -1]
    assert y.strides == x.strides
