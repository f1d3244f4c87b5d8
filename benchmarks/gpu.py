"""The GPU command: tests on the device, kernels beside cuBLAS and cuDNN, training steps beside PyTorch; one JSON file.

    python -m benchmarks gpu --out DIR

runs from the source tree with whatever CuPy and PyTorch are installed, in under nine minutes, and writes DIR/gpu.json
after every part, so that a run that is cut off leaves what it measured. Nothing is compared that computes in another
precision.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Seconds that the tests may take; what is left of nine minutes goes to the measurements.
TESTS_LIMIT = 240


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--out", type=Path, required=True, help="the directory that gpu.json is written to")
    parser.add_argument("--skip-tests", action="store_true", help="measure only")
    parser.add_argument("--small", action="store_true", help="tiny sizes: a check of the command itself")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run all parts, and write what they found."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "gpu.json"
    found: dict[str, Any] = {"started": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()), "machine": machine()}
    parts: dict[str, Any] = {}
    if not arguments.skip_tests:
        parts["tests"] = run_tests
    parts["kernels"] = lambda: measured("gpu_kernels", arguments.small)
    parts["steps"] = lambda: measured("gpu_steps", arguments.small)
    for name, part in parts.items():
        start = time.perf_counter()
        found[name] = part()
        found[f"{name}_seconds"] = round(time.perf_counter() - start, 1)
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")
        print(f"{name}: {found[f'{name}_seconds']} s, written to {path}", flush=True)
    failed = found.get("tests", {}).get("exit_code", 0)
    if failed:
        sys.exit(failed)


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    import cupy

    device = cupy.cuda.runtime.getDeviceProperties(0)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    return {
        "device": device["name"].decode() if isinstance(device["name"], bytes) else str(device["name"]),
        "multiprocessors": int(device["multiProcessorCount"]),
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "cuda": cupy.cuda.runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or "unknown",
    }


def run_tests() -> dict[str, Any]:
    """The suites that mean something on a device; their last lines, and every failure."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--maxfail=40", "-p", "no:cacheprovider", "tests/gpu"]
    command += ["tests/cuda", "--deselect", "tests/cuda/test_compilation.py"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=TESTS_LIMIT)
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        return {"exit_code": 124, "tail": output.splitlines()[-60:]}
    lines = done.stdout.splitlines()
    return {
        "exit_code": done.returncode,
        "summary": lines[-1] if lines else "",
        "failures": [line for line in lines if line.startswith(("FAILED", "ERROR"))],
        "tail": lines[-200:] if done.returncode else [],
    }


def measured(module: str, small: bool) -> Any:
    """What ``python -m benchmarks.<module>`` prints as JSON: a process of its own, so that a crash ends it alone."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *(["--small"] if small else [])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    rows = []
    for line in done.stdout.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    if done.returncode:
        rows.append({"error": done.stderr.splitlines()[-15:]})
    return rows
