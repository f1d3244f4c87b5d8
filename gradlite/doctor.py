"""``python -m gradlite doctor``: what is installed here, whether it works, and what to install where it does not."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gradlite
from gradlite import config, keras
from gradlite.backends.cpu import native
from gradlite.backends.cpu.parallel import get_num_threads
from gradlite.backends.cuda import availability
from gradlite.backends.cuda.memory import in_units

# How far the losses of a few steps may lie apart: float32 rounding, or that of TF32 and bfloat16 factors.
TOLERANCES = {"highest": 1e-4, "high": 5e-3, "medium": 5e-2}


def doctor(write: Callable[[str], Any] = print) -> bool:
    """Look at everything and say what was found; True unless a device that is there computes wrongly.

    Args:
        write: called with each line.

    >>> from gradlite.doctor import doctor
    >>> lines = []
    >>> works = doctor(lines.append)
    >>> lines[0].startswith("gradlite")
    True
    """
    write(f"gradlite {gradlite.__version__}, Python {platform.python_version()} on {platform.platform()}")
    write(f"NumPy {np.__version__}, {get_num_threads()} threads on the CPU")
    write(f"Native CPU kernels: {_native_kernels()}")
    write(
        f"Precision: keras.backend.floatx() is {keras.backend.floatx()!r}, "
        f"config.get_matmul_precision() is {config.get_matmul_precision()!r} (used by GPUs with tensor cores)"
    )
    works = [_check("CPU self-test", lambda: _train("cpu")[1], write)]
    driver = availability.driver_version()
    write(f"NVIDIA driver: {'not found' if driver is None else f'supports CUDA {driver[0]}.{driver[1]}'}")
    try:
        cupy = availability.require_gpu(0)
    except availability.GpuUnavailable as reason:
        write(f"GPU: none that works. {reason}")
        write("Everything runs on the CPU; for NVIDIA GPUs the above says what is missing.")
        return all(works)
    runtime = cupy.cuda.runtime.runtimeGetVersion()
    write(f"CuPy {cupy.__version__}, CUDA runtime {runtime // 1000}.{runtime % 1000 // 10}")
    works += [_look_at(number, cupy, write) for number in range(cupy.cuda.runtime.getDeviceCount())]
    write(f"set_device('auto') takes {gradlite.backends.get_backend('auto').device}.")
    return all(works)


def _native_kernels() -> str:
    """Whether they are used, and for which processor."""
    if not native.is_available():
        return f"none, NumPy computes, up to five times as slow. {native.why_not()}"
    from importlib.metadata import version

    from gradlite.backends.cpu.native.target import host_target

    target = host_target()
    return f"Numba {version('numba')}, for {target.cpu} with vectors of {target.lanes} numbers"


def _look_at(number: int, cupy: Any, write: Callable[[str], Any]) -> bool:
    """Describe one GPU and train on it; whether that worked."""
    name = cupy.cuda.runtime.getDeviceProperties(number)["name"]
    major, minor = availability.capability_of(cupy, number)
    free, total = cupy.cuda.Device(number).mem_info
    write(
        f"gpu:{number}: {name.decode() if isinstance(name, bytes) else name}, compute capability {major}.{minor}, "
        f"{in_units(free)} of {in_units(total)} free"
    )
    return _check(f"gpu:{number} self-test", lambda: _compare(f"gpu:{number}"), write)


def _check(name: str, test: Callable[[], str], write: Callable[[str], Any]) -> bool:
    """Say how a test went, and whether it passed; whatever it raises is part of what is found."""
    started = time.perf_counter()
    try:
        outcome = test()
    except Exception as error:
        write(f"{name}: failed. {type(error).__name__}: {error}")
        return False
    write(f"{name}: {outcome} ({time.perf_counter() - started:.1f} s)")
    return True


def _compare(device: str) -> str:
    """Train the same network on a GPU and on the CPU; the first time, kernels are compiled.

    Raises:
        ArithmeticError: where the losses differ by more than rounding.
    """
    found, outcome = _train(device)
    expected, _ = _train("cpu")
    apart = float(np.max(np.abs(found - expected)))
    if not apart <= TOLERANCES[config.get_matmul_precision()]:
        raise ArithmeticError(f"losses on {device} are {found.tolist()}, on the CPU {expected.tolist()}")
    return f"kernels compile, {outcome}, losses as on the CPU (difference {apart:.0e})"


def _train(device: str) -> tuple[np.ndarray, str]:
    """The losses of three steps of a small network, and a line about them."""
    with gradlite.device(device):
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(32, 16)).astype("float32"), rng.integers(0, 4, 32)
        weights = keras.initializers.RandomNormal(stddev=0.3, seed=1)
        model = keras.Sequential(
            [
                keras.layers.Dense(32, activation="relu", kernel_initializer=weights),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(4, activation="softmax", kernel_initializer=weights),
            ]
        )
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
        losses = np.array([model.train_on_batch(x, y) for _ in range(3)], np.float64)
    if not losses[-1] < losses[0]:
        raise ArithmeticError(f"the loss of a small network does not fall: {losses.tolist()}")
    return losses, f"a small network learns (loss {losses[0]:.4f} -> {losses[-1]:.4f})"
