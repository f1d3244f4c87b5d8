"""Checks before anything is changed: lengths, labels, missing numbers, and arguments in the wrong place."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradlite import ops
from gradlite.autograd import no_grad
from gradlite.backends import gpu_of
from gradlite.tensor import Tensor
from gradlite.training.structure import flatten, map_structure, named


def check_lengths(**parts: Any) -> int:
    """The number of samples, which must be the same in all arrays, and not 0."""
    sizes = {}
    for name, part in parts.items():
        for label, array in named(part, name):
            if not getattr(array, "shape", ()):
                raise ValueError(
                    f"{label} must hold one entry for each sample. Received: {type(array).__name__} {array!r}."
                )
            sizes[label] = array.shape[0]
    if len(set(sizes.values())) > 1:
        listed = "; ".join(f"{label}: {size}" for label, size in sizes.items())
        raise ValueError(
            f"Data cardinality is ambiguous. Make sure all arrays contain the same number of samples. Sizes: {listed}."
        )
    size = next(iter(sizes.values()), 0)
    if size == 0:
        raise ValueError(f"No data: an empty array was given for {' and '.join(sizes) or 'x'}.")
    return size


def warn_of_missing_numbers(**parts: Any) -> None:
    """Warn, naming the array, where data holds NaN or infinity: training on it makes every weight NaN."""
    for name, part in parts.items():
        for label, array in named(part, name):
            on_device = isinstance(array, Tensor) or gpu_of(array) is not None
            values = Tensor(array) if on_device else Tensor(np.asarray(array), device="cpu")
            # A sum is the cheapest look at every element: one NaN or infinity makes it so. (Overflow only asks again.)
            with np.errstate(over="ignore", invalid="ignore"), no_grad():
                suspicious = values.dtype.kind == "f" and not np.isfinite(float(values.sum()))
            if not suspicious:
                continue
            with no_grad():
                nans, infinities = (int(ops.count_nonzero(test(values))) for test in (ops.isnan, ops.isinf))
            if nans or infinities:
                warnings.warn(
                    f"{label} holds {nans} NaN and {infinities} infinite numbers of {values.size}: "
                    "the loss will not be a number. Clean the data first, for instance with np.nan_to_num.",
                    stacklevel=3,
                )


def weights_of_classes(class_weight: Any, y: Any, sample_weight: Any) -> np.ndarray:
    """The weight of each sample by its class: class numbers (n,) or (n, 1), or one-hot rows (n, k)."""
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight must be a dict from class numbers to weights. Received: {class_weight!r}.")
    if sample_weight is not None:
        raise ValueError("class_weight and sample_weight cannot be used together: multiply them into sample_weight.")
    if len(flatten(y)) != 1:
        raise ValueError("class_weight needs a model with one output and labels for it.")
    given = flatten(y)[0]
    labels = given.numpy() if isinstance(given, Tensor) else np.asarray(given)
    if labels.ndim > 2:
        raise ValueError(f"class_weight needs one label for each sample. Received: labels of shape {labels.shape}.")
    if labels.ndim == 2:
        labels = labels[:, 0] if labels.shape[1] == 1 else labels.argmax(axis=1)
    weights = np.ones(labels.shape, np.float32)
    for number, weight in class_weight.items():
        weights[labels == number] = weight
    return weights


def check_compile_arguments(loss_weights: Any) -> None:
    """Catch metrics given in the place of ``loss_weights``, the third argument, where tf.keras 2 had metrics."""
    for entry in flatten(loss_weights):
        if not isinstance(entry, (int, float, np.number)):
            raise ValueError(
                f"compile() received {entry!r} as loss_weights, its third argument. If it is meant as a metric, name "
                "the argument: compile(optimizer, loss, metrics=[...])."
            )


def check_steps_per_execution(steps: Any) -> None:
    """Raise ValueError for what is neither "auto" nor a number of steps."""
    whole = isinstance(steps, (int, np.integer)) and not isinstance(steps, bool)
    if steps != "auto" and not (whole and steps >= 1):
        raise ValueError(f"steps_per_execution must be a positive integer or 'auto'. Received: {steps!r}.")


def split_validation(
    split: float, x: Any, y: Any, sample_weight: Any
) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """The data without its last ``split`` part, and that part, which is taken before shuffling."""
    if not 0 < split < 1:
        raise ValueError(f"validation_split must be between 0 and 1. Received: validation_split={split}.")
    size = check_lengths(x=x, y=y, sample_weight=sample_weight)
    cut = int(np.floor(size * (1 - split)))
    if cut in (0, size):
        raise ValueError(f"validation_split={split} of {size} samples leaves nothing for one of the parts.")
    parts = (x, y, sample_weight)
    head = tuple(map_structure(lambda a: a[:cut], part) for part in parts)
    tail = tuple(map_structure(lambda a: a[cut:], part) for part in parts)
    return head, tail
