"""Checkpoint: trade a second forward pass for the memory that backward would keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradlite.autograd.modes import enable_grad, is_grad_enabled, mode
from gradlite.autograd.node import Node
from gradlite.tensor import Tensor, wrap


def checkpoint(function: Callable[..., Any], *args: Any) -> Any:
    """``function(*args)``, whose intermediate values are dropped now and computed again when backward needs them.

    The function must compute the same both times: random draws are repeated, other state must not change. Gradients,
    of any order, also reach tensors that the function uses without being passed them (layers' weights).
    T. Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.

    >>> import gradlite
    >>> x = gradlite.Tensor([1.0, 2.0], requires_grad=True)
    >>> y = gradlite.checkpoint(lambda x: (x.exp() * x).sum(), x)
    >>> y.backward()
    """
    if not is_grad_enabled():
        return function(*args)
    return Checkpoint(function, args).run()


def is_recomputing() -> bool:
    """Whether a checkpointed function is running for the second time, so that side effects should not be repeated."""
    checkpoint = mode.checkpoint
    while checkpoint is not None:
        if checkpoint.second is not None:
            return True
        checkpoint = checkpoint.outer
    return False


class Checkpoint:
    """One call of a checkpointed function: numbers its operations, and fills in their saved values later."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function = function
        self.args = args
        self.outer: Checkpoint | None = mode.checkpoint  # the one whose function makes this call
        self.operations = 0
        self.second: list[Node] | None = None  # the operations of the second run, while it runs
        self.draws: list[Any] = []
        self._next_draw = 0
        self._values: dict[int, Node] = {}

    def run(self) -> Any:
        """The first run, in which operations save nothing."""
        previous, mode.checkpoint = mode.checkpoint, self
        try:
            return self.function(*self.args)
        finally:
            mode.checkpoint = previous

    def takes(self, node: Node) -> bool:
        """Called when an operation is about to save: True if it shall not, because this checkpoint can bring it."""
        if self.second is not None:
            self.second.append(node)
            return False
        node.checkpoint = (self, self.operations)
        self.operations += 1
        return True

    def random(self, draw: Callable[[], Any]) -> Any:
        """A random draw: made in the first run, repeated in the second, also in that of an outer checkpoint."""
        if self.second is None:
            self.draws.append(draw() if self.outer is None else self.outer.random(draw))
            return self.draws[-1]
        self._next_draw += 1
        return self.draws[self._next_draw - 1]

    def restore(self, node: Node) -> None:
        """Give ``node`` the inputs and outputs that it would have saved."""
        assert node.checkpoint is not None
        index = node.checkpoint[1]
        if index not in self._values:
            self._recompute()
        twin = self._values.pop(index)
        assert twin.inputs is not None
        for x, now, before in zip(twin.inputs, twin.versions, node.versions):
            if now != before:
                node.refuse_changed("an input", x.shape, now - before)
        node.inputs = [_reconnect(x, edge) if isinstance(x, Tensor) else x for x, edge in zip(twin.inputs, node.edges)]
        node.versions = twin.versions
        node.output = twin.output
        node.checkpoint = None

    def _recompute(self) -> None:
        args = [_leaf(x) if isinstance(x, Tensor) else x for x in self.args]
        previous, mode.checkpoint = mode.checkpoint, self
        self.second, self._next_draw = [], 0
        try:
            with enable_grad():
                self.function(*args)
            nodes = self.second
        finally:
            mode.checkpoint, self.second = previous, None
        if len(nodes) != self.operations:
            raise RuntimeError(
                f"A checkpointed function ran {self.operations} recorded operations first and {len(nodes)} the second "
                "time; it must compute the same both times."
            )
        self._values = dict(enumerate(nodes))


def _leaf(x: Tensor) -> Tensor:
    """The same values as a new leaf, so that the second run is recorded apart from the first."""
    leaf = x.detach()
    leaf.requires_grad = x.requires_grad
    return leaf


def _reconnect(x: Tensor, edge: Node | Tensor | None) -> Tensor:
    """A recomputed value, standing where the first run's value stood on the tape."""
    if isinstance(edge, Tensor):
        return edge
    result = wrap(x.data, x.backend)
    if edge is not None:
        result.node, result.requires_grad = edge, True
    return result
