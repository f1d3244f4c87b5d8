"""The processes of the rivals, from the side of the one that measures: start, ask, wait until quiet, end."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.rivals import RIVALS

ROOT = Path(__file__).parents[1]
# Thread pools of BLAS, OpenMP and Numba read their size from these.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
QUIET_LIMIT = 0.3  # seconds to wait at most until a rival's threads have stopped spinning


class WorkerError(RuntimeError):
    """A rival could not do what it was asked for; the message says what it said."""


class Worker:
    """One rival's process."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.result: dict[str, Any] | None = None  # what the last run returned, such as how many epochs it took
        environment = {**os.environ, **RIVALS[name].environment}
        environment |= dict.fromkeys(THREAD_VARIABLES, str(threads))
        environment |= {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)}
        self.started = time.perf_counter()
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115, closed by ``end``
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            cwd=ROOT,
            env=environment,
        )

    def ready(self) -> None:
        """Wait until the libraries are imported."""
        self._answer(timeout=180)

    def request(self, do: str, timeout: float = 300, **content: Any) -> dict[str, Any]:
        """Ask, and wait for the answer; WorkerError where it is an error, or none comes."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **content}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerError(f"its process ended: {self._last_words()}") from error
        return self._answer(timeout)

    def _answer(self, timeout: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        # Windows cannot wait for a pipe for a limited time.
        if os.name == "posix" and not select.select([self.process.stdout], [], [], timeout)[0]:
            self.end()
            raise WorkerError(f"no answer within {timeout:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(f"its process ended: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _last_words(self) -> str:
        self.process.wait(timeout=10)
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.process.returncode}"

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def cpu_seconds(self) -> float:
        """Processor time of all its threads so far; 0 where the system does not say."""
        if sys.platform != "linux":
            return 0.0
        # The clock of another process, as clock_getcpuclockid makes it.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def quiet(self) -> None:
        """Wait until its threads sleep: some pools spin for a while after their work, in the next rival's time."""
        end = time.perf_counter() + QUIET_LIMIT
        before = self.cpu_seconds()
        while time.perf_counter() < end:
            time.sleep(0.004)
            now = self.cpu_seconds()
            if now - before < 0.0004:
                return
            before = now

    def end(self) -> None:
        """End the process, if it has not ended, and let go of its pipes."""
        if self.errors.closed:
            return
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
