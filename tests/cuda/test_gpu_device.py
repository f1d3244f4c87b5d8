"""A GPU as a device: where tensors go, the stream that everything runs on, other threads, and a second GPU."""

from __future__ import annotations

import copy
import pickle
import threading

import cupy_stand_in
import numpy as np
import pytest
from devices import emulated

import gradlite
from gradlite import Tensor, backends, keras
from gradlite.backends import backend_of, get_backend

only_emulated = pytest.mark.skipif(not emulated(), reason="looks into the stand-in for CuPy")


def values(n=6):
    return np.arange(n, dtype=np.float32)


def test_a_name_stands_for_one_backend_and_arrays_lead_to_it(gpu):
    assert get_backend("gpu") is get_backend("gpu:0") is gpu
    assert backend_of(gpu.empty((2,))) is gpu
    assert backend_of(np.ones(2)) is get_backend("cpu")
    assert get_backend("auto") is gpu
    assert gpu.device == "gpu:0"


def test_set_device_sends_new_tensors_there_until_it_is_set_back(gpu):
    gradlite.set_device("gpu")
    try:
        assert gradlite.get_device() == "gpu:0"
        made = (Tensor([1.0]), gradlite.zeros(2), gradlite.arange(3), gradlite.eye(2))
        assert {x.device for x in made} == {"gpu:0"}
        assert gpu.xp.cuda.get_current_stream() is gpu.stream
        gradlite.set_device("auto")
        assert gradlite.get_device() == "gpu:0"
    finally:
        gradlite.set_device("cpu")
    assert gradlite.zeros(2).device == "cpu"
    assert gpu.xp.cuda.get_current_stream() is not gpu.stream


def test_a_block_restores_device_and_stream_after_an_error_too(gpu):
    stream = gpu.xp.cuda.get_current_stream()
    with gradlite.device("gpu"):
        assert Tensor(1.0).device == "gpu:0"
        with pytest.raises(KeyError), gradlite.device("cpu"):
            raise KeyError(Tensor(1.0).device)
        assert Tensor(1.0).device == "gpu:0"
    assert gradlite.get_device() == "cpu"
    assert gpu.xp.cuda.get_current_stream() is stream


def test_moving_keeps_values_and_sends_the_gradient_back(gpu):
    x = Tensor(values(), requires_grad=True)
    y = x.to("gpu")
    assert y.backend is gpu
    (y * y).sum().backward()
    assert x.grad.device == "cpu"
    np.testing.assert_array_equal(x.grad.numpy(), 2 * values())


def test_mixing_devices_names_both_and_what_to_call(gpu):
    with pytest.raises(RuntimeError, match=r"add got tensors on different devices: cpu and gpu:0.*\.to\('cpu'\)"):
        Tensor([1.0]) + Tensor([1.0], device="gpu")
    with pytest.raises(RuntimeError, match=r"gpu:0 got values on cpu"):
        Tensor([1.0], device="gpu")[0] = Tensor([1.0])


def test_numbers_and_lists_follow_the_tensor_that_they_meet(gpu):
    x = Tensor([[1.0, 2.0]], device=gpu)
    for y in (x + 1.0, 2 * x, x * np.float32(3), x + [1.0, 2.0], x[[0]], x[0, 1]):
        assert y.backend is gpu
    np.testing.assert_array_equal((x + [1.0, 2.0]).numpy(), [[2.0, 4.0]])


def test_indices_of_every_kind_select_on_the_device(gpu):
    host = values(12).reshape(3, 4)
    x = Tensor(host, device=gpu)
    for index in (
        1, -1, (1, 2), slice(None, None, 2), (..., 0), None, [0, 2], ([0, 2], [1, 3]), np.array([2, 0]),
        (slice(1, 3), [0, 1]), host > 5, np.array([True, False, True]), (None, [1]),
    ):  # fmt: skip
        np.testing.assert_array_equal(x[index].numpy(), host[index])
    np.testing.assert_array_equal(x[x > 5].numpy(), host[host > 5])
    np.testing.assert_array_equal(x[Tensor([2, 1], device=gpu)].numpy(), host[[2, 1]])


def test_writing_at_an_index_and_reading_values(gpu):
    x = Tensor(values(), device=gpu)
    x[1:3] = [7.0, 8.0]
    x[np.array([5])] = 9.0
    x[0] = Tensor(6.0, device=gpu)
    np.testing.assert_array_equal(x.numpy(), [6, 7, 8, 3, 4, 9])
    assert x.tolist() == [6, 7, 8, 3, 4, 9]
    assert (x[5].item(), float(x[5]), int(x[5]), bool(x[5] > 8)) == (9.0, 9.0, 9, True)
    assert "device='gpu:0'" in repr(x)
    assert f"{x[5]:.1f}" == "9.0"
    assert len(list(x)) == 6


def test_copies_stay_on_the_device_and_pickles_find_it_again(gpu):
    x = Tensor(values(), requires_grad=True, device=gpu)
    with gradlite.device("cpu"):
        weight = keras.initializers.Ones()((3,))
        variable = gradlite.Variable(Tensor(weight, device=gpu), name="w")
        for made in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), copy.deepcopy(variable)):
            assert made.device == "gpu:0"
            assert made.requires_grad
    np.testing.assert_array_equal(copy.deepcopy(x).numpy(), values())


