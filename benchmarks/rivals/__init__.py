"""Who is measured: every rival's libraries, environment and configuration, and why one is missing where it is.

A rival runs in a process of its own (``benchmarks/worker.py``) with the module named here, whose ``TASKS`` say what
it can do: ``train``, ``predict``, ``one_sample``, ``accuracy``, ``kernel``, ``operation``, ``inside``. The libraries
of others run on the CPU here; what they do on a GPU is measured by ``python -m benchmarks gpu``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rival:
    """A library in its best configuration."""

    module: str  # in this package
    needs: tuple[str, ...]  # importable modules
    tasks: tuple[str, ...]
    configuration: str  # {threads} is filled in
    environment: dict[str, str] = field(default_factory=dict)
    options: dict[str, bool] = field(default_factory=dict)  # given to the module's ``configure``
    gpu: bool = False
    compiler: bool = False  # needs a C++ compiler
    # Not measured unless asked for by a case, such as eager steps beside captured ones.
    extra: bool = False


FIT = ("train", "predict", "one_sample", "accuracy")
OURS = (*FIT, "kernel", "operation", "inside")
NUMPY = {"GRADLITE_DEVICE": "cpu", "GRADLITE_CPU_KERNELS": "numpy"}
NUMBA = {"GRADLITE_DEVICE": "cpu", "GRADLITE_CPU_KERNELS": "numba"}

RIVALS: dict[str, Rival] = {
    "gradlite-numpy": Rival(
        "gradlite_rival", ("gradlite",), OURS, "NumPy alone, fit with captured steps, {threads} threads", NUMPY
    ),
    "gradlite-cpu": Rival(
        "gradlite_rival",
        ("gradlite", "numba"),
        OURS,
        "native CPU kernels (Numba), fit with captured steps, {threads} threads",
        NUMBA,
    ),
    "gradlite-cuda": Rival(
        "gradlite_rival",
        ("gradlite", "cupy"),
        FIT,
        "fit, a step as one CUDA graph, float32 products at the device's default precision",
        {"GRADLITE_DEVICE": "gpu"},
        gpu=True,
    ),
    "torch-eager": Rival(
        "torch_rival",
        ("torch",),
        (*FIT, "kernel", "operation"),
        "eager, channels_last, Adam(fused=True), a hand-written loop, {threads} threads",
    ),
    "torch-compiled": Rival(
        "torch_rival",
        ("torch",),
        FIT,
        "forward and loss under torch.compile, channels_last, Adam(fused=True), a hand-written loop, {threads} threads",
        options={"compiled": True},
        compiler=True,
    ),
    "keras-jax": Rival(
        "keras_rival",
        ("keras", "jax"),
        FIT,
        "fit, compiled by default, {threads} threads",
        {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
    ),
    "keras-tensorflow": Rival(
        "keras_rival",
        ("keras", "tensorflow"),
        FIT,
        "fit, compiled by default, {threads} threads",
        {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"},
    ),
    "jax-jit": Rival(
        "jax_rival",
        ("jax",),
        (*FIT, "kernel"),
        "a hand-written step under jit, buffers donated, {threads} threads",
        {"JAX_PLATFORMS": "cpu"},
    ),
    "jax-scan": Rival(
        "jax_rival",
        ("jax",),
        ("train",),
        "a hand-written step, an epoch of them under one lax.scan, {threads} threads",
        {"JAX_PLATFORMS": "cpu"},
        {"scan": True},
    ),
    "autograd": Rival("autograd_rival", ("autograd",), ("operation",), "HIPS autograd"),
    "numpy": Rival("numpy_rival", ("numpy",), ("operation",), "forward alone: NumPy knows no gradient"),
    "gradlite-numpy-eager": Rival(
        "gradlite_rival",
        ("gradlite",),
        ("train",),
        "NumPy alone, fit with run_eagerly=True, {threads} threads",
        NUMPY,
        {"eager": True},
        extra=True,
    ),
    "gradlite-cpu-eager": Rival(
        "gradlite_rival",
        ("gradlite", "numba"),
        ("train",),
        "native CPU kernels (Numba), fit with run_eagerly=True, {threads} threads",
        NUMBA,
        {"eager": True},
        extra=True,
    ),
}


def why_missing(name: str) -> str | None:
    """Why a rival cannot be measured here; None if it can."""
    rival = RIVALS[name]
    for module in rival.needs:
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed"
    if rival.gpu:
        from gradlite.backends.cuda import availability

        try:
            availability.require_gpu(0)
        except availability.GpuUnavailable as reason:
            return str(reason)
    if rival.compiler and not any(map(shutil.which, (os.environ.get("CXX", ""), "g++", "clang++"))):
        return "there is no C++ compiler"
    return None
