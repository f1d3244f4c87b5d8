"""Devices: names, where tensors go, moving between them with gradients, and messages where they are mixed."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import gradlite
from gradlite import Tensor, backends
from gradlite.backends import Backend, get_backend
from gradlite.backends.cuda import availability
from gradlite.tensor import wrap

OTHER = Backend(np, "other:0")


@pytest.fixture
def without_gpu(monkeypatch):
    """As on a machine on which CuPy is not installed."""
    monkeypatch.setattr(backends, "_gpus", {})
    monkeypatch.setitem(sys.modules, "cupy", None)


def on_other(values, requires_grad=False):
    return wrap(np.asarray(values, np.float64), OTHER).requires_grad_(requires_grad)


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a + b, lambda a, b: gradlite.matmul(a, b), lambda a, b: gradlite.concatenate([a, b]),
        lambda a, b: gradlite.where(a > 0, a, b), lambda a, b: gradlite.layer_norm(a, b),
    ],
)  # fmt: skip
def test_mixing_devices_names_the_operation_and_both_and_says_what_to_call(mix):
    a, b = Tensor([1.0, 2.0]), on_other([1.0, 2.0])
    with pytest.raises(RuntimeError) as failure:
        mix(a, b)
    for word in ("cpu", "other:0", ".to('cpu')", ".to('other:0')"):
        assert word in str(failure.value)
    assert str(failure.value).split()[0] in ("add", "matmul", "concatenate", "where", "layer_norm")


def test_writing_a_tensor_of_another_device_is_refused_too():
    target = gradlite.zeros(2)
    with pytest.raises(RuntimeError, match=r"cpu.*other:0"):
        target[...] = on_other([1.0, 2.0])


def test_arrays_numbers_and_lists_follow_the_tensor_that_they_meet():
    b = on_other([1.0, 2.0])
    assert (b + 1.0).backend is OTHER
    assert (b * np.float64(2)).backend is OTHER


def test_results_and_gradients_stay_on_their_device():
    x = on_other([1.0, 2.0], requires_grad=True)
    y = gradlite.norm(gradlite.softmax(x) ** 2.0) + gradlite.prod(x)
    assert y.backend is OTHER
    y.backward()
    assert x.grad.backend is OTHER


def test_moving_keeps_values_and_sends_the_gradient_back():
    x = Tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    y = x.to(OTHER)
    assert y.backend is OTHER
    (y * y).sum().backward()
    assert x.grad.device == "cpu"
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 4.0])
    z = on_other([3.0], requires_grad=True)
    (z.to("cpu") * 2.0).backward()
    assert z.grad.backend is OTHER
    assert z.grad.item() == 2.0


def test_moving_to_where_a_tensor_is_gives_the_tensor_itself(without_gpu):
    x = Tensor([1.0])
    assert x.to("cpu") is x
    assert gradlite.to(x, "auto") is x


def test_moving_is_differentiable_twice():
    x = Tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    assert gradlite.gradgradcheck(lambda x: (x.to(OTHER) ** 3.0).to("cpu"), x)


def test_a_gradient_of_the_result_on_another_device_is_refused():
    x = Tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    with pytest.raises(RuntimeError, match=r"cpu.*other:0"):
        (x * 2.0).backward(on_other([1.0, 1.0]))


@pytest.mark.parametrize("name", ["tpu", "cuda", "", "cpu:0", "gpu:", "gpu:x", "gpu:-1", "gpu1", 3, None])
def test_unknown_devices_are_named_with_those_that_exist(name):
    with pytest.raises(ValueError, match=r"Unknown device .*'auto', 'cpu', 'gpu' and 'gpu:N'"):
        get_backend(name)


def test_auto_and_cpu_are_devices_and_the_default_can_be_changed_for_a_while(without_gpu):
    assert get_backend("cpu") is get_backend("auto")
    assert gradlite.get_device() == "cpu"
    with gradlite.device("cpu"):
        assert gradlite.zeros(2).device == "cpu"
    with pytest.raises(ValueError, match="Unknown device"):
        gradlite.set_device("nowhere")
    assert gradlite.get_device() == "cpu"


def test_a_failing_block_restores_the_device():
    with pytest.raises(KeyError), gradlite.device("cpu"):
        raise KeyError
    assert gradlite.get_device() == "cpu"


def test_kernels_without_a_reference_are_refused():
    with pytest.raises(ValueError, match=r"without a reference of the same name: \['nonsense'\]"):
        Backend(np, "odd:0", {"nonsense": np.add})


# A GPU that is not there: the message says what is missing, and what to install.


class NoDriver(Exception):
    """What CuPy raises."""


def cupy_like(version="14.1.0", count=1, driver=12040, runtime=12090, capability="90", empty=None):
    """As much of CuPy as is looked at before a device is used. ``count`` None: asking for the number fails."""

    def number():
        if count is None:
            raise NoDriver("cudaErrorInsufficientDriver")
        return count

    class Device:
        def __init__(self, number):
            self.compute_capability = capability

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

    calls = SimpleNamespace(getDeviceCount=number, driverGetVersion=lambda: driver, runtimeGetVersion=lambda: runtime)
    cuda = SimpleNamespace(runtime=calls, Device=Device)
    return SimpleNamespace(__version__=version, cuda=cuda, ndarray=type("ndarray", (), {}), empty=empty)


def broken(*arguments):
    raise NoDriver("cudaErrorECCUncorrectable")


MISSING = {
    "CuPy is too old": (cupy_like(version="12.3.0"), "CuPy 12.3.0 is too old, gradlite needs 13 or newer"),
    "no driver": (cupy_like(count=None, driver=0), "NVIDIA's driver is not .*--gpus all"),
    "an old driver": (
        cupy_like(count=None, driver=11080),
        r"too old: it supports CUDA 11.8, and the installed CuPy is made for CUDA 12.*Update the driver",
    ),
    "a CuPy for newer drivers": (
        cupy_like(count=None, driver=12040, runtime=13000),
        r'supports CUDA 12.4.*made for CUDA 13.*pip install "gradlite\[cuda12\]"',
    ),
    "a driver that refuses": (cupy_like(count=None), "no device can be used: cudaErrorInsufficientDriver"),
    "no device": (cupy_like(count=0), "the driver sees no GPU. CUDA_VISIBLE_DEVICES is '7', which may hide it"),
    "another device": (cupy_like(count=1), "There is no GPU 1 here: there is gpu:0"),
    "an old device": (cupy_like(count=2, capability="61"), r"compute capability 6.1; gradlite's kernels need 7.0"),
    "a broken device": (cupy_like(count=2, empty=broken), "is there but does not work: cudaErrorECCUncorrectable"),
}


@pytest.mark.parametrize("what", MISSING)
def test_a_missing_gpu_says_what_is_missing_and_what_to_do(what, monkeypatch):
    cupy, message = MISSING[what]
    monkeypatch.setattr(backends, "_gpus", {})
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(RuntimeError, match=f"(?s)Device 'gpu:1' was asked for.*{message}.*set_device\\('auto'\\)"):
        gradlite.set_device("gpu:1")
    assert gradlite.get_device() == "cpu"
    if "another" not in what:  # where GPU 0 does not work either
        assert get_backend("auto") is get_backend("cpu")


@pytest.mark.parametrize(
    ("driver", "command"),
    [
        ((12, 4), r'Install it with: pip install "gradlite\[cuda12\]"\.'),
        ((13, 0), r'Install it with: pip install "gradlite\[cuda13\]"\.'),
        (None, r'gradlite\[cuda12\]" \(driver 525 or newer\) or pip install "gradlite\[cuda13\]"'),
    ],
)
def test_without_cupy_the_extra_that_fits_the_driver_is_named(driver, command, without_gpu, monkeypatch):
    monkeypatch.setattr(availability, "driver_version", lambda: driver)
    with pytest.raises(RuntimeError, match=f"CuPy is not installed. .*{command}"):
        get_backend("gpu")
    with pytest.raises(RuntimeError, match="CuPy is not installed"), gradlite.device("gpu"):
        pass
    assert gradlite.get_device() == "cpu"


def test_a_cupy_that_cannot_be_imported_is_told_from_a_missing_one(monkeypatch):
    def fail(name):
        raise ImportError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(backends, "_gpus", {})
    monkeypatch.setattr(availability, "import_module", fail)
    with pytest.raises(RuntimeError, match=r"CuPy is installed but cannot be imported: libcudart.*Install it anew"):
        get_backend("gpu")


def test_a_program_that_stays_on_the_cpu_never_imports_cupy():
    import subprocess

    code = (
        "import sys, gradlite; gradlite.set_device('cpu'); gradlite.ones(3).sum().item(); print('cupy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_cpu_is_a_device_like_others():
    backend = get_backend("cpu")
    with backend.entered():
        assert backend.call(np.add, 1, 2) == 3
    backend.adopt()()
    backend.synchronize()
    assert backend.memory_stats() == {}
    assert backend.item(np.array([2.5])) == 2.5


@pytest.mark.parametrize(
    ("named", "expected"), [("", "cpu"), ("cpu", "cpu"), ("auto", "cpu"), ("tpu", "Unknown device 'tpu'")]
)
def test_the_environment_can_name_the_device_of_a_script(named, expected):
    import os
    import subprocess

    if expected == "cpu" and named == "auto" and availability.driver_version() is not None:
        pytest.skip("a machine with a GPU takes it")
    code = "import gradlite; print(gradlite.get_device())"
    environment = {**os.environ, "GRADLITE_DEVICE": named}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert expected in done.stdout + done.stderr
    assert (done.returncode == 0) == (expected == "cpu")
