"""What capturing a training step brings on the CPU: ``python -m benchmarks.capture``.

For both lecture models: the time of a step through ``fit``, eager and captured, in turns; the time that the kernels of
the step take by themselves (each the fastest of many calls, one after the other); and the rest: Python, dispatch, and
what kernels take longer than their fastest, in large models most of it. Besides, how many launches a step makes, and
what its buffers take.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import gradlite
from benchmarks.rivals import data, keras_model
from gradlite.backends import get_backend
from gradlite.recording import Recorder
from gradlite.training import replay

CASES = {("mnist", 32): 300, ("vggnet", 32): 20}


class Watched:
    """A model that can train an epoch either way, and whose captured step can be taken apart."""

    def __init__(self, model: str, batch: int, steps: int) -> None:
        self.net = keras_model(gradlite.keras, model)
        self.x, self.y = data(model, batch * steps)
        self.batch, self.steps = batch, steps
        self.program: Any = None
        self.calls: list[Any] = []

    def epoch(self, eager: bool) -> float:
        """Seconds a step."""
        self.net.run_eagerly = eager
        start = time.perf_counter()
        self.net.fit(self.x, self.y, batch_size=self.batch, verbose=0)
        return (time.perf_counter() - start) / self.steps

    def look_inside(self, rounds: int) -> float:
        """Train an epoch, and keep the program and its bound calls; the seconds that these take, as below."""
        vars(self.net).pop("_kept_steps", None)  # the programs of the epochs before
        found: list[float] = []
        backend: Any = get_backend("cpu")
        bind, finish = backend.bind, replay.Steps.finish
        backend.bind = lambda calls: self.calls.append(calls) or bind(calls)

        def kept(steps: Any) -> None:
            self.program = steps.programs[0]
            found.append(self.kernels_alone(rounds))  # now, while the data are where the program reads them
            finish(steps)

        replay.Steps.finish = kept  # type: ignore[method-assign]
        try:
            self.epoch(eager=False)
        finally:
            replay.Steps.finish = finish  # type: ignore[method-assign]
            del backend.bind
        return found[0]

    def eager_launches(self) -> int:
        """How many launches an eager step makes, once it has its batch."""
        self.net.run_eagerly = True
        recorder = Recorder(get_backend("cpu"))
        with recorder.recording():
            self.net.train_on_batch(self.x[: self.batch], self.y[: self.batch])
        return len(recorder.calls)

    def kernels_alone(self, rounds: int) -> float:
        """Seconds that the launches of a step take, the fastest of each added up."""
        calls = self.calls[0]
        best = [float("inf")] * len(calls)
        for _ in range(rounds):
            for i, call in enumerate(calls):
                start = time.perf_counter()
                call()
                best[i] = min(best[i], time.perf_counter() - start)
        return sum(best)


def measure(model: str, batch: int, steps: int, rounds: int) -> dict[str, Any]:
    """The figures of one model."""
    watched = Watched(model, batch, steps)
    for eager in (True, False):
        watched.epoch(eager)
    samples: dict[str, list[float]] = {"eager": [], "captured": []}
    for _ in range(rounds):
        for name, times in samples.items():
            times.append(watched.epoch(name == "eager"))
    kernels = watched.look_inside(max(20, steps))
    memory = watched.program.memory
    return {
        "model": model,
        "batch": batch,
        "ms_a_step": {name: round(1e3 * statistics.median(times), 3) for name, times in samples.items()},
        "captured_over_eager": round(
            statistics.median(a / b for a, b in zip(samples["captured"], samples["eager"])), 3
        ),
        "kernels_alone_ms": round(1e3 * kernels, 3),
        "rest_us": round(1e6 * (min(samples["captured"]) - kernels), 1),
        "launches": {"eager": watched.eager_launches(), "captured": len(watched.program.launches)},
        "memory_bytes": {
            "planned": memory.planned_bytes,
            "side by side": memory.unshared_bytes,
            "live at one time": memory.live_bytes,
        },
        "samples": samples,
    }


def main() -> None:
    """Print the figures of both models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="epochs of either kind")
    parser.add_argument("--steps", type=int, help="steps of an epoch")
    parser.add_argument("--out", type=Path, help="write all samples to this JSON file")
    arguments = parser.parse_args()
    rows = []
    for (model, batch), steps in CASES.items():
        row = measure(model, batch, arguments.steps or steps, arguments.rounds)
        rows.append(row)
        print(f"\n{model}, batch {batch}")
        for name, value in row.items():
            if name not in ("model", "batch", "samples"):
                print(f"  {name:24} {value}")
    if arguments.out:
        arguments.out.write_text(json.dumps({"date": time.strftime("%Y-%m-%d"), "results": rows}), encoding="utf-8")


if __name__ == "__main__":
    main()
