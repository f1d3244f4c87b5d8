"""The tape: Node, the record of one operation, and what it keeps for the backward pass."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gradlite.autograd.modes import mode
from gradlite.backends import Backend
from gradlite.backends.dtypes import FLOAT_KINDS
from gradlite.tensor import Tensor, wrap

if TYPE_CHECKING:
    from gradlite.autograd.op import Op

_sequence = itertools.count()


class Spec:
    """What remains of an input that no derivative reads."""

    __slots__ = ("dtype", "shape")

    def __init__(self, array: Any) -> None:
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype = array.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)


class Node:
    """One recorded operation.

    It points to the nodes (or leaf Tensors) that its inputs came from, never to its own output: there is no reference
    cycle, and memory returns as soon as the last Tensor goes.
    """

    __slots__ = (
        "__weakref__", "attributes", "backend", "checkpoint", "edges", "hooks", "inputs", "op", "output", "retained",
        "sequence", "versions",
    )  # fmt: skip

    def __init__(
        self, op: Op, inputs: Sequence[Any], attributes: dict[str, Any], backend: Backend, results: Sequence[Tensor]
    ) -> None:
        self.op = op
        self.attributes = attributes
        self.backend = backend
        self.sequence = next(_sequence)
        self.hooks: list[Callable[[Tensor], Tensor | None]] | None = None
        self.retained: weakref.ref[Tensor] | None = None
        self.checkpoint: tuple[Any, int] | None = None
        self.output: list[tuple[Any, list[int], int]] | None = None
        saves = op.saves_inputs
        if mode.checkpoint is not None and mode.checkpoint.takes(self):
            saves = False
        elif op.saves_output:
            self.output = []
            for result in results:
                counter = result.share_version()
                self.output.append((result.data, counter, counter[0]))
        # Where the gradient of each input goes: to a node, to a leaf Tensor, or nowhere.
        edges: list[Node | Tensor | None] = []
        kept, versions = [], []  # the inputs, or what remains of them; how often they had been changed in place
        for position, x in enumerate(inputs):
            edge, version = None, 0
            if isinstance(x, Tensor):
                if x.requires_grad:
                    edge = x.node or x
                if x._version is not None:
                    version = x._version[0]
                if saves is not True and (saves is False or position not in saves):
                    x = Spec(x.data)
            edges.append(edge)
            kept.append(x)
            versions.append(version)
        self.edges = edges
        self.inputs: list[Any] | None = kept
        self.versions = versions

    def saved_inputs(self) -> list[Any]:
        """The inputs: Tensors where saved, else their Specs (shape and dtype); numbers and None as they were given.

        Raises:
            RuntimeError: if they were freed by an earlier backward pass, or changed in place since.
        """
        if self.checkpoint is not None:
            self.checkpoint[0].restore(self)
        if self.inputs is None:
            self.refuse_freed()
        for x, version in zip(self.inputs, self.versions):
            if isinstance(x, Tensor) and x._version is not None and x._version[0] != version:
                self.refuse_changed("an input", x.shape, x.version - version)
        return self.inputs

    def saved_output(self) -> Tensor:
        """The output of an operation that has one and saves it."""
        if self.checkpoint is not None or self.output is None:
            return self.saved_outputs()[0]
        array, version, before = self.output[0]
        if version[0] != before:
            self.refuse_changed("its output", array.shape, version[0] - before)
        tensor = wrap(array, self.backend)
        tensor.node = self
        tensor.requires_grad = True
        return tensor

    def saved_outputs(self) -> list[Tensor]:
        """The outputs of an operation that saves them, connected to this node."""
        if self.checkpoint is not None:
            self.checkpoint[0].restore(self)
        if self.output is None:
            self.refuse_freed()
        results = []
        for i, (array, version, before) in enumerate(self.output):
            if version[0] != before:
                self.refuse_changed("its output", array.shape, version[0] - before)
            tensor = wrap(array, self.backend)
            if array.dtype.kind in FLOAT_KINDS:
                tensor.node = self if len(self.output) == 1 else Output(self, i)
                tensor.requires_grad = True
            results.append(tensor)
        return results

    def refuse_freed(self) -> NoReturn:
        """Say that an earlier backward pass has taken what this one needs."""
        raise RuntimeError(
            f"The graph behind this {self.op.name} was freed by an earlier backward pass. "
            "Pass retain_graph=True to the first one to run backward twice."
        )

    def refuse_changed(self, which: str, shape: tuple[int, ...], times: int) -> NoReturn:
        """Say that a value which this backward pass needs is no longer what it was."""
        raise RuntimeError(
            f"Backward of {self.op.name} needs {which} of shape {shape}, which was changed in place {times} time(s) "
            "since the forward pass. Change a copy (x.copy()) instead, or run backward first."
        )

    def retain(self, tensor: Tensor) -> None:
        """Store the gradient that arrives here on ``tensor`` too."""
        self.retained = weakref.ref(tensor)


class Output(Node):
    """One output of an operation that has several: hands its gradient on to that slot."""

    __slots__ = ("index",)

    def __init__(self, node: Node, index: int) -> None:
        self.op = node.op
        self.attributes = node.attributes
        self.backend = node.backend
        self.sequence = next(_sequence)
        self.hooks = self.retained = self.checkpoint = self.output = None
        self.edges = [node]
        self.inputs, self.versions = [], []
        self.index = index
