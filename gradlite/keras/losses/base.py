"""Loss: conversion, sample weights and reduction around a function of labels and predictions."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradlite import ops
from gradlite.backends.dtypes import FLOAT_KINDS
from gradlite.keras.backend import floatx
from gradlite.keras.utils.naming import unique_name
from gradlite.tensor import Tensor

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)
MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")

# What each of our loss functions has besides its values, by function: a check of the labels (see labels.py), the
# function of single elements of which it is the mean over the last axis, and one that computes the mean over a batch in
# one piece, or gives None where it cannot.
LABEL_CHECKS: dict[Callable[..., Any], Callable[..., None]] = {}
ELEMENTS: dict[Callable[..., Any], Callable[..., Tensor]] = {}
BATCH_MEANS: dict[Callable[..., Any], Callable[..., Tensor | None]] = {}


class Loss:
    """Base of all losses: ``loss(y_true, y_pred, sample_weight=None)``.

    A loss of your own overrides ``call(y_true, y_pred)``, which gets Tensors and returns one value for each sample
    (or for each element); weights and reduction are taken care of here.

    Args:
        name: the name in messages; by default the class's, in snake case.
        reduction: ``"sum_over_batch_size"`` and ``"mean"`` divide the weighted sum by the number of values,
            ``"mean_with_sample_weight"`` by the sum of the weights; ``"sum"``; ``"none"`` or None keep all values.
        dtype: what predictions are converted to. By default float32 and float64 stay and everything else becomes
            ``keras.backend.floatx()``.

    >>> import gradlite
    >>> from gradlite import keras
    >>> class Linear(keras.losses.Loss):
    ...     def call(self, y_true, y_pred):
    ...         return gradlite.mean(gradlite.abs(y_true - y_pred), axis=-1)
    >>> Linear()([[0.0], [0.0]], [[1.0], [3.0]]).item()
    2.0
    """

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        if reduction not in REDUCTIONS:
            raise ValueError(
                f"Invalid value for argument `reduction`: {reduction!r}. "
                f"Expected one of {', '.join(map(repr, REDUCTIONS))}."
            )
        self.name = name or unique_name(type(self).__name__)
        self.reduction = reduction
        self._dtype = None if dtype is None else np.dtype(getattr(dtype, "compute_dtype", dtype))

    @property
    def dtype(self) -> str:
        """The name of the type that the loss is computed in, for float32 models."""
        return floatx() if self._dtype is None else self._dtype.name

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        y_true, y_pred = self._converted(y_true, y_pred)
        losses = self.call(y_true, y_pred)
        return reduce_losses(losses, sample_weight, self.mask(y_true, y_pred), self.reduction)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """One loss for each sample (n, ...), before weights and reduction."""
        raise NotImplementedError(f"{type(self).__name__} needs a method `call(self, y_true, y_pred)`.")

    def mask(self, y_true: Any, y_pred: Any) -> Tensor | None:
        """Which of the values that ``call`` returns count (booleans); None for all. Means are taken over those."""
        return None

    def check_labels(self, y_true: np.ndarray, output_shape: Sequence[int | None], name: str = "") -> None:
        """Raise ValueError, naming a loss that would fit, for labels that cannot be meant for this one.

        Called once by ``fit`` before its first step, with labels on the host. This base class accepts everything.

        Args:
            y_true: the labels (n, ...), or some of them.
            output_shape: the shape (n or None, ...) of the model's output.
            name: the output's name, for the message.
        """

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        """The loss that ``get_config`` described."""
        return cls(**config)

    def _converted(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Labels and predictions as Tensors on one device; dicts and lists of arrays are left as they are."""
        if _is_structure(y_pred):
            return y_true, y_pred
        y_pred = as_prediction(y_pred, self._dtype)
        return (y_true if _is_structure(y_true) else as_labels(y_true, y_pred)), y_pred


