"""What this machine can do at best, measured in the same run: bytes copied, multiply-adds, launches."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.workers import WorkerError

if TYPE_CHECKING:
    from benchmarks.suite import Run

# Whose products are tried: the fastest is the ceiling.
MULTIPLIERS = ("gradlite-numpy", "gradlite-cpu", "torch-eager", "jax-jit")
SIDE, SMALL_SIDE = 2048, 32
COPIED, SMALL_COPIED = 2**28, 2**16  # bytes, far beyond any cache


def copier(size: int, threads: int) -> Callable[[], None]:
    """Copies ``size`` bytes, each thread a part of them."""
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    parts = [slice(size * i // threads, size * (i + 1) // threads) for i in range(threads)]
    pool = ThreadPoolExecutor(threads)

    def copy() -> None:
        list(pool.map(lambda part: np.copyto(target[part], source[part]), parts))

    return copy


def measure(run: Run, tries: int = 5) -> dict[str, float]:
    """The document's ``ceilings``: the best of several tries each; reading and writing count as bytes both."""
    small = run.setting.sample == 0
    found: dict[str, float] = {}
    size = SMALL_COPIED if small else COPIED
    copy, seconds = copier(size, run.threads), []
    for _ in range(tries):
        start = time.perf_counter()
        copy()
        seconds.append(time.perf_counter() - start)
    found["copy_gb_s"] = 2e-9 * size / min(seconds)
    side = SMALL_SIDE if small else SIDE
    rates = [_best(run, name, {"name": "matmul", "n": side, "k": side, "m": side}, tries, 1) for name in MULTIPLIERS]
    rates = [2e-9 * side**3 / seconds for seconds in rates if seconds is not None]
    if rates:
        found["sgemm_gflop_s"] = max(rates)
    launch = _best(run, "gradlite-numpy", {"name": "add", "elements": 1}, tries, 10 if small else 10_000)
    if launch is not None:
        found["launch_us"] = 1e6 * launch
    run.end_workers()
    return found


def _best(run: Run, name: str, arguments: dict[str, Any], tries: int, repeats: int) -> float | None:
    """The least seconds of a kernel of a rival, None where it is not measured."""
    if name not in run.rivals:
        return None
    try:
        worker = run.worker(name)
        worker.request("prepare", task="kernel", arguments=arguments, warmups=2)
        best = min(worker.request("run", repeats=repeats)["seconds"] / repeats for _ in range(tries))
        worker.quiet()
    except WorkerError:
        return None
    return best
