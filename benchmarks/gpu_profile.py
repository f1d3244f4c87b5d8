"""Where a training step's time goes on a GPU: every kernel of one step, in order; a line of JSON for each case.

A captured step is one launch, so that only the device's own trace shows its kernels: CUPTI's, through PyTorch's
profiler, which records whatever runs in the process. Times are medians over several steps in the middle of an epoch.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradlite
from benchmarks.gpu_kernels import optional_torch
from benchmarks.gpu_steps import gradlite_epoch

STEPS = 20
CASES = [(model, batch, precision) for precision in ("tf32", "bf16") for model in ("mnist", "vggnet")
         for batch in (32, 128, 1024)]  # fmt: skip
# The longest step that is looked for, in kernels, and how many equal ones on both sides of the middle show it.
MOST_KERNELS = 400
REPEATS = 3

Event = dict[str, Any]


def trace(torch: Any, epoch: Callable[[], Any]) -> list[Event]:
    """What the device ran in an epoch, in the order of time: CUPTI's events, times in microseconds."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        epoch()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "trace.json")
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return sorted((e for e in events if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")), key=lambda e: e["ts"])


def step_of(events: Sequence[Event]) -> tuple[int, list[int]]:
    """(kernels of a step, where some steps begin), by the period of the kernels' names in the middle.

    A step begins behind the longest gap, where the host launches. (0, []) where nothing repeats.
    """
    names = [event["name"] for event in events]
    middle = len(names) // 2
    for period in range(1, MOST_KERNELS):
        first, stop = middle - REPEATS * period, middle + (REPEATS + 1) * period
        if first < 1 or stop > len(names):
            break
        if all(names[i] == names[i + period] for i in range(first, stop - period)):
            starts = range(first, stop - period, period)
            begin = max(range(period), key=lambda k: statistics.median(_gap(events, start + k) for start in starts))
            return period, [start + begin for start in starts]
    return 0, []


def _gap(events: Sequence[Event], i: int) -> float:
    """Microseconds between the end of the event before and the beginning of this one."""
    return float(events[i]["ts"] - events[i - 1]["ts"] - events[i - 1]["dur"])


def profile(events: Sequence[Event]) -> dict[str, Any]:
    """The kernels of a step with their medians, their sum, and the time from one step to the next."""
    period, starts = step_of(events)
    kernels = []
    for k in range(period):
        repeats = [events[start + k] for start in starts if start + k < len(events)]
        about = repeats[0].get("args", {})
        kernels.append(
            {
                "name": repeats[0]["name"],
                "us": round(statistics.median(e["dur"] for e in repeats), 2),
                "grid": about.get("grid"),
                "block": about.get("block"),
                "registers": about.get("registers per thread"),
                "shared": about.get("shared memory"),
            }
        )
    times = [events[b]["ts"] - events[a]["ts"] for a, b in itertools.pairwise(starts)]
    return {
        "step_us": round(statistics.median(times), 1) if times else None,
        "kernels_us": round(sum(k["us"] for k in kernels), 1),
        "nodes": period,
        "kernels": kernels,
    }


def main() -> None:
    """Print a line of JSON for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="one small case: a check of the profile itself")
    small = parser.parse_args().small
    torch = optional_torch()
    if torch is None:
        print(json.dumps({"missing": "PyTorch, whose profiler records what the device runs"}))
        return
    gradlite.set_device("gpu")
    gradlite.config.set_matmul_precision("high")
    for model, batch, precision in [("mnist", 4, "tf32")] if small else CASES:
        epoch = gradlite_epoch(model, batch, STEPS, precision)
        for _ in range(2):
            epoch()
        found = profile(trace(torch, epoch))
        print(json.dumps({"model": model, "batch": batch, "precision": precision, **found}), flush=True)
    gradlite.keras.mixed_precision.set_global_policy("float32")


if __name__ == "__main__":
    main()
