"""Ways to measure a case: in turns, from the start of a process, without a clock. Each returns samples by rival."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks import footprint
from benchmarks.cases import Case
from benchmarks.rivals import RIVALS
from benchmarks.workers import ROOT, Worker, WorkerError

if TYPE_CHECKING:
    from benchmarks.suite import Run

Samples = dict[str, list[float]]
SCALES = {"s": 1.0, "ms": 1e3, "us": 1e6}
MOST_REPEATS = 100_000
MIB = 2**20


def turns(run: Run, case: Case, names: list[str], warmups: int = 2) -> Samples:
    """Prepare every rival, then round by round let each work once: a change of the machine's speed meets all."""
    repeats: dict[str, int] = {}
    for name in names:
        with run.noting_failure(name, case):
            worker = run.worker(name)
            seconds = worker.request("prepare", task=case.task, arguments=case.arguments, warmups=warmups)["seconds"]
            wanted = 1 if case.seconds is None else round(case.seconds / max(seconds, 1e-7))
            repeats[name] = max(1, min(MOST_REPEATS, wanted))
            worker.quiet()
    samples: Samples = {name: [] for name in repeats}
    for _ in range(run.rounds(case)):
        for name in list(samples):
            with run.noting_failure(name, case, samples):
                seconds = run.sample(run.workers[name], repeats[name])
                samples[name].append(in_unit(case, seconds / repeats[name] / case.units))
    return samples


def once_warm(run: Run, case: Case, names: list[str]) -> Samples:
    """Turns of work that is long: once before, so that everything is compiled."""
    return turns(run, case, names, warmups=1)


def from_start(run: Run, case: Case, names: list[str]) -> Samples:
    """From the start of a process to the end of the first run of the work."""
    samples: Samples = {name: [] for name in names}
    for _ in range(run.rounds(case)):
        for name in list(samples):
            with run.noting_failure(name, case, samples), Worker(name, run.threads) as worker:
                worker.ready()
                worker.request("prepare", task=case.task, arguments=case.arguments, warmups=0)
                worker.request("run", repeats=1)
                samples[name].append(in_unit(case, time.perf_counter() - worker.started))
    return samples


def memory(run: Run, case: Case, names: list[str]) -> Samples:
    """The most memory that a process had which did the work alone."""
    samples: Samples = {}
    for name in names:
        with run.noting_failure(name, case), Worker(name, run.threads) as worker:
            worker.ready()
            worker.request("prepare", task=case.task, arguments=case.arguments, warmups=2)
            samples[name] = [worker.request("memory")["mib"]]
    return samples


def imports(run: Run, case: Case, names: list[str]) -> Samples:
    """Seconds of a Python process that imports the library and ends; ``python``: that imports nothing."""
    samples: Samples = {name: [] for name in (*names, "python")}
    for round_number in range(-1, run.rounds(case)):  # once before, so that the files are in memory
        for name in list(samples):
            start = time.perf_counter()
            environment = {**os.environ, **(RIVALS[name].environment if name in RIVALS else {})}
            command = [sys.executable, "-c", footprint.IMPORTS[name]]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
            if done.returncode:
                run.failed(name, case, WorkerError(done.stderr.decode(errors="replace").strip()[-200:]))
                del samples[name]
            elif round_number >= 0:
                samples[name].append(time.perf_counter() - start)
    return samples


def installs(run: Run, case: Case, names: list[str]) -> Samples:
    """MiB of the library as it is installed here, with everything that it requires."""
    return {name: [footprint.installed_bytes(footprint.DISTRIBUTIONS[name]) / MIB] for name in names}


def inside(run: Run, case: Case, names: list[str]) -> Samples:
    """A captured step taken apart: it adds measurements of several cases by itself."""
    for name in names:
        with run.noting_failure(name, case):
            found = run.worker(name).request("ask", task="inside", arguments=case.arguments)
            parts: list[tuple[str, str, str, float]] = [
                ("step", f"{name}-kernels", "ms", 1e3 * found["kernels_seconds"]),
                ("launches", f"{name}-eager", "count", found["launches_eager"]),
                ("launches", name, "count", found["launches_captured"]),
                ("buffers", name, "MiB", found["buffers_planned"] / MIB),
                ("buffers", f"{name}-unshared", "MiB", found["buffers_side_by_side"] / MIB),
            ]
            for what, rival, unit, value in parts:
                run.keep(case, rival, [value], name=f"{what}/{case.name}", unit=unit, note=NOTES[what, rival != name])
    return {}


# By what is measured, and whether it is of the rival with another name.
NOTES = {
    ("step", True): "a replay of the captured step by itself, the fastest of many",
    ("launches", True): "a step, one operation after the other",
    ("launches", False): "a captured step",
    ("buffers", False): "the arena of the captured step",
    ("buffers", True): "the same buffers side by side, none sharing memory",
}
PROCEDURES: dict[str, Callable[[Any, Case, list[str]], Samples]] = {
    function.__name__: function for function in (turns, once_warm, from_start, memory, imports, installs, inside)
}


def in_unit(case: Case, seconds: float) -> float:
    """Seconds of one unit of the work as the case's unit has it."""
    if case.unit in SCALES:
        return SCALES[case.unit] * seconds
    assert case.work is not None
    return 1e-9 * case.work["flop" if case.unit == "GFLOP/s" else "bytes"] / seconds
