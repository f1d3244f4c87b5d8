"""Tensors on a GPU among arrays of CuPy and of other libraries: the same memory both ways, and work in order."""

from __future__ import annotations

import numpy as np
import pytest
from devices import emulated

import gradlite
from gradlite import Tensor


def address(array):
    return array.__cuda_array_interface__["data"][0]


class Foreign:
    """An array of a library that offers one of the two protocols alone."""

    def __init__(self, array, names):
        for name in names:
            setattr(type(self), name, property(lambda self, name=name: getattr(array, name)))


class ByInterface(Foreign):
    def __init__(self, array):
        super().__init__(array, ["__cuda_array_interface__"])


class ByDlpack(Foreign):
    def __init__(self, array):
        super().__init__(array, ["__dlpack__", "__dlpack_device__"])


def test_a_tensor_lies_on_the_memory_of_an_array_of_cupy(gpu):
    array = gpu.xp.arange(6, dtype="float32").reshape(2, 3)
    for given in (array, array.T, array[:, ::2]):
        tensor = Tensor(given, requires_grad=True)
        assert tensor.backend is gpu
        assert address(tensor) == address(given)
        (tensor * tensor).sum().backward()
        np.testing.assert_array_equal(tensor.grad.numpy(), 2 * given.get())
    array[0, 0] = 7.0
    assert Tensor(array)[0, 0].item() == 7.0


def test_cupy_reads_and_writes_the_memory_of_a_tensor(gpu):
    tensor = Tensor(np.arange(6, dtype=np.float32).reshape(2, 3), device=gpu)
    for given in (tensor, tensor.T):
        array = gpu.xp.asarray(given)
        assert address(array) == address(given)
        np.testing.assert_array_equal(array.get(), given.numpy())
    gpu.xp.asarray(tensor)[1, 2] = 9.0
    gpu.xp.cuda.Device(0).synchronize()
    assert tensor[1, 2].item() == 9.0


def test_dlpack_goes_both_ways_without_a_copy(gpu):
    array = gpu.xp.arange(6, dtype="float64")
    tensor = gradlite.from_dlpack(array)
    assert address(tensor) == address(array)
    assert gradlite.from_dlpack(tensor).backend is gpu
    assert tensor.__dlpack_device__() == (2, 0)
    back = gpu.xp.from_dlpack(tensor)
    assert address(back) == address(array)
    np.testing.assert_array_equal(back.get(), np.arange(6.0))


def test_other_libraries_arrays_are_taken_by_either_protocol(gpu):
    array = gpu.xp.arange(4, dtype="float32")
    assert address(gradlite.from_dlpack(ByDlpack(array))) == address(array)
    by_interface = Tensor(ByInterface(array), requires_grad=True)
    assert address(by_interface) == address(array)
    by_interface.sum().backward()
    assert by_interface.grad.tolist() == [1, 1, 1, 1]


def test_only_tensors_on_a_gpu_have_a_cuda_array_interface(gpu):
    tensor = Tensor([1.0, 2.0])
    assert not hasattr(tensor, "__cuda_array_interface__")
    assert hasattr(tensor.to("gpu"), "__cuda_array_interface__")


def test_numpy_gets_no_values_silently(gpu):
    tensor = Tensor([1.0, 2.0], device="gpu")
    with pytest.raises(TypeError, match=r"on gpu:0 is not copied to the host silently; call \.numpy\(\)"):
        np.asarray(tensor)
    np.testing.assert_array_equal(np.asarray(tensor.numpy()), [1.0, 2.0])


def test_arrays_of_the_host_go_to_the_device_of_the_tensor_that_they_meet(gpu):
    x, host = Tensor([[1.0, 2.0]], requires_grad=True, device="gpu"), np.float32([[3.0], [4.0]])
    for y, expected in ((x + host, [[4, 5], [5, 6]]), (host * x, [[3, 6], [4, 8]]), (x @ host, [[11]])):
        assert y.backend is gpu
        np.testing.assert_array_equal(y.numpy(), expected)


@pytest.mark.skipif(not emulated(), reason="looks at what the stand-in for CuPy records")
def test_a_consumers_stream_waits_for_ours(gpu, monkeypatch):
    tensor = gradlite.ones(3, device="gpu")
    consumer = gpu.xp.cuda.Stream(non_blocking=True)
    waits = []
    original = type(consumer).wait_event
    monkeypatch.setattr(type(consumer), "wait_event", lambda s, e: (waits.append(s.ptr), original(s, e)))
    with consumer:
        gpu.xp.from_dlpack(tensor)
    assert consumer.ptr in waits
    waits.clear()
    assert tensor.__cuda_array_interface__["stream"] == gpu.stream.ptr
