"""Losses and metrics as ``compile`` was given them, matched to the outputs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gradlite.keras import losses as keras_losses
from gradlite.keras import metrics as keras_metrics
from gradlite.keras.utils.lookup import suggest
from gradlite.tensor import Tensor
from gradlite.training.structure import flatten


class Output(NamedTuple):
    """One output of a model: its key in a dict or place in a list (None: the only one), its name, what it is."""

    key: Any
    position: int
    name: str
    value: Any


def outputs_of(y_pred: Any) -> list[Output]:
    """The outputs of a model that gives one, or a list or dict of them."""
    if isinstance(y_pred, dict):
        return [Output(key, i, str(key), value) for i, (key, value) in enumerate(y_pred.items())]
    if isinstance(y_pred, (list, tuple)):
        return [Output(i, i, f"output_{i}", value) for i, value in enumerate(y_pred)]
    return [Output(None, 0, "", y_pred)]


def labels_for(output: Output, y: Any) -> Any:
    """The labels of an output, or None; those of the only output may come in a list or dict of one."""
    if output.key is None:
        leaves = flatten(y)
        if len(leaves) > 1:
            raise ValueError(f"The model has one output. Received: {len(leaves)} arrays of labels.")
        return leaves[0] if leaves else None
    if isinstance(y, (dict, list, tuple)):
        return _entry(y, output)
    return y if output.position == 0 else None


def weights_for(output: Output, sample_weight: Any) -> Any:
    """The sample weights of an output; a single array of them is for every output."""
    if isinstance(sample_weight, (dict, list, tuple)):
        return flatten(sample_weight)[0] if output.key is None else _entry(sample_weight, output)
    return sample_weight


def _entry(structure: Any, output: Output) -> Any:
    """What a dict holds under the output's key or name, or a list at its place; None if nothing."""
    if isinstance(structure, dict):
        return structure.get(output.key, structure.get(output.name))
    return structure[output.position] if output.position < len(structure) else None


def check_structure(what: str, given: Any, outputs: Sequence[Output]) -> None:
    """Raise ValueError where a list is not as long as there are outputs, or a dict names one that is not there."""
    if isinstance(given, (list, tuple)) and len(given) != len(outputs):
        raise ValueError(f"compile() received {what} for {len(given)} outputs, but the model has {len(outputs)}.")
    if not isinstance(given, dict) or outputs[0].key is None:
        return
    names = [output.name for output in outputs]
    for key in given:
        if not any(key in (output.key, output.name) for output in outputs):
            raise ValueError(
                f"compile() received {what} for an output {key!r}, which the model does not have."
                f"{suggest(str(key), names)} Its outputs are: {', '.join(names)}."
            )


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

    @property
    def losses(self) -> list[Any]:
        """The losses, as objects."""
        return flatten(self._losses)

    def _pairs(self, y_pred: Any) -> list[tuple[Output, Any, float]]:
        """The outputs that have a loss, each with it and its factor."""
        found = []
        for output in outputs_of(y_pred):
            loss, factor = (self._part(given, output) for given in (self._losses, self._weights))
            if loss is not None:
                found.append((output, loss, 1.0 if self._weights is None else float(factor or 0.0)))
        return found

    def _part(self, given: Any, output: Output) -> Any:
        if not isinstance(given, (dict, list)):
            return given
        return next(iter(flatten(given)), None) if output.key is None else _entry(given, output)

    def __call__(self, y: Any, y_pred: Any, sample_weight: Any) -> Tensor:
        total: Any = None
        for output, loss, factor in self._pairs(y_pred):
            value = loss(labels_for(output, y), output.value, sample_weight=weights_for(output, sample_weight))
            if factor != 1.0:
                value = value * factor
            total = value if total is None else total + value
        return total

    def check_labels(self, y: Any, y_pred: Any) -> None:
        """Raise ValueError for labels (Tensors or arrays) that do not fit their loss, before any step is taken."""
        outputs = outputs_of(y_pred)
        check_structure("losses", self._losses, outputs)
        check_structure("loss_weights", self._weights, outputs)
        for output, loss, _ in self._pairs(y_pred):
            labels = labels_for(output, y)
            if labels is None:
                of = f" of output {output.name!r}" if output.name else ""
                raise ValueError(
                    f"Loss {loss.name!r}{of} needs labels, but no y was given for it. Pass y, or batches of (x, y)."
                )
            host = labels.numpy() if isinstance(labels, Tensor) else np.asarray(labels)
            loss.check_labels(host, output.value.shape, output.name)


def _as_loss(identifier: Any) -> Any:
    """A Loss object; the values of a plain function are averaged."""
    loss = keras_losses.get(identifier)
    if loss is None or isinstance(loss, keras_losses.Loss):
        return loss
    return keras_losses.LossFunctionWrapper(loss, name=getattr(loss, "__name__", "loss"))


class CompiledMetrics:
    """The metrics of a model, made when the first outputs are seen: "accuracy" depends on their shapes."""

    def __init__(self, metrics: Any, weighted_metrics: Any) -> None:
        self._given = ((metrics, False), (weighted_metrics, True))
        self._entries: list[tuple[Any, Any, bool]] | None = None
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
        outputs = outputs_of(y_pred)
        entries: list[tuple[Any, Any, bool]] = []
        for given, weighted in self._given:
            if isinstance(given, dict) or (len(outputs) > 1 and len(given or ()) > 1):
                check_structure("metrics", given, outputs)
            for output in outputs:
                for identifier in _metrics_of(given, output):
                    label = labels_for(output, y)
                    metric = keras_metrics.resolve(identifier, () if label is None else label.shape, output.value.shape)
                    if len(outputs) > 1 and not metric.name.startswith(f"{output.name}_"):
                        metric.name = f"{output.name}_{metric.name}"
                    metric.move_to(output.value.backend)
                    metric.name = _free_name(metric.name, [taken.name for taken, _, _ in entries], weighted)
                    entries.append((metric, output.key, weighted))
        self._entries = entries

    def update(self, y: Any, y_pred: Any, sample_weight: Any) -> None:
        """Take a batch in."""
        if self._entries is None:
            self.build(y, y_pred)
        if not self._entries:
            return
        outputs = {output.key: output for output in outputs_of(y_pred)}
        for metric, key, weighted in self._entries:
            output = outputs[key]
            weight = weights_for(output, sample_weight) if weighted else None
            if weight is None:
                metric.update_state(labels_for(output, y), output.value)
            else:
                metric.update_state(labels_for(output, y), output.value, sample_weight=weight)


def _free_name(name: str, taken: Sequence[str], weighted: bool) -> str:
    """The name, changed as Keras does it where a metric before has it: logs are told apart by names alone."""
    if name in taken and weighted:
        name = f"weighted_{name}"
    free, number = name, 0
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _metrics_of(given: Any, output: Output) -> list[Any]:
    """The metrics of one output: all for the only one, else those at its place or key; a list of one is for all."""
    if given is None:
        return []
    if output.key is None or (len(given) == 1 and not isinstance(given, dict)):
        return flatten(given)
    return flatten(_entry(given, output))
