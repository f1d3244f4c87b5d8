"""What Keras prints and how it names things, recorded as text: summaries, progress bars, layer names.

The functions take the keras package (Keras's or gradlite's) and return text; time is what the case says it is.
"""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import trajectory_cases


@dataclass(frozen=True)
class ProgressCase:
    """Updates of a `Progbar`: (seconds on the clock, step, [(name, value)], finalize)."""

    name: str
    target: int | None
    updates: list[tuple[float, int, list[tuple[str, float]], bool | None]]
    options: dict[str, Any] = field(default_factory=dict)


def _steady(steps: int, seconds: float, last: bool = True) -> list[tuple[float, int, list[tuple[str, float]], Any]]:
    updates = [
        (1000.0 + seconds * step, step, [("accuracy", 0.1 * step / steps), ("loss", 2.5 / step)], False)
        for step in range(1, steps + 1)
    ]
    final = (1000.0 + seconds * steps, steps, [("accuracy", 0.75), ("loss", 0.5), ("val_loss", 0.625)], True)
    return [*updates, final] if last else updates


PROGRESS = [
    ProgressCase("five_slow_steps", 5, _steady(5, 1.5)),
    ProgressCase("five_quick_steps", 5, _steady(5, 0.06)),
    ProgressCase("faster_than_the_interval", 20, _steady(20, 0.01)),
    ProgressCase("microseconds", 1000, [(1000.0, 1, [], False), (1000.1, 1000, [("loss", 0.25)], True)]),
    ProgressCase("minutes_left", 100, _steady(100, 2.0, last=False)[:3]),
    ProgressCase("hours_left", 10000, _steady(10000, 2.0, last=False)[:3]),
    ProgressCase("small_and_large_values", 2, [
        (1001.0, 1, [("loss", 1e-5), ("mae", 0.001), ("big", 123456.789)], False),
        (1002.0, 2, [("loss", 2e-5), ("mae", 0.0011), ("negative", -0.5)], True),
    ]),
    ProgressCase("unknown_length", None, _steady(4, 0.5, last=False)),
    ProgressCase("one_line", 25, _steady(25, 0.1), {"verbose": 2}),
    ProgressCase("silent", 5, _steady(5, 1.0), {"verbose": 0}),
    ProgressCase("running_means", 4, [
        (1001.0, 1, [("loss", 4.0)], None),
        (1002.0, 2, [("loss", 2.0)], None),
        (1003.0, 4, [("loss", 1.0)], None),
    ]),
]  # fmt: skip


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def progress_text(keras: Any, clock: str, case: ProgressCase) -> str:
    """Everything the bar writes to a terminal; `clock` is the dotted name of the time function it reads."""
    moment = [1000.0]
    options = dict(case.options)
    if case.name != "running_means":
        options["stateful_metrics"] = {name for _, _, values, _ in case.updates for name, _ in values}
    with mock.patch(clock, side_effect=lambda: moment[0]), redirect_stdout(Terminal()) as stream:
        bar = keras.utils.Progbar(case.target, **options)
        for moment[0], step, values, finalize in case.updates:
            bar.update(step, values, finalize=finalize)
    return stream.getvalue()


def unbuilt(keras: Any) -> Any:
    return keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)], name="unbuilt")


def frozen(keras: Any) -> Any:
    model = trajectory_cases.mnist_network(keras)
    model.layers[0].trainable = False
    return model


def nested(keras: Any) -> Any:
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="inner")
    return keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(1)], name="outer")


def trained(keras: Any) -> Any:
    model = trajectory_cases.build(keras, trajectory_cases.TrajectoryCase("text", "mnist", "Adam"))
    model.train_on_batch(*trajectory_cases.batch("mnist", 0))
    return model


SUMMARIES: list[tuple[str, Any, dict[str, Any]]] = [
    ("mnist", trajectory_cases.mnist_network, {}),
    ("shallow_vgg", trajectory_cases.shallow_vgg, {}),
    ("unbuilt", unbuilt, {}),
    ("trained", trained, {}),
    ("frozen", frozen, {"show_trainable": True}),
    ("nested", nested, {}),
    ("nested_expanded", nested, {"expand_nested": True}),
    ("narrow", trajectory_cases.mnist_network, {"line_length": 60}),
]


def summary_text(keras: Any, make: Any, options: dict[str, Any]) -> str:
    """The text that `summary` hands to `print_fn`, with names starting afresh."""
    keras.utils.clear_session()
    received: list[str] = []
    make(keras).summary(print_fn=received.append, **options)
    (text,) = received
    return text


NAMED = [
    "Conv2D", "Conv2D", "MaxPooling2D", "BatchNormalization", "ReLU", "PReLU", "ELU", "LeakyReLU", "Dense", "Dense",
    "UpSampling2D", "GlobalAveragePooling2D", "Conv2DTranspose", "ZeroPadding2D", "Flatten", "Activation",
]  # fmt: skip
NAMED_OPTIONS = {
    "Conv2D": (2, 3), "Conv2DTranspose": (2, 3), "Dense": (2,), "Activation": ("relu",),
}  # fmt: skip


def automatic_names(keras: Any) -> list[str]:
    """Names of layers made in a fresh session, and of two models."""
    keras.utils.clear_session()
    names = [getattr(keras.layers, name)(*NAMED_OPTIONS.get(name, ())).name for name in NAMED]
    return [*names, keras.Sequential().name, keras.Sequential().name]


def fit_text(keras: Any, verbose: int, epochs: int) -> str:
    """What `fit` prints, with times replaced; the interactive bar without its redrawn states."""
    case = trajectory_cases.FITS[1]
    model = trajectory_cases.fit_network(keras, case)
    x, y, _ = trajectory_cases.fit_data(3)
    with redirect_stdout(io.StringIO()) as stream:
        model.fit(x, y, batch_size=8, shuffle=False, epochs=epochs, verbose=verbose, validation_split=0.2)
        model.evaluate(x, y, verbose=verbose)
        model.predict(x, verbose=verbose)
    kept = []
    for line in stream.getvalue().split("\n"):
        text = re.sub(r"\x1b\[\d+m", "", line.replace("\b", "").split("\r")[-1])
        kept.append(re.sub(r"\d+s \d+(s|ms|us)/step", "TIME", re.sub(r"\d+s - \d+(s|ms|us)/step", "TIME", text)))
    return "\n".join(line.rstrip() for line in kept)


def all_texts(keras: Any) -> dict[str, Any]:
    """Everything of this module, from Keras."""
    clock = f"{keras.utils.Progbar.__module__}.time.time"
    return {
        "summaries": {name: summary_text(keras, make, options) for name, make, options in SUMMARIES},
        "progress": {case.name: progress_text(keras, clock, case) for case in PROGRESS},
        "fit": {f"verbose{v}_epochs{e}": fit_text(keras, v, e) for v in (1, 2) for e in (1, 2)},
        "automatic_names": automatic_names(keras),
    }
