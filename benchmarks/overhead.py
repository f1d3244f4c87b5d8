"""What an operation costs besides its arithmetic: ``python -m benchmarks.overhead``.

Forward and backward of one operation on a tensor of one float32, in gradlite and in what else is installed, in turns;
medians and minima over many. The tensors hold one element, so all of it is the library. NumPy, which does the same
arithmetic once and knows no gradient, says how fast the machine is.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Step = Callable[[], None]


def tape_steps(x: Any, constant: Any, exponential: Callable[[Any], Any]) -> dict[str, Step]:
    """exp, multiply and add, forward and backward, of a library with tensors and ``backward``."""

    def exp() -> None:
        x.grad = None
        exponential(x).backward()

    def multiply() -> None:
        x.grad = None
        (x * constant).backward()

    def add() -> None:
        x.grad = None
        (x + constant).backward()

    return {"exp": exp, "multiply": multiply, "add": add}


def gradlite_steps() -> dict[str, Step]:
    """The steps in gradlite."""
    import gradlite

    return tape_steps(gradlite.Tensor([1.5], requires_grad=True), gradlite.Tensor([2.0]), gradlite.exp)


def torch_steps() -> dict[str, Step]:
    """The steps in PyTorch."""
    import torch

    return tape_steps(torch.tensor([1.5], requires_grad=True), torch.tensor([2.0]), torch.exp)


def autograd_steps() -> dict[str, Step]:
    """The steps in HIPS autograd, whose gradient functions are made once."""
    import autograd
    import autograd.numpy as anp

    x, constant = np.array([1.5], np.float32), np.array([2.0], np.float32)
    functions = {
        "exp": autograd.elementwise_grad(anp.exp),
        "multiply": autograd.elementwise_grad(lambda v: v * constant),
        "add": autograd.elementwise_grad(lambda v: v + constant),
    }
    return {name: (lambda f=f: f(x)) for name, f in functions.items()}  # type: ignore[misc]


def numpy_steps() -> dict[str, Step]:
    """The operations in NumPy, forward alone."""
    x, constant = np.array([1.5], np.float32), np.array([2.0], np.float32)
    return {
        "exp": lambda: np.exp(x),
        "multiply": lambda: np.multiply(x, constant),
        "add": lambda: np.add(x, constant),
    }


LIBRARIES = {"gradlite": gradlite_steps, "pytorch": torch_steps, "autograd": autograd_steps, "numpy": numpy_steps}


def measure(rounds: int, repeats: int) -> dict[str, dict[str, list[float]]]:
    """Microseconds of every operation in every library that is installed, a number for each round."""
    steps = {}
    for name, make in LIBRARIES.items():
        try:
            steps[name] = make()
        except ImportError:
            print(f"Not installed, so not measured: {name}.")
    samples: dict[str, dict[str, list[float]]] = {name: {op: [] for op in ops} for name, ops in steps.items()}
    for _ in range(rounds):
        for name, ops in steps.items():
            for op, step in ops.items():
                start = time.perf_counter()
                for _ in range(repeats):
                    step()
                samples[name][op].append((time.perf_counter() - start) / repeats * 1e6)
    return samples


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--repeats", type=int, default=200, help="calls of a round")
    options = parser.parse_args(arguments)
    results = measure(options.rounds, options.repeats)
    operations = list(next(iter(results.values())))
    print("forward and backward of one operation, one element, us: median (minimum)")
    print(" " * 12 + "".join(f"{op:>18}" for op in operations))
    for name, samples in results.items():
        cells = [f"{statistics.median(times):.2f} ({min(times):.2f})" for times in samples.values()]
        print(f"{name:12}" + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()
