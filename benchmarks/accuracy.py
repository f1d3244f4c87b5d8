"""How far the convolutions of the CPU are from float64, as a table; ``--readme`` puts it into README.md.

    python -m benchmarks accuracy

Errors are differences from the same convolution in float64, divided by the root mean square of its results: in the
root mean square, and the largest. Inputs are normal, kernels have a variance of 2 / fan_in, both from a fixed seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from gradlite import config
from gradlite.backends import get_backend
from gradlite.backends.registry import REFERENCE

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- accuracy:begin -->", "<!-- accuracy:end -->"
CHANNELS = (16, 64, 256)
MODES: dict[Any, str] = {True: "tiles of 4 x 4, the default", "safe": "tiles of 2 x 2", False: "plain sums"}
KERNELS = {"conv2d": "forward", "conv2d_input_gradient": "input gradient", "conv2d_weight_gradient": "weight gradient"}
PIXELS = {"batch": 8, "side": 16}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure, and print the table or write it."""
    block = f"{BEGIN}\n{table(measure())}\n{END}"
    print(block)
    if arguments.readme:
        text = README.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        README.write_text(before + block + rest.partition(END)[2], encoding="utf-8")


def measure() -> dict[tuple[str, int, Any], tuple[float, float]]:
    """(root mean square, largest) error by kernel, channels and mode."""
    found: dict[tuple[str, int, Any], tuple[float, float]] = {}
    before = config.get_winograd()
    try:
        for channels in CHANNELS:
            for name, (arrays, attributes) in _calls(channels).items():
                exact = REFERENCE[name](np, *(a.astype(np.float64) for a in arrays), **attributes)
                scale = np.sqrt(np.mean(exact**2))
                for mode in MODES:
                    config.set_winograd(mode)
                    error = (get_backend("cpu").launch(name, *arrays, **attributes) - exact) / scale
                    found[name, channels, mode] = float(np.sqrt(np.mean(error**2))), float(np.abs(error).max())
    finally:
        config.set_winograd(before)
    return found


def _calls(channels: int) -> dict[str, tuple[list[np.ndarray], dict[str, Any]]]:
    """Arrays and attributes of the three kernels, with so many channels in and out."""
    rng = np.random.default_rng(channels)
    shape = (PIXELS["batch"], PIXELS["side"], PIXELS["side"], channels)
    x, gradient = (rng.standard_normal(shape, np.float32) for _ in range(2))
    w = rng.standard_normal((3, 3, channels, channels), np.float32) * np.float32(np.sqrt(2 / (9 * channels)))
    options: dict[str, Any] = {"strides": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    return {
        "conv2d": ([x, w, np.zeros(channels, np.float32)], options),
        "conv2d_input_gradient": ([gradient, w], {**options, "input_shape": shape}),
        "conv2d_weight_gradient": ([x, gradient], {**options, "kernel_shape": w.shape}),
    }


def table(found: dict[tuple[str, int, Any], tuple[float, float]]) -> str:
    """The errors as Markdown."""
    lines = [
        f"| 3 x 3 convolution | channels | {' | '.join(MODES.values())} |",
        f"| --- | ---: | {' | '.join('---:' for _ in MODES)} |",
    ]
    for name, title in KERNELS.items():
        for channels in CHANNELS:
            cells = [f"{rms:.0e} / {largest:.0e}" for rms, largest in (found[name, channels, mode] for mode in MODES)]
            lines.append(f"| {title} | {channels} | {' | '.join(cells)} |")
    return "\n".join(lines)