class LossFunctionWrapper(Loss):
    """A Loss from a function ``fn(y_true, y_pred, **kwargs)`` that returns one value for each sample.

    >>> import gradlite
    >>> from gradlite import keras
    >>> loss = keras.losses.LossFunctionWrapper(lambda y_true, y_pred: gradlite.square(y_pred - y_true), name="squares")
    >>> loss([1.0, 2.0], [1.0, 4.0]).item()
    2.0
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.fn = fn
        self._fn_kwargs = kwargs
        # The mean over samples of means over the last axis is one mean over everything, which saves an operation.
        self._elements = ELEMENTS.get(fn) if self.reduction in MEANS else None
        self._mean = BATCH_MEANS.get(fn) if self.reduction in MEANS else None
        self._element_kwargs = {key: value for key, value in kwargs.items() if key != "axis"}

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        if sample_weight is not None or (self._elements is None and self._mean is None):
            return super().__call__(y_true, y_pred, sample_weight)
        y_true, y_pred = self._converted(y_true, y_pred)
        if self._elements is not None:
            return mean_or_zero(self._elements(y_true, y_pred, **self._element_kwargs))
        assert self._mean is not None
        whole = None if _is_structure(y_pred) else self._mean(y_true, y_pred, **self._fn_kwargs)
        return super().__call__(y_true, y_pred, sample_weight) if whole is None else whole

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        if isinstance(y_true, Tensor) and isinstance(y_pred, Tensor):
            y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def check_labels(self, y_true: np.ndarray, output_shape: Sequence[int | None], name: str = "") -> None:
        check = LABEL_CHECKS.get(self.fn)
        if check is not None:
            given = {key: self._fn_kwargs[key] for key in inspect.signature(check).parameters if key in self._fn_kwargs}
            check(y_true, output_shape, name, **given)

    def get_config(self) -> dict[str, Any]:
        from gradlite.keras.saving import serialize_keras_object

        return {
            **super().get_config(),
            "fn": serialize_keras_object(self.fn),
            **serialize_keras_object(self._fn_kwargs),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        from gradlite.keras.saving import deserialize_keras_object

        return cls(**(deserialize_keras_object(config) if "fn" in config else config))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name!r}, reduction={self.reduction!r}>"


class NamedLoss(LossFunctionWrapper):
    """A loss of this package: its config holds the constructor's arguments, not the function."""

    def get_config(self) -> dict[str, Any]:
        return {**Loss.get_config(self), **self._fn_kwargs}


def _is_structure(x: Any) -> bool:
    """Whether ``x`` holds several arrays, for a user's loss to take apart; lists of numbers are one array."""
    return isinstance(x, dict) or (isinstance(x, (list, tuple)) and any(hasattr(part, "shape") for part in x))


def as_prediction(y_pred: Any, dtype: np.dtype | None = None) -> Tensor:
    """``y_pred`` as a floating-point Tensor wide enough for a loss, still knowing the logits it came from."""
    if not isinstance(y_pred, Tensor):
        y_pred = Tensor(y_pred)
    if dtype is None:
        held = y_pred.data.dtype
        if held == np.float32 or held == np.float64:
            return y_pred
        dtype = np.dtype(floatx())
    if y_pred.data.dtype == dtype:
        return y_pred
    converted = ops.astype(y_pred, dtype)
    if y_pred.logits is not None:
        activation, x = y_pred.logits
        converted.logits = (activation, ops.astype(x, dtype))
    return converted


def as_labels(y_true: Any, y_pred: Tensor) -> Tensor:
    """``y_true`` as a Tensor, in its own dtype, on the device of ``y_pred``."""
    return y_true if isinstance(y_true, Tensor) else Tensor(y_true, device=y_pred.backend)


