"""What the figures belong to: the machine, its versions, the commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LIBRARIES = ("numpy", "numba", "cupy", "torch", "keras", "tensorflow", "jax", "jaxlib", "autograd")
# Distributions that bring a library under another name.
ALIASES = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "cupy": ("cupy", "cupy-cuda12x", "cupy-cuda13x")}


def available_cores() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """The document's ``machine``."""
    cpu, flags = _processor()
    vector = next(
        (name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("asimd", "NEON")) if flag in flags), ""
    )
    cores = available_cores()
    return {
        "name": f"{cores}-core {cpu}" + (f" ({vector})" if vector else ""),
        "cpu": cpu,
        "cores": cores,
        "memory_gib": _memory_gib(),
        "vector": vector,
        "os": f"{platform.system()} {platform.machine()}",
        "gpu": gpu(),
    }


def _processor() -> tuple[str, set[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine(), {"asimd"} if platform.machine() == "arm64" else set()
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    return name[1].strip() if name else platform.machine(), set(flags[1].split()) if flags else set()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        return None


def gpu() -> dict[str, Any] | None:
    """The first GPU, None without one that works."""
    from gradlite.backends.cuda import availability

    try:
        cupy = availability.require_gpu(0)
    except availability.GpuUnavailable:
        return None
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    name = properties["name"]
    memory = properties.get("totalGlobalMem")
    return {
        "name": name.decode() if isinstance(name, bytes) else str(name),
        "driver": int(cupy.cuda.runtime.driverGetVersion()),
        "cuda": int(cupy.cuda.runtime.runtimeGetVersion()),
        "cupy": str(cupy.__version__),
        "memory_gib": round(memory / 2**30, 1) if memory else None,
        "multiprocessors": int(properties["multiProcessorCount"]),
    }


def versions() -> dict[str, str]:
    """The versions of Python, gradlite and every library that is installed and measured."""
    import gradlite

    found = {"gradlite": gradlite.__version__, "python": platform.python_version()}
    for library in LIBRARIES:
        for distribution in ALIASES.get(library, (library,)):
            try:
                found[library] = metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
    return found


def commit() -> tuple[str, bool]:
    """The commit of the source tree, and whether tracked files differ from it; "unknown" outside a repository."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=ROOT)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        return git("rev-parse", "--short", "HEAD") or "unknown", bool(git("status", "--porcelain", "-uno"))
    except OSError:
        return "unknown", False
