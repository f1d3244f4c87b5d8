"""The GPU command: tests on the device, kernels beside cuBLAS and cuDNN, training steps beside PyTorch,
and the kernels that they consist of; one JSON file.

    python -m benchmarks gpu --out DIR

runs from the source tree with whatever CuPy and PyTorch are installed, in under nine minutes, and writes DIR/gpu.json
after every part, so that a run that is cut off leaves what it measured, and at the end the report, DIR/gpu.html.
Nothing is compared that computes in another precision.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import machine, report, report_tables
from benchmarks.noise import Noise

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
    """Run all parts, and write what they found after each."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    path: Path = arguments.out / "gpu.json"
    document = new_document(arguments.small)
    parts: dict[str, Any] = {}
    if not arguments.skip_tests:
        parts["tests"] = run_tests
    # What matters most first: a run that is cut off has it.
    parts["steps"] = lambda: measured("gpu_steps", arguments.small)
    parts["kernels"] = lambda: measured("gpu_kernels", arguments.small)
    parts["profile"] = lambda: measured("gpu_profile", arguments.small)
    for name, part in parts.items():
        start = time.perf_counter()
        document[name] = part()
        document[f"{name}_seconds"] = round(time.perf_counter() - start, 1)
        fill(document)
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")
        print(f"{name}: {document[f'{name}_seconds']} s, written to {path}", flush=True)
    print(report_tables.terminal(document))
    page = path.with_suffix(".html")
    report.render([document], page)
    print(f"Written to {path} and {page}.")
    failed = document.get("tests", {}).get("exit_code", 0)
    if failed:
        sys.exit(failed)


def new_document(small: bool) -> dict[str, Any]:
    """A document without measurements: what the figures will belong to."""
    commit, dirty = machine.commit()
    return {
        "schema": 1,
        "kind": "gpu",
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit,
        "dirty": dirty,
        "machine": machine.machine(),
        "versions": machine.versions(),
        "settings": {"suites": ["models", "kernels"], "setting": "smoke" if small else "full"},
        "missing": {} if find_spec("torch") else {"torch": "torch is not installed"},
        "ceilings": {},
        "noise": {},
        "measurements": [],
        "fits": [],
    }


RIVALS = {
    "gradlite": ("gradlite-cuda", "fit with data on the device, a step as one CUDA graph"),
    "torch eager": ("torch-eager", "channels_last, Adam(fused=True), data on the device"),
    "torch captured": ("torch-captured", "the same, the whole step captured by hand in one CUDA graph"),
    "torch": ("torch-eager", "channels_last"),
    "cublas": ("cublas", "cuBLAS, through CuPy"),
}
PRECISIONS = {None: "", "highest": "", "high": "-tf32", "medium": "-bf16"}


def fill(document: dict[str, Any]) -> None:
    """Bring the rows of the parts into the document's own form: ceilings, measurements, noise."""
    found: list[dict[str, Any]] = []
    kernels = [row for row in document.get("kernels", []) if "times" in row]
    for row in kernels:
        for rival, times in row["times"].items():
            for cache, samples in times["samples"].items():
                cold = "-cold" if cache == "cold" else ""
                case = f"{row['kernel']}{PRECISIONS[row.get('precision')]}{cold}/{row['case']}"
                found.append(_measurement("kernels", case, rival, "us", samples, row["work"]))
    for row in (row for row in document.get("steps", []) if "samples" in row):
        for rival, samples in row["samples"].items():
            case = f"{row['model']}/train{'-bf16' if row['precision'] == 'bf16' else ''}/{row['batch']}"
            found.append(_measurement("models", case, rival, "ms", [1e-3 * s for s in samples], row["work"]))
    for row in document.get("kernels", []):
        if "ceilings" in row:
            document["ceilings"] = {"gpu": row["ceilings"]}
    document["measurements"] = found
    document["noise"] = Noise().statement([m["samples"] for m in found])


def _measurement(
    suite: str, case: str, rival: str, unit: str, samples: list[float], work: dict[str, float]
) -> dict[str, Any]:
    name, configuration = RIVALS[rival]
    return {
        "suite": suite,
        "case": case,
        "rival": name,
        "unit": unit,
        "better": "lower",
        "samples": samples,
        "configuration": configuration,
        "work": work,
        "note": None,
    }


def run_tests() -> dict[str, Any]:
    """The suites that mean something on a device; their last lines, and every failure."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--maxfail=40",
        "-p",
        "no:cacheprovider",
        "tests/gpu",
        "tests/cuda",
    ]
    command += [f"--ignore-glob=tests/cuda/test_{name}*" for name in ("compilation", "cupy_stand_in", "emulator")]
    if find_spec("xdist"):
        command += ["-n", str(min(os.cpu_count() or 1, 16))]
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
