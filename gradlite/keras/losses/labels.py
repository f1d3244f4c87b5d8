"""Checks of labels against a loss and an output's shape, on the host, before training starts.

Each raises a ValueError that says what was received and names the loss or conversion that would fit. They are called
as ``check(y_true, output_shape, name, **arguments of the loss that it asks for)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Shape = Sequence[int | None]


def check_same_shape(y_true: np.ndarray, output_shape: Shape, name: str = "") -> None:
    """Numbers, one for each unit of the output; an axis of length 1 at the end may be missing on either side."""
    _require_numbers(y_true, name)
    if not _match(y_true.shape, output_shape, optional_last=True):
        raise ValueError(
            f"{_found(y_true, output_shape, name)} They must have the same shape."
            + _class_numbers(y_true, output_shape)
        )


def check_counts(y_true: np.ndarray, output_shape: Shape, name: str = "") -> None:
    """Counts for the Poisson loss: as ``check_same_shape``, and not negative."""
    check_same_shape(y_true, output_shape, name)
    if y_true.size and y_true.min() < 0:
        raise ValueError(
            f"{_found(y_true, output_shape, name)} The Poisson loss is for counts, which are not negative; the least "
            f"label is {y_true.min()}. For real values use 'mean_squared_error'."
        )


def check_binary(y_true: np.ndarray, output_shape: Shape, name: str = "") -> None:
    """Numbers in [0, 1], one for each unit of the output."""
    _require_numbers(y_true, name)
    found = _found(y_true, output_shape, name)
    if not _match(y_true.shape, output_shape, optional_last=True):
        raise ValueError(
            f"{found} binary_crossentropy needs one label between 0 and 1 for each output unit."
            + _class_numbers(y_true, output_shape)
        )
    if not y_true.size:
        return
    low, high = y_true.min(), y_true.max()
    if low < 0 or high > 1:
        raise ValueError(f"{found} binary_crossentropy needs labels between 0 and 1. {_binary_hint(y_true, low, high)}")


def _binary_hint(y_true: np.ndarray, low: Any, high: Any) -> str:
    seen = f"They go from {low} to {high}."
    if low == -1 and high <= 1 and np.isin(y_true, (-1, 1)).all():
        return f"{seen} Labels of -1 and 1 fit 'hinge', or become 0 and 1 by (y + 1) / 2."
    if low >= 0 and high > 1 and high <= 255 and y_true.ndim > 2:
        return f"{seen} Images fit after y / 255."
    if low >= 0 and np.array_equal(y_true, np.floor(y_true)):
        return (
            f"{seen} For {int(high) + 1} classes use 'sparse_categorical_crossentropy' and an output of "
            f"{int(high) + 1} units with softmax."
        )
    return f"{seen} For real values use a loss such as 'mean_squared_error'."


def check_one_hot(y_true: np.ndarray, output_shape: Shape, name: str = "", axis: int = -1) -> None:
    """One number for each class: one-hot rows, or distributions."""
    _require_numbers(y_true, name)
    found, classes = _found(y_true, output_shape, name), output_shape[axis]
    if classes == 1:
        raise ValueError(
            f"{found} With one unit there is one class, and nothing to learn. Use 'binary_crossentropy' with a sigmoid "
            "unit for two classes, or an output of one unit for each class."
        )
    if _match(y_true.shape, output_shape):
        return
    if _is_class_numbers(y_true, output_shape, axis):
        raise ValueError(
            f"{found} categorical_crossentropy needs one-hot labels; these are class numbers. Use "
            f"'sparse_categorical_crossentropy', or `keras.utils.to_categorical(y, {classes})`."
        )
    raise ValueError(f"{found} categorical_crossentropy needs one-hot labels in the shape of the output.")


def check_class_numbers(
    y_true: np.ndarray, output_shape: Shape, name: str = "", ignore_class: int | None = None, axis: int = -1
) -> None:
    """Whole numbers in [0, classes), without an axis for the classes (or with one of length 1)."""
    _require_numbers(y_true, name)
    found, classes = _found(y_true, output_shape, name), output_shape[axis]
    if classes == 1:
        raise ValueError(
            f"{found} sparse_categorical_crossentropy needs one unit for each class; one unit cannot tell classes "
            "apart. Use 'binary_crossentropy' with a sigmoid unit for two classes, or an output of more units."
        )
    if not _is_class_numbers(y_true, output_shape, axis):
        if _match(y_true.shape, output_shape):
            raise ValueError(
                f"{found} sparse_categorical_crossentropy needs class numbers; these labels have one value for each "
                f"class. Use 'categorical_crossentropy', or np.argmax(y, axis={axis})."
            )
        expected = _without(output_shape, axis)
        raise ValueError(f"{found} sparse_categorical_crossentropy needs labels of shape {_show(expected)}.")
    if y_true.dtype.kind == "f" and not np.array_equal(y_true, np.floor(y_true)):
        raise ValueError(
            f"{found} sparse_categorical_crossentropy needs whole class numbers; some labels are fractions. For real "
            "values use a loss such as 'mean_squared_error'."
        )
    _require_range(y_true, int(classes) if classes is not None else None, ignore_class, found)


def _require_range(y_true: np.ndarray, classes: int | None, ignore_class: int | None, found: str) -> None:
    seen = y_true if ignore_class is None else y_true[y_true != ignore_class]
    if not seen.size or classes is None:
        return
    low, high = int(seen.min()), int(seen.max())
    if low >= 0 and high < classes:
        return
    if low == 1 and high == classes:
        hint = "Count classes from 0: use y - 1."
    elif low < 0 and ignore_class is None and high < classes:
        hint = f"If {low} marks labels to leave out, use SparseCategoricalCrossentropy(ignore_class={low})."
    else:
        hint = f"The output needs {high + 1} units for the class numbers 0 to {high}." if low >= 0 else ""
    seen_range = f"Class numbers must lie between 0 and {classes - 1}; they go from {low} to {high}."
    raise ValueError(f"{found} {seen_range} {hint}".rstrip())


def _require_numbers(y_true: np.ndarray, name: str) -> None:
    if y_true.dtype.kind not in "fiub":
        raise ValueError(
            f"The labels{_of(name)} have dtype {y_true.dtype}; a loss needs numbers. For names of classes use class "
            "numbers: `classes, y = np.unique(labels, return_inverse=True)`."
        )
    if y_true.dtype.kind == "f" and np.isnan(y_true).any():
        raise ValueError(f"The labels{_of(name)} contain NaN, which would make every loss and weight NaN.")


def _match(labels: Shape, outputs: Shape, optional_last: bool = False) -> bool:
    """Whether shapes agree behind the batch axis; lengths that are not known agree with any."""
    labels, outputs = tuple(labels[1:]), tuple(outputs[1:])
    if optional_last and len(labels) != len(outputs):
        longer, shorter = (labels, outputs) if len(labels) > len(outputs) else (outputs, labels)
        if longer[-1] != 1:
            return False
        labels, outputs = longer[:-1], shorter
    return len(labels) == len(outputs) and all(a is None or b is None or a == b for a, b in zip(labels, outputs))


def _without(shape: Shape, axis: int) -> tuple[int | None, ...]:
    axis %= len(shape)
    return tuple(n for i, n in enumerate(shape) if i != axis)


def _is_class_numbers(y_true: np.ndarray, output_shape: Shape, axis: int = -1) -> bool:
    """Whether the shape is that of the output without its class axis, or with length 1 there."""
    shape = y_true.shape
    if len(shape) == len(output_shape) and shape[axis] == 1 and output_shape[axis] != 1:
        shape = tuple(int(n or 0) for n in _without(shape, axis))
    return _match(shape, _without(output_shape, axis))


def _class_numbers(y_true: np.ndarray, output_shape: Shape) -> str:
    """The hint for labels that look like class numbers, beside an output of one unit for each class."""
    whole = y_true.dtype.kind in "iub" or np.array_equal(y_true, np.floor(y_true))
    if output_shape[-1] == 1 or not whole or not _is_class_numbers(y_true, output_shape):
        return ""
    return (
        f" If the labels are numbers of {output_shape[-1]} classes, use 'sparse_categorical_crossentropy', or convert "
        f"them with `keras.utils.to_categorical(y, {output_shape[-1]})`."
    )


def _of(name: str) -> str:
    return f" of output {name!r}" if name else ""


def _show(shape: Shape) -> str:
    """A shape with its batch axis as n."""
    lengths = ["n", *(str(length) for length in shape[1:])]
    return f"({', '.join(lengths)}{',' if len(lengths) == 1 else ''})"


def _found(y_true: np.ndarray, output_shape: Shape, name: str) -> str:
    return f"The labels{_of(name)} have shape {_show(y_true.shape)}, the output has shape {_show(output_shape)}."