def same_rank_pair(y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
    """Labels and predictions as Tensors of one dtype and rank, for a loss that compares them element by element.

    Raises:
        ValueError: where shapes do not fit; NumPy's broadcasting would pair labels with the wrong predictions.
    """
    y_pred = as_prediction(y_pred)
    y_true = ops.astype(as_labels(y_true, y_pred), y_pred.data.dtype)
    if y_true.data.shape == y_pred.data.shape:
        return y_true, y_pred
    y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
    fits = y_true.ndim == y_pred.ndim and all(1 in (a, b) or a == b for a, b in zip(y_true.shape, y_pred.shape))
    if not fits and y_true.ndim:
        raise ValueError(
            f"y_true and y_pred must have the same shape. Received: y_true of shape {y_true.shape} and y_pred of shape "
            f"{y_pred.shape}." + class_number_hint(y_true.shape, y_pred.shape)
        )
    return y_true, y_pred


def class_number_hint(
    labels: Sequence[int | None], outputs: Sequence[int | None], sparse: str = "sparse_categorical_crossentropy"
) -> str:
    """What to say where labels have no axis for the classes that the predictions have."""
    bare = labels[:-1] if len(labels) == len(outputs) and labels[-1] == 1 else labels
    if tuple(bare) != tuple(outputs[:-1]) or outputs[-1] == 1:
        return ""
    return f" If the labels are class numbers, use {sparse!r} or `keras.utils.to_categorical(y, {outputs[-1]})`."


def squeeze_or_expand_to_same_rank(x1: Tensor, x2: Tensor, expand_rank_1: bool = True) -> tuple[Tensor, Tensor]:
    """Two tensors whose ranks differ by one, with a last axis of length 1 removed or added so that they agree.

    The longer one loses its last axis; if the shorter has rank 1 it gains one instead (``expand_rank_1``). Tensors of
    equal rank, or without such an axis, are returned as they are. Logits that a tensor remembers change along.

    >>> import gradlite
    >>> from gradlite.keras.losses.base import squeeze_or_expand_to_same_rank
    >>> a, b = squeeze_or_expand_to_same_rank(gradlite.zeros(3), gradlite.zeros((3, 1)))
    >>> a.shape, b.shape
    ((3, 1), (3, 1))
    """
    if x1.data.ndim == x2.data.ndim:
        return x1, x2
    if x1.ndim == x2.ndim + 1 and x1.shape[-1] == 1:
        if x2.ndim == 1 and expand_rank_1:
            return x1, ops.expand_dims(x2, -1)
        return _without_last_axis(x1), x2
    if x2.ndim == x1.ndim + 1 and x2.shape[-1] == 1:
        if x1.ndim == 1 and expand_rank_1:
            return ops.expand_dims(x1, -1), x2
        return x1, _without_last_axis(x2)
    return x1, x2


def _without_last_axis(x: Tensor) -> Tensor:
    result = ops.squeeze(x, -1)
    if x.logits is not None and x.logits[0] == "sigmoid":
        result.logits = ("sigmoid", ops.squeeze(x.logits[1], -1))
    return result


def reduce_losses(losses: Any, sample_weight: Any, mask: Tensor | None, reduction: str | None) -> Tensor:
    """Weighted and masked values (n, ...) reduced to a scalar, or all of them for no reduction."""
    losses = ops.as_tensor(losses)
    if losses.dtype.kind not in FLOAT_KINDS:
        losses = ops.astype(losses, floatx())
    if sample_weight is None and mask is None:
        if reduction in MEANS:
            return mean_or_zero(losses)
        return ops.sum(losses) if reduction == "sum" else losses
    weights = None if sample_weight is None else align_weights(sample_weight, losses)
    if mask is not None:
        kept = ops.astype(mask, losses.dtype)
        weights = kept if weights is None else weights * kept
    assert weights is not None
    weighted = losses * weights
    if reduction in ("none", None):
        return weighted
    total = ops.sum(weighted)
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight":
        # Each weight counts as often as it is used, so that this is a mean also for one weight per row of values.
        return divide_or_zero(total, ops.sum(weights) * (losses.size / max(weights.size, 1)))
    if mask is not None:
        return divide_or_zero(total, ops.sum(kept))
    return total * (1.0 / max(losses.size, 1))


def align_weights(sample_weight: Any, values: Tensor) -> Tensor:
    """Weights shaped so that they multiply ``values`` sample by sample: (n,) becomes (n, 1, 1) for values (n, h, w).

    Raises:
        ValueError: if the weights have neither the shape of the values nor that of their leading axes.
    """
    weights = sample_weight if isinstance(sample_weight, Tensor) else Tensor(sample_weight, device=values.backend)
    weights = ops.astype(weights, values.data.dtype if values.data.dtype.kind in FLOAT_KINDS else floatx())
    if weights.data.shape == values.data.shape:
        return weights
    given, wanted = weights.shape, values.shape
    shape = given
    while len(shape) > len(wanted) and shape[-1] == 1:
        shape = shape[:-1]
    shape = shape + (1,) * (len(wanted) - len(shape))
    if len(shape) != len(wanted) or any(a not in (1, b) for a, b in zip(shape, wanted)):
        raise ValueError(
            f"sample_weight of shape {given} does not fit losses of shape {wanted}: give one weight for each sample, "
            f"{wanted[:1]}, or one for each loss."
        )
    return ops.reshape(weights, shape) if shape != given else weights


def mean_or_zero(values: Tensor) -> Tensor:
    """The mean of all elements; 0 where there are none."""
    return ops.mean(values) if math.prod(values.data.shape) else ops.sum(values)


def divide_or_zero(total: Tensor, count: Tensor) -> Tensor:
    """``total / count``, and 0 where ``count`` is 0, without reading either on the host."""
    empty = ops.equal(count, 0)
    return ops.where(empty, 0.0, total / ops.where(empty, 1.0, count))
