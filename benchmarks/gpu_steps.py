"""Training steps of the two lecture models on a GPU, beside PyTorch: a line of JSON for each model and batch size.

gradlite trains through ``fit``, data on the device. PyTorch: channels_last, fused Adam, data on the device; eager, and
with the whole step captured by hand in one CUDA graph, which is the honest rival of a captured step. Both in TF32, and
in bfloat16: the policy ``mixed_bfloat16`` here, autocast there.
Host time around whole epochs that end with a synchronization, medians of rounds in which the rivals take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import gradlite
from benchmarks import work
from benchmarks.gpu_kernels import optional_torch
from benchmarks.models import data, keras_model
from gradlite.backends import get_backend

ROUNDS = 5
STEPS = {("mnist", 32): 200, ("mnist", 128): 200, ("mnist", 1024): 100, ("vggnet", 32): 60, ("vggnet", 128): 40,
         ("vggnet", 1024): 10}  # fmt: skip


PRECISIONS = ("tf32", "bf16")


def gradlite_epoch(model: str, batch: int, steps: int, precision: str = "tf32") -> Callable[[], Any]:
    """An epoch through ``fit``."""
    x, y = data(model, batch * steps)
    keras = gradlite.keras
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if precision == "bf16" else "float32")
    net = keras_model(keras, model)
    x, y = gradlite.Tensor(x, device="gpu"), gradlite.Tensor(y, device="gpu")
    return lambda: net.fit(x, y, batch_size=batch, verbose=0)


class TorchSteps:
    """PyTorch's network with its data on the device: eager epochs, and epochs of a captured step."""

    def __init__(self, torch: Any, model: str, batch: int, steps: int, precision: str = "tf32") -> None:
        from benchmarks.rivals.torch_rival import Training

        self.torch = torch
        self.training = Training(model, batch, *data(model, batch * steps), device="cuda", capturable=True)
        if precision == "bf16":
            exact = self.training.outputs_and_loss

            def cast(x: Any, y: Any) -> Any:
                with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):  # a cache would outlive the capture
                    return exact(x, y)

            self.training.outputs_and_loss = cast
        self.x, self.y, self.batch = self.training.x, self.training.y, batch
        self.order = torch.randperm(len(self.x), device="cuda")
        self.position = torch.zeros((), dtype=torch.int64, device="cuda")
        self.places = torch.arange(batch, device="cuda")
        self.graph: Any = None

    def step(self) -> None:
        """Gather a batch by the position on the device, train on it, count right answers."""
        rows = self.order[self.position + self.places]
        self.training.step(self.x[rows], self.y[rows], set_to_none=self.graph is None)
        self.position += self.batch

    def _start(self) -> int:
        self.order.copy_(self.torch.randperm(len(self.x), device="cuda"))
        self.position.zero_()
        return len(self.x) // self.batch

    def eager(self) -> None:
        """An epoch of eager steps."""
        for _ in range(self._start()):
            self.step()
        self.training.right.item()

    def captured(self) -> None:
        """An epoch of replays of one graph."""
        if self.graph is None:
            self._capture()
        for _ in range(self._start()):
            self.graph.replay()
        self.training.right.item()

    def _capture(self) -> None:
        torch = self.torch
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(min(3, self._start())):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        self._start()
        graph = torch.cuda.CUDAGraph()
        self.training.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self.step()
        self.graph = graph


def measure(model: str, batch: int, steps: int, precision: str, torch: Any) -> dict[str, Any]:
    """Microseconds a step of every rival: quartiles over the rounds, and our time over each rival's."""
    epochs: dict[str, Callable[[], Any]] = {"gradlite": gradlite_epoch(model, batch, steps, precision)}
    if torch is not None:
        epochs["torch eager"] = TorchSteps(torch, model, batch, steps, precision).eager
        epochs["torch captured"] = TorchSteps(torch, model, batch, steps, precision).captured
    samples: dict[str, list[float]] = {name: [] for name in epochs}
    for epoch in epochs.values():
        epoch()
        epoch()
    for _ in range(ROUNDS):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            epoch()
            samples[name].append(1e6 * (time.perf_counter() - start) / steps)
    return {
        "model": model,
        "batch": batch,
        "steps": steps,
        "precision": precision,
        "samples": samples,
        "work": work.training_step(model, batch),
        "us_a_step": {n: [round(q, 1) for q in statistics.quantiles(s, n=4)] for n, s in samples.items()},
        "gradlite_over_it": {
            n: round(statistics.median(a / b for a, b in zip(samples["gradlite"], s)), 3) for n, s in samples.items()
        },
    }


def main() -> None:
    """Print a line of JSON for each model and batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="tiny sizes: a check of the benchmark itself")
    small = parser.parse_args().small
    gradlite.set_device("gpu")
    gradlite.config.set_matmul_precision("high")
    torch = optional_torch()
    if torch is not None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    cases = {("mnist", 4): 2} if small else STEPS
    for precision in PRECISIONS:
        for (model, batch), steps in cases.items():
            print(json.dumps(measure(model, batch, steps, precision, torch)), flush=True)
    gradlite.keras.mixed_precision.set_global_policy("float32")
    get_backend("gpu").synchronize()


if __name__ == "__main__":
    main()
