"""Kernels on a GPU, beside cuBLAS (through CuPy) and cuDNN (through PyTorch): a line of JSON for each.

Times are device times between two events around a run of launches, in rounds in which the rivals take turns.
"warm" repeats on the same buffers; "cold" clears the second-level cache in between and subtracts what that costs.
The device's ceilings come first: what a large copy, a large product of the vendor's and a launch reach at best.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import numpy as np

import gradlite
from benchmarks import work
from gradlite.backends import get_backend

ROUNDS = 7
LAUNCHES = 20
# Larger than any second-level cache so far.
CACHE_BYTES = 96 * 2**20

# What stands after the slash is the batch, or the side of a square.
PRODUCTS = [
    ("square/4096", 4096, 4096, 4096),
    ("mnist-first/32", 32, 784, 512),
    ("mnist-first/1024", 1024, 784, 512),
    ("mnist-weights/32", 784, 32, 512),
    ("mnist-weights/1024", 784, 1024, 512),
    ("vggnet-dense/128", 128, 4096, 512),
    ("vggnet-dense-weights/128", 4096, 128, 512),
    ("vggnet-dense/1024", 1024, 4096, 512),
]
LAYERS = [("layer-1", 32, 3, 32), ("layer-2", 32, 32, 32), ("layer-3", 16, 32, 64), ("layer-4", 16, 64, 64)]
PADDING = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}


class Clock:
    """Microseconds of device time for a function that launches work on the backend's stream."""

    def __init__(self, gpu: Any, launches: int) -> None:
        self.gpu = gpu
        self.cuda = gpu.xp.cuda
        self.launches = launches
        self.sweep = gpu.empty((CACHE_BYTES // 4,), np.float32)

    def between(self, work: Callable[[], Any], times: int) -> float:
        """Microseconds for ``times`` calls."""
        first, last = self.cuda.Event(), self.cuda.Event()
        first.record()
        for _ in range(times):
            work()
        last.record()
        last.synchronize()
        return 1e3 * self.cuda.get_elapsed_time(first, last)

    def warm(self, work: Callable[[], Any]) -> float:
        """Microseconds a call, one after the other."""
        return self.between(work, self.launches) / self.launches

    def cold(self, work: Callable[[], Any]) -> float:
        """Microseconds a call with nothing of its data in the cache."""

        def swept() -> None:
            self.sweep.fill(0)
            work()

        found = self.between(swept, 5) / 5 - self.between(lambda: self.sweep.fill(0), 5) / 5
        return max(found, 0.1)  # the difference of two noisy times may be anything


def compare(clock: Clock, works: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """Samples, medians and quartiles of every rival, warm and cold, with rounds interleaved."""
    for call in works.values():
        for _ in range(3):
            call()
    warm: dict[str, list[float]] = {name: [] for name in works}
    cold: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, call in works.items():
            warm[name].append(clock.warm(call))
            cold[name].append(clock.cold(call))
    return {
        name: {
            "warm_us": _quartiles(warm[name]),
            "cold_us": _quartiles(cold[name]),
            "samples": {"warm": warm[name], "cold": cold[name]},
        }
        for name in works
    }


def _quartiles(samples: list[float]) -> list[float]:
    return [round(q, 2) for q in statistics.quantiles(samples, n=4)]


def products(gpu: Any, clock: Clock, small: bool, torch: Any) -> Iterator[dict[str, Any]]:
    """Matrix products in every precision; cuBLAS in the same one, through PyTorch where CuPy has no switch."""
    for name, n, k, m in PRODUCTS:
        if small:
            n, k, m = min(n, 40), min(k, 40), min(m, 40)
        rng = np.random.default_rng(0)
        a, b = (gpu.asarray(rng.standard_normal(s, np.float32)) for s in ((n, k), (k, m)))
        out = gpu.empty((n, m), np.float32)
        for precision in ("highest", "high", "medium"):
            gradlite.config.set_matmul_precision(precision)
            works = {"gradlite": lambda a=a, b=b, out=out: gpu.launch("matmul", a, b, out=out)}
            if precision == "highest":
                works["cublas"] = lambda a=a, b=b, out=out: gpu.xp.matmul(a, b, out=out)
            if torch is not None:
                works["torch"] = torch_product(torch, a, b, precision)
            yield {
                "kernel": "matmul",
                "case": name,
                "sizes": [n, k, m],
                "precision": precision,
                "work": work.matrix_product(n, k, m),
                "times": compare(clock, works),
            }


def torch_product(torch: Any, a: Any, b: Any, precision: str) -> Callable[[], Any]:
    """PyTorch's product on the same memory; for "medium" of bfloat16 matrices, which read half the bytes."""
    left, right = torch.from_dlpack(a), torch.from_dlpack(b)
    if precision == "medium":
        left, right = left.bfloat16(), right.bfloat16()

    def work() -> Any:
        torch.backends.cuda.matmul.allow_tf32 = precision == "high"
        return left @ right

    return work


def convolutions(gpu: Any, clock: Clock, small: bool, torch: Any) -> Iterator[dict[str, Any]]:
    """The three passes of ShallowVGGNet's layers at batch 128 and 1024, in float32 and TF32."""
    for batch in (2,) if small else (128, 1024):
        for name, side, c, f in LAYERS:
            side = 6 if small else side
            rng = np.random.default_rng(0)
            shapes = (batch, side, side, c), (3, 3, c, f), (batch, side, side, f)
            x, w, g = (gpu.asarray(rng.standard_normal(s, np.float32)) for s in shapes)
            for precision in ("highest", "high"):
                gradlite.config.set_matmul_precision(precision)
                passes = {
                    "conv2d": lambda x=x, w=w: gpu.launch("conv2d", x, w, None, **PADDING),
                    "conv2d_input_gradient": lambda g=g, w=w, s=x.shape: gpu.launch(
                        "conv2d_input_gradient", g, w, input_shape=s, **PADDING
                    ),
                    "conv2d_weight_gradient": lambda x=x, g=g, s=w.shape: gpu.launch(
                        "conv2d_weight_gradient", x, g, kernel_shape=s, **PADDING
                    ),
                }
                rivals = torch_convolution(torch, x, w, g, precision) if torch is not None else {}
                for kernel, call in passes.items():
                    works = {"gradlite": call, **({"torch": rivals[kernel]} if rivals else {})}
                    yield {
                        "kernel": kernel,
                        "case": f"{name}/{batch}",
                        "precision": precision,
                        "work": work.convolution(batch, side, c, f),
                        "times": compare(clock, works),
                    }


def torch_convolution(torch: Any, x: Any, w: Any, g: Any, precision: str) -> dict[str, Callable[[], Any]]:
    """cuDNN's three passes through PyTorch, channels_last, in the same precision."""
    images = torch.from_dlpack(x).permute(0, 3, 1, 2)  # channels_last memory, without a copy
    gradient = torch.from_dlpack(g).permute(0, 3, 1, 2)
    kernel = torch.from_dlpack(w).permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    torch.backends.cudnn.benchmark = True

    def work(mask: list[bool]) -> Callable[[], Any]:
        def call() -> Any:
            torch.backends.cudnn.allow_tf32 = precision == "high"
            return torch.ops.aten.convolution_backward(
                gradient, images, kernel, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask
            )

        return call

    def forward() -> Any:
        torch.backends.cudnn.allow_tf32 = precision == "high"
        return torch.nn.functional.conv2d(images, kernel, padding=1)

    return {
        "conv2d": forward,
        "conv2d_input_gradient": work([True, False, False]),
        "conv2d_weight_gradient": work([False, True, False]),
    }


def others(gpu: Any, clock: Clock, small: bool) -> Iterator[dict[str, Any]]:
    """What is bound by memory: bytes that must move, and how long it takes; beside them a plain copy."""
    batch = 2 if small else 128
    rng = np.random.default_rng(0)
    x = gpu.asarray(rng.standard_normal((batch, 32, 32, 32), np.float32))
    gamma = gpu.full((32,), 1)
    y = gpu.empty(x.shape)
    size = 2_169_770 if not small else 1000
    flat = [gpu.full((size,), 0.5) for _ in range(4)]
    rate, step = gpu.full((), 1e-3), gpu.full((), 3, np.int64)
    state = gpu.asarray(np.array([1, 2, 3], np.uint64))
    logits = gpu.asarray(rng.standard_normal((1024, 10), np.float32))
    labels = gpu.asarray(rng.integers(0, 10, 1024).astype(np.uint8))
    pool = {"window": (2, 2), "strides": (2, 2), "padding": ((0, 0), (0, 0))}
    _, mean, variance = gpu.launch("batch_norm", x, gamma, gamma, epsilon=1e-3)
    betas = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    cases: dict[str, tuple[int, Callable[[], Any]]] = {
        "copy": (2 * x.nbytes, lambda: gpu.launch("assign", y, x)),
        "relu": (2 * x.nbytes, lambda: gpu.launch("relu", x, out=y)),
        "batch_norm": (3 * x.nbytes, lambda: gpu.launch("batch_norm", x, gamma, gamma, epsilon=1e-3)),
        "batch_norm_gradient": (
            5 * x.nbytes,
            lambda: gpu.launch("batch_norm_gradient", x, x, gamma, mean, variance, epsilon=1e-3),
        ),
        "max_pool2d": (x.nbytes + 5 * x.nbytes // 16, lambda: gpu.launch("max_pool2d", x, **pool)),
        "dropout": (2 * x.nbytes, lambda: gpu.launch("dropout", x, state, rate=0.25, out=y)),
        "adam": (7 * 4 * size, lambda: gpu.launch("adam", *flat, None, rate, step, **betas)),
        "column_sum": (x.nbytes, lambda: gpu.launch("column_sum", x)),
        "sparse_softmax_cross_entropy": (
            2 * logits.nbytes,
            lambda: gpu.launch("sparse_softmax_cross_entropy", logits, labels),
        ),
    }
    for name, (moved, call) in cases.items():
        sizes = {"adam": f"parameters/{size}", "sparse_softmax_cross_entropy": "rows/1024"}
        yield {
            "kernel": name,
            "case": sizes.get(name, f"images/{batch}"),
            "work": {"flop": 0, "bytes": moved},
            "times": compare(clock, {"gradlite": call}),
        }


def ceilings(gpu: Any, clock: Clock, small: bool, torch: Any) -> dict[str, float]:
    """Gigabytes copied a second, products of the vendor's in every precision, microseconds of a launch."""
    size, side, calls = (1000, 8, 5) if small else (2**27, 8192, 2000)
    source, target = gpu.full((size,), 1), gpu.empty((size,), np.float32)
    a, b, out = (gpu.full((side, side), 1) for _ in range(3))
    vendors: dict[str, Callable[[], Any]] = {
        "copy_gb_s": lambda: target.fill(0) if small else gpu.xp.copyto(target, source),
        "sgemm_exact_gflop_s": lambda: gpu.xp.matmul(a, b, out=out),
    }
    if torch is not None:
        vendors["sgemm_gflop_s"] = torch_product(torch, a, b, "high")
        vendors["bf16_gflop_s"] = torch_product(torch, a, b, "medium")
    found = {}
    for name, call in vendors.items():
        call()
        amount = 2 * source.nbytes if name == "copy_gb_s" else 2 * side**3
        found[name] = 1e-3 * amount / min(clock.between(call, 1) for _ in range(3 if small else 7))
    # Without PyTorch there is no TF32 of the vendor's.
    found.setdefault("sgemm_gflop_s", found["sgemm_exact_gflop_s"])
    x, y = gpu.full((1,), 1), gpu.empty((1,), np.float32)
    gpu.synchronize()
    start = perf_counter()
    for _ in range(calls):
        gpu.launch("relu", x, out=y)
    found["launch_us"] = 1e6 * (perf_counter() - start) / calls
    gpu.synchronize()
    return found


def main() -> None:
    """Print a line of JSON for the ceilings and for each kernel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="tiny sizes: a check of the benchmark itself")
    small = parser.parse_args().small
    gpu = get_backend("gpu")
    torch = optional_torch()
    clock = Clock(gpu, 2 if small else LAUNCHES)
    with on_stream(gpu, torch):
        print(json.dumps({"ceilings": ceilings(gpu, clock, small, torch)}), flush=True)
        for rows in (
            others(gpu, clock, small),
            products(gpu, clock, small, torch),
            convolutions(gpu, clock, small, torch),
        ):
            for row in rows:
                print(json.dumps(row), flush=True)


def on_stream(gpu: Any, torch: Any) -> Any:
    """PyTorch launches on the backend's stream too, so that one pair of events measures both."""
    from contextlib import ExitStack

    stack = ExitStack()
    stack.enter_context(gpu.stream)
    if torch is not None:
        stack.enter_context(torch.cuda.stream(torch.cuda.ExternalStream(gpu.stream.ptr)))
        stack.enter_context(torch.no_grad())
    return stack


def optional_torch() -> Any:
    """PyTorch with CUDA, or None."""
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


if __name__ == "__main__":
    main()
