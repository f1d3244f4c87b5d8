"""Tracked: what a layer consists of (weights, layers, metrics), found in its attributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradlite.keras.variables import Variable


class Tracked:
    """Notices the weights, layers and metrics that are assigned to attributes, alone or in lists, tuples and dicts.

    Lists and dicts are looked into again whenever somebody asks, so that ``self.blocks.append(layer)`` counts too.
    """

    # Attributes that hold no parts: lists of this class's own, and what only refers to parts.
    _untracked = frozenset(
        {"_sublayers", "_containers", "_trainable_variables", "_non_trainable_variables", "_metrics", "_losses"}
    )

    name: str
    path: str
    built: bool

    def __init__(self, trainable: bool) -> None:
        self._trainable_variables: list[Variable] = []
        self._non_trainable_variables: list[Variable] = []
        self._sublayers: list[Tracked] = []
        self._metrics: list[Any] = []
        self._containers: list[Any] = []
        self._trainable = bool(trainable)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in self._untracked and _may_hold_parts(value):
            if "_containers" not in vars(self):
                raise RuntimeError(
                    f"{type(self).__name__} was given {name!r} too early: call super().__init__() first in __init__."
                )
            self._look_into_containers()  # what was appended before this comes before it
            if isinstance(value, (list, tuple, dict)):
                self._containers.append(value)
                self._look_into_containers()
            else:
                self._track(value)

    def _look_into_containers(self) -> None:
        for container in self._containers:
            for part in _parts_in(container):
                self._track(part)

    def _track(self, part: Any) -> None:
        if isinstance(part, Variable):
            self._track_variable(part, part.trainable)
            return
        known: list[Any] = self._sublayers if isinstance(part, Tracked) else self._metrics
        if not any(other is part for other in known):
            known.append(part)
            if isinstance(part, Tracked) and not self._trainable:
                part.trainable = False

    def _track_variable(self, variable: Variable, trainable: bool) -> None:
        if any(v is variable for v in self._trainable_variables + self._non_trainable_variables):
            return
        (self._trainable_variables if trainable else self._non_trainable_variables).append(variable)
        if trainable:
            variable.trainable = self._trainable

    @property
    def _layers(self) -> list[Any]:
        """The layers directly within this one."""
        self._look_into_containers()
        return self._sublayers

    def flatten_layers(self) -> Iterator[Any]:
        """This layer and all within it, each once."""
        seen: set[int] = set()
        stack: list[Any] = [self]
        while stack:
            layer = stack.pop()
            if id(layer) not in seen:
                seen.add(id(layer))
                yield layer
                stack.extend(reversed(layer._layers))

    def name_paths(self, path: str) -> None:
        """Give this layer and all below it the path ``path``, as in ``sequential/dense/kernel``."""
        self.path = path
        for variable in self.own_weights:
            variable.path = f"{path}/{variable.name}"
        for layer in self._layers:
            layer.name_paths(f"{path}/{layer.name}")

    @property
    def trainable(self) -> bool:
        """Whether the weights of this layer, and of those within, are trained."""
        return self._trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        self._trainable = bool(trainable)
        self._look_into_containers()
        for variable in self._trainable_variables:
            variable.trainable = self._trainable
        for layer in self._layers:
            layer.trainable = trainable

    @property
    def own_weights(self) -> list[Variable]:
        """The weights of this layer itself, without those of layers within it."""
        self._look_into_containers()
        return self._trainable_variables + self._non_trainable_variables

    @property
    def weights(self) -> list[Variable]:
        """All weights, layer by layer, each once."""
        found = [v for layer in self.flatten_layers() for v in layer.own_weights]
        return list({id(v): v for v in found}.values())

    variables = weights

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that are trained."""
        return [v for v in self.weights if v.trainable]

    trainable_variables = trainable_weights

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that are not trained: statistics, and those of frozen layers."""
        return [v for v in self.weights if not v.trainable]

    non_trainable_variables = non_trainable_weights

    @property
    def metrics(self) -> list[Any]:
        """Metrics that this layer and those within it own."""
        return [metric for layer in self.flatten_layers() for metric in layer._metrics]

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all weights, in the order of ``get_weights``. Nothing is changed unless all shapes fit."""
        variables = self.weights
        arrays = [np.asarray(w) for w in weights]
        if len(arrays) != len(variables):
            raise ValueError(
                f"Layer {self.name!r} has {len(variables)} weights. set_weights() received: {len(arrays)}."
            )
        for variable, array in zip(variables, arrays):
            if array.shape != variable.shape:
                raise ValueError(f"Weight {variable.path!r} has shape {variable.shape}. Received: {array.shape}.")
            if array.dtype.kind not in "fiub":
                raise ValueError(f"Weight {variable.path!r} needs numbers. Received: an array of dtype {array.dtype}.")
        for variable, array in zip(variables, arrays):
            variable.assign(array)

    def count_params(self) -> int:
        """The number of elements of all weights."""
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} has no weights yet: call it on data, build(input_shape), or put an Input first."
            )
        return sum(v.size for v in self.weights)


def _is_part(value: Any) -> bool:
    if isinstance(value, (Tracked, Variable)):
        return True
    return not isinstance(value, type) and hasattr(value, "update_state") and hasattr(value, "result")


def _may_hold_parts(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(True for _ in _parts_in(value))
    return isinstance(value, (list, dict)) or _is_part(value)


def _parts_in(container: Any) -> Iterator[Any]:
    """The parts in nested lists, tuples and dicts."""
    for value in container.values() if isinstance(container, dict) else container:
        if isinstance(value, (list, tuple, dict)):
            yield from _parts_in(value)
        elif _is_part(value):
            yield value
        elif isinstance(value, (str, int, float, np.ndarray, np.generic)):
            return  # data, which may be long: parts and data do not share a list
