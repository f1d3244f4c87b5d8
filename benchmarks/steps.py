"""Time of a training step of the two lecture models, beside Keras on JAX and PyTorch: ``python -m benchmarks.steps``.

Every rival runs in a process of its own. The processes take turns, an epoch each, so that a change of the machine's
speed meets all of them; medians are shown, and ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NEEDS = {"gradlite": "gradlite", "keras on jax": "keras", "pytorch": "torch"}
CASES = {("mnist", 32): 400, ("mnist", 128): 200, ("vggnet", 32): 6, ("vggnet", 128): 3}


def serve(name: str, model: str, batch: int, steps: int) -> None:
    """The process of one rival: an epoch for each line that comes in, its time out."""
    from benchmarks.rivals import RIVALS

    rival = RIVALS[name](model, batch, batch * steps)
    rival.epoch()
    rival.epoch()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        rival.epoch()
        print((time.perf_counter() - start) / steps, flush=True)


def measure(model: str, batch: int, steps: int, rounds: int, names: list[str]) -> dict[str, list[float]]:
    """Seconds a step of every rival in every round."""
    command = [sys.executable, "-m", "benchmarks.steps", "--serve"]
    workers = {}
    for name in names:
        workers[name] = subprocess.Popen(
            [*command, name, "--model", model, "--batch", str(batch), "--steps", str(steps)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
    samples: dict[str, list[float]] = {name: [] for name in names}
    try:
        for name, worker in workers.items():
            _read(worker, name)
        for _ in range(rounds):
            for name, worker in workers.items():
                worker.stdin.write("\n")  # type: ignore[union-attr]
                worker.stdin.flush()  # type: ignore[union-attr]
                samples[name].append(float(_read(worker, name)))
    finally:
        for worker in workers.values():
            worker.kill()
            worker.communicate()
    return samples


def _read(worker: subprocess.Popen[str], name: str) -> str:
    line = worker.stdout.readline()  # type: ignore[union-attr]
    if not line:
        raise RuntimeError(f"The process of {name} ended.")
    return line.strip()


def report(model: str, batch: int, samples: dict[str, list[float]]) -> dict[str, Any]:
    """Print the medians and quartiles in ms, and gradlite's time over each rival's."""
    print(f"\n{model}, batch {batch}: ms a step (median, quartiles), and gradlite's time over it (median of rounds)")
    rows = {}
    for name, times in samples.items():
        low, middle, high = statistics.quantiles(times, n=4)
        ratio = statistics.median(ours / theirs for ours, theirs in zip(samples["gradlite"], times))
        rows[name] = {"median_ms": middle * 1e3, "quartiles_ms": [low * 1e3, high * 1e3], "gradlite_over_it": ratio}
        print(f"  {name:14} {middle * 1e3:9.3f}  ({low * 1e3:.3f} to {high * 1e3:.3f})   {ratio:6.2f}")
    return {"model": model, "batch": batch, "rivals": rows, "samples": samples}


def main(arguments: list[str] | None = None) -> None:
    """Measure what is asked for and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["mnist", "vggnet"], help="only this model")
    parser.add_argument("--batch", type=int, help="only this batch size")
    parser.add_argument("--steps", type=int, help="steps of an epoch, by default as many as take some 0.1 to 1 s")
    parser.add_argument("--rounds", type=int, default=11, help="epochs of every rival")
    parser.add_argument("--out", type=Path, help="write all samples to this JSON file")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve, options.model, options.batch, options.steps)
        return
    names = [name for name, module in NEEDS.items() if importlib.util.find_spec(module)]
    missing = sorted(set(NEEDS) - set(names))
    if missing:
        print(f"Not installed, so not measured: {', '.join(missing)}.")
    results = []
    for (model, batch), steps in CASES.items():
        if options.model in (None, model) and options.batch in (None, batch):
            samples = measure(model, batch, options.steps or steps, options.rounds, names)
            results.append(report(model, batch, samples))
    if options.out:
        machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
        options.out.write_text(json.dumps({"date": time.strftime("%Y-%m-%d"), "machine": machine, "results": results}))


if __name__ == "__main__":
    main()
