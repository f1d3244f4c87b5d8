"""The process of one rival: it prepares what it is asked for, and times it when it is its turn.

Requests and answers are lines of JSON over stdin and stdout. Between turns the process waits in a read, which costs the
others nothing. ``python -m benchmarks.worker RIVAL THREADS`` is started by ``workers.py``.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.rivals import RIVALS


def limit_threads(threads: int) -> None:
    """Keep the process on so many processors: the one limit that every library heeds."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


class Session:
    """The work at hand, and the answers to requests about it."""

    def __init__(self, name: str, threads: int) -> None:
        rival = RIVALS[name]
        module = importlib.import_module(f"benchmarks.rivals.{rival.module}")
        self.tasks: dict[str, Callable[..., Any]] = module.configure(threads, **rival.options)
        self.work: Callable[[], Any] = lambda: None

    def prepare(self, task: str, arguments: dict[str, Any], warmups: int) -> dict[str, Any]:
        """Make the work of a case and do it a few times; the seconds of the last time."""
        self.work = lambda: None
        gc.collect()
        self.work = self.tasks[task](**arguments)
        seconds = 0.0
        for _ in range(warmups):
            seconds = self.run(1)["seconds"]
        return {"seconds": seconds}

    def run(self, repeats: int) -> dict[str, Any]:
        """Do the work so many times; the seconds of all, and what the last one returned if that is a table."""
        work, result = self.work, None
        start = time.perf_counter()
        for _ in range(repeats):
            result = work()
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "result": result if isinstance(result, dict) else None}

    def ask(self, task: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Figures that a task finds by itself."""
        return self.tasks[task](**arguments)

    def memory(self) -> dict[str, Any]:
        """The most memory that the process has had, in MiB."""
        status = Path("/proc/self/status")
        if status.exists():  # getrusage would count what the parent had when it started this process
            return {"mib": int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) / 2**10}  # type: ignore[index]
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"mib": peak / (2**20 if sys.platform == "darwin" else 2**10)}


def main() -> None:
    """Answer requests until there are no more."""
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    name, threads = sys.argv[1], int(sys.argv[2])
    limit_threads(threads)

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    session = Session(name, threads)
    answer({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(getattr(session, request.pop("do"))(**request))
        except Exception as error:
            traceback.print_exc()
            answer({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
