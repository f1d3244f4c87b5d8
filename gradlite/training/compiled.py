"""Losses and metrics as ``compile`` was given them, matched to the outputs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradlite.keras import losses as keras_losses
from gradlite.keras import metrics as keras_metrics
from gradlite.tensor import Tensor
from gradlite.training.structure import flatten


class CompiledLoss:
    """The total loss of a model with one output or several.

    Args:
        loss: a loss by name, function or object, for all outputs; or a list or dict of them, one for each.
        weights: a factor for each output.
    """

    def __init__(self, loss: Any, weights: Any = None) -> None:
        if isinstance(loss, dict):
            self._losses: Any = {key: _as_loss(value) for key, value in loss.items()}
        elif isinstance(loss, (list, tuple)):
            self._losses = [_as_loss(value) for value in loss]
        else:
            self._losses = _as_loss(loss)
        self._weights = weights

    def pairs(self, y: Any, y_pred: Any) -> list[tuple[Any, Any, Any, float, str]]:
        """For each output with a loss: the loss, its labels, its predictions, its factor and its name."""
        if not isinstance(y_pred, (list, tuple, dict)):
            factors = flatten(self._weights)
            loss = flatten(self._losses)[0]
            return [(loss, _only(y), y_pred, float(factors[0]) if factors else 1.0, "")]
        keys = list(y_pred) if isinstance(y_pred, dict) else list(range(len(y_pred)))
        result = []
        for key in keys:
            loss = _entry(self._losses, key, shared=True)
            if loss is not None:
                factor = 1.0 if self._weights is None else float(_entry(self._weights, key, shared=True) or 0.0)
                result.append((loss, _entry(y, key), y_pred[key], factor, str(key)))
        return result

    def __call__(self, y: Any, y_pred: Any, sample_weight: Any) -> Tensor:
        total: Any = None
        for loss, labels, predictions, factor, key in self.pairs(y, y_pred):
            value = loss(labels, predictions, sample_weight=_weight(sample_weight, key))
            if factor != 1.0:
                value = value * factor
            total = value if total is None else total + value
        return total

    def check_labels(self, y: Any, y_pred: Any) -> None:
        """Raise ValueError for labels that do not fit their loss, before any step is taken."""
        for loss, labels, predictions, _, name in self.pairs(y, y_pred):
            if labels is None:
                raise ValueError(f"Loss {loss.name!r} needs labels, but no y was given. Pass y, or batches of (x, y).")
            loss.check_labels(labels.backend.to_numpy(labels.data), predictions.shape, name)


def _as_loss(identifier: Any) -> Any:
    """A Loss object; the values of a plain function are averaged."""
    loss = keras_losses.get(identifier)
    if loss is None or isinstance(loss, keras_losses.Loss):
        return loss
    return keras_losses.LossFunctionWrapper(loss, name=getattr(loss, "__name__", "loss"))


def _only(y: Any) -> Any:
    """The labels of the single output, also when they come in a list of one."""
    leaves = flatten(y)
    return leaves[0] if len(leaves) == 1 else y


def _entry(structure: Any, key: Any, shared: bool = False) -> Any:
    """What ``structure`` holds for output ``key``; ``shared``: a single thing is for every output."""
    if isinstance(structure, dict):
        return structure.get(key)
    if isinstance(structure, (list, tuple)):
        if isinstance(key, int):
            return structure[key] if key < len(structure) else None
        return structure[0] if len(structure) == 1 else None
    return structure if shared else (structure if structure is None or key == 0 else None)


def _weight(sample_weight: Any, key: str) -> Any:
    if isinstance(sample_weight, (list, tuple)):
        return sample_weight[int(key or 0)]
    return sample_weight.get(key) if isinstance(sample_weight, dict) else sample_weight


class CompiledMetrics:
    """The metrics of a model, made when the first outputs are seen: "accuracy" depends on their shapes."""

    def __init__(self, metrics: Any, weighted_metrics: Any) -> None:
        self._given = ((metrics, False), (weighted_metrics, True))
        self._entries: list[tuple[Any, str, bool]] | None = None
        for identifier in flatten(metrics) + flatten(weighted_metrics):
            keras_metrics.resolve(identifier)  # an unknown name is an error now, not at the first batch

    @property
    def metrics(self) -> list[Any]:
        """The metrics in the order of ``compile``; empty before the first batch."""
        return [metric for metric, _, _ in self._entries or ()]

    def build(self, y: Any, y_pred: Any) -> None:
        """Make the metrics for outputs and labels like these."""
        if self._entries is not None:
            return
        outputs = _keyed(y_pred)
        self._entries = []
        for given, weighted in self._given:
            for key, output in outputs:
                for identifier in self._for_output(given, key, len(outputs)):
                    label = _label(y, key)
                    metric = keras_metrics.resolve(identifier, () if label is None else label.shape, output.shape)
                    if len(outputs) > 1:
                        metric.name = f"{key}_{metric.name}"
                    self._entries.append((metric, key, weighted))

    def _for_output(self, given: Any, key: str, outputs: int) -> Sequence[Any]:
        if given is None:
            return []
        if isinstance(given, dict):
            value = given.get(key, given.get(_number(key)))
            return value if isinstance(value, (list, tuple)) else [] if value is None else [value]
        entries = given if isinstance(given, (list, tuple)) else [given]
        if outputs > 1 and any(isinstance(entry, (list, tuple)) for entry in entries):
            entry = entries[_position(key)]
            return entry if isinstance(entry, (list, tuple)) else [entry]
        return flatten(list(entries))

    def update(self, y: Any, y_pred: Any, sample_weight: Any) -> None:
        """Take a batch in."""
        if self._entries is None:
            self.build(y, y_pred)
        if not self._entries:
            return
        outputs = dict(_keyed(y_pred))
        for metric, key, weighted in self._entries:
            weight = _weight(sample_weight, key) if weighted else None
            if weight is None:
                metric.update_state(_label(y, key), outputs[key])
            else:
                metric.update_state(_label(y, key), outputs[key], sample_weight=weight)


def _keyed(y_pred: Any) -> list[tuple[str, Any]]:
    if isinstance(y_pred, dict):
        return [(str(key), value) for key, value in y_pred.items()]
    if isinstance(y_pred, (list, tuple)):
        return [(f"output_{i}", value) for i, value in enumerate(y_pred)]
    return [("", y_pred)]


def _number(key: str) -> Any:
    return _position(key) if key.startswith("output_") else key


def _position(key: str) -> int:
    return int(key.rpartition("_")[2] or 0)


def _label(y: Any, key: str) -> Any:
    if key == "":
        return _only(y)
    return _entry(y, key) if isinstance(y, dict) else _entry(y, _position(key))