def test_what_was_pickled_on_a_gpu_can_be_read_where_there_is_none(gpu, monkeypatch):
    text = pickle.dumps(Tensor(values(), device=gpu))

    def refuse(number):
        raise RuntimeError("no GPU")

    monkeypatch.setattr(backends, "_gpus", {})
    monkeypatch.setattr(backends, "_gpu", refuse)
    assert pickle.loads(text).device == "cpu"


# The stream.


class Ordering:
    """Which streams recorded an event, and which waited for one, in order."""

    def __init__(self, gpu, monkeypatch):
        self.calls = []
        stream = type(gpu.stream)
        for name in ("record", "wait_event"):
            monkeypatch.setattr(stream, name, self.noting(name, getattr(stream, name)))

    def noting(self, name, function):
        def note(stream, *arguments):
            self.calls.append((name, stream.ptr))
            return function(stream, *arguments)

        return note


@only_emulated
def test_from_any_stream_work_runs_on_ours_and_is_ordered_both_ways_without_waiting(gpu, monkeypatch):
    x = Tensor(values(), device=gpu)
    mine = gpu.xp.cuda.Stream(non_blocking=True)
    with mine, cupy_stand_in.counting() as counts:
        ordering = Ordering(gpu, monkeypatch)
        y = gradlite.relu(x)
        assert gpu.xp.cuda.get_current_stream() is mine
    assert ordering.calls == [
        ("record", mine.ptr),
        ("wait_event", gpu.stream.ptr),
        ("record", gpu.stream.ptr),
        ("wait_event", mine.ptr),
    ]
    assert counts.synchronizations == 0
    assert counts.default_stream_launches == 0
    np.testing.assert_array_equal(y.numpy(), values())


def test_a_stream_that_was_chosen_by_use_stays_the_current_one(gpu):
    x = Tensor(values(), device=gpu)
    mine = gpu.xp.cuda.Stream(non_blocking=True)
    before = gpu.xp.cuda.get_current_stream()
    try:
        mine.use()
        gradlite.relu(x)
        assert gpu.xp.cuda.get_current_stream() is mine
    finally:
        before.use()


@only_emulated
def test_on_our_stream_no_event_is_needed(gpu, monkeypatch):
    x = Tensor(values(), device=gpu)
    ordering = Ordering(gpu, monkeypatch)
    with gradlite.device("gpu"):
        adopted = len(ordering.calls)
        gradlite.relu(x * 2.0)
        assert len(ordering.calls) == adopted


@only_emulated
def test_nothing_runs_on_the_default_stream(gpu):
    with cupy_stand_in.counting() as counts:
        x = Tensor(values(), requires_grad=True, device=gpu)
        (gradlite.reshape(x, (2, 3)).T.reshape(6) * 2.0 + gradlite.ones(6, device="gpu")).sum().backward()
        x.detach()[1:2] = 3.0
        copy.deepcopy(x).tolist()
        gradlite.flip(x, 0).numpy()
    assert counts.default_stream_launches == 0
    assert counts.launches + counts.operations > 0


@only_emulated
def test_a_users_operation_runs_on_our_stream_too(gpu):
    @gradlite.op(lambda g, out, x: g * 2.0)
    def double(xp, x):
        assert xp.cuda.get_current_stream() is gpu.stream
        return x + x

    class Triple(gradlite.Op):
        name = "triple"

        def forward(self, backend, x):
            assert backend.xp.cuda.get_current_stream() is gpu.stream
            return x * 3

        def vjp(self, node, gradient):
            return [gradient * 3.0]

    x = Tensor(values(), requires_grad=True, device=gpu)
    Triple()(double(x)).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full(6, 6.0))


def test_other_threads_compute_the_same(gpu):
    results = {}

    def work(name):
        x = Tensor(values(600), requires_grad=True, device=gpu)
        (gradlite.sigmoid(x) * x).sum().backward()
        results[name] = x.grad.numpy()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 1, 2, 3]
    for result in results.values():
        np.testing.assert_array_equal(result, results[0])


@only_emulated
def test_a_second_gpu_is_a_device_of_its_own(gpu, monkeypatch):
    monkeypatch.setattr(backends, "_gpus", dict(backends._gpus))
    with cupy_stand_in.settings(devices=2):
        second = get_backend("gpu:1")
        assert second is not gpu
        with gradlite.device("gpu:1"):
            x = Tensor(values().tolist(), requires_grad=True)
            assert x.device == "gpu:1"
            assert x.data.device.id == 1
            (gradlite.relu(x) * x).sum().backward()
        assert gpu.xp.cuda.Device().id == 0
        assert x.grad.data.device.id == 1
        # Without entering it first, with GPU 0 current.
        y = gradlite.relu(x.detach()) + gradlite.ones(6, device="gpu:1")
        assert (y.device, y.data.device.id) == ("gpu:1", 1)
        np.testing.assert_array_equal(y.to("gpu:0").numpy(), values() + 1)
        with pytest.raises(RuntimeError, match="gpu:0 and gpu:1"):
            y + Tensor(values(), device="gpu:0")
        with pytest.raises(RuntimeError, match=r"There is no GPU 2 here: there are gpu:0, gpu:1"):
            get_backend("gpu:2")
