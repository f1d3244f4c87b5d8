"""Backward: walks the tape from outputs to leaves, latest operation first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any

from gradlite.autograd.modes import enable_grad, mode
from gradlite.autograd.node import Node, Output
from gradlite.tensor import Tensor, wrap

Target = Node | Tensor


def backward(output: Tensor, gradient: Any = None, *, retain_graph: bool = False, create_graph: bool = False) -> None:
    """Add the gradient of ``output`` to ``.grad`` of the leaves; see ``Tensor.backward``."""
    seed = _seed(output, gradient)
    pending = _Pending(in_place=not create_graph)
    pending.add(output.node or output, seed)
    arrived = _propagate(pending, None, retain_graph or create_graph, create_graph)
    taken = {id(seed.data)}
    for target, value in arrived.items():
        target.grad = _own(value, taken, create_graph) if target.grad is None else target.grad + value


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    gradients: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    """The gradients of ``outputs`` (their sum, weighted by ``gradients``) with respect to ``inputs``.

    Nothing is stored in ``.grad``. With ``create_graph`` the result is recorded and can be differentiated again.

    Args:
        outputs: a Tensor or several.
        inputs: a Tensor or several; leaves or results of operations.
        gradients: for each output the gradient flowing in; may be left out for outputs of one element.
        retain_graph: keep what backward needs; by default the value of ``create_graph``.
        allow_unused: give None for an input that the outputs do not depend on, instead of an error.

    Returns:
        a Tensor if ``inputs`` is one, else a list.

    Raises:
        RuntimeError: if an input does not take part, or requires no gradient.

    >>> import gradlite
    >>> x = gradlite.Tensor(3.0, requires_grad=True)
    >>> first = gradlite.grad(x ** 3, x, create_graph=True)
    >>> gradlite.grad(first, x).item()
    18.0
    """
    single = isinstance(inputs, Tensor)
    wanted: list[Tensor] = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    results: list[Tensor] = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    given = list(gradients) if isinstance(gradients, (list, tuple)) else [gradients] * len(results)
    if len(given) != len(results):
        raise ValueError(f"grad() needs one gradient for each of {len(results)} outputs. Received: {len(given)}.")
    for i, x in enumerate(wanted):
        if not x.requires_grad:
            raise RuntimeError(f"Input {i} of grad() (shape {x.shape}) does not require a gradient.")
    seeds = [_seed(output, gradient) for output, gradient in zip(results, given)]
    targets: set[Target] = {x.node or x for x in wanted}
    retain = create_graph if retain_graph is None else retain_graph
    pending = _Pending(in_place=not create_graph)
    for output, seed in zip(results, seeds):
        pending.add(output.node or output, seed)
    arrived = _propagate(pending, targets, retain, create_graph)
    taken = {id(seed.data) for seed in seeds}
    found: list[Tensor | None] = []
    for i, x in enumerate(wanted):
        value = arrived.get(x.node or x)
        if value is None and not allow_unused:
            raise RuntimeError(
                f"The outputs do not depend on input {i} of grad() (shape {x.shape}). "
                "Pass allow_unused=True to get None for it."
            )
        found.append(None if value is None else _own(value, taken, create_graph))
    return found[0] if single else found


def _seed(output: Tensor, gradient: Any) -> Tensor:
    """The gradient that flows into ``output``."""
    if not output.requires_grad:
        raise RuntimeError(
            "This tensor does not require a gradient: no input of its computation has requires_grad=True, "
            "or it was computed under no_grad()."
        )
    if gradient is None:
        if output.data.size != 1:
            raise ValueError(
                f"backward() without a gradient needs an output of one element. Received: shape {output.shape}; "
                "reduce it (.sum(), .mean()) or pass the gradient."
            )
        return _one(output)
    result = gradient if isinstance(gradient, Tensor) else Tensor(gradient, dtype=output.dtype, device=output.backend)
    if result.backend is not output.backend:
        raise RuntimeError(
            f"The gradient of a tensor on {output.device} is on {result.device}. Move it with .to({output.device!r})."
        )
    if result.shape != output.shape:
        raise ValueError(f"The gradient must have the output's shape {output.shape}. Received: {result.shape}.")
    return result


_ones: dict[Any, Tensor] = {}


def _one(output: Tensor) -> Tensor:
    """The number one in the shape of ``output``, made once; it is read only, as every gradient that is borrowed."""
    array = output.data
    key = (output.backend, array.shape, array.dtype.char)
    one = _ones.get(key)
    if one is None:
        one = _ones[key] = wrap(output.backend.full(array.shape, 1, array.dtype), output.backend)
    return one


def _propagate(
    pending: _Pending, targets: set[Target] | None, retain_graph: bool, create_graph: bool
) -> dict[Any, Tensor]:
    """Carry gradients back, and return those of the targets (None: of all leaves that were reached)."""
    needed = wanted = None
    if targets is not None:
        needed = _leading_to(targets, pending.values)
        wanted = needed | targets
    arrived: dict[Any, Tensor] = {}
    previous, mode.grad = mode.grad, create_graph
    try:
        while pending.queue:
            node = heappop(pending.queue)[1]
            gradient = pending.values.pop(node)
            if node.hooks is not None or node.retained is not None:
                gradient = _finish(node, gradient)
            if needed is not None:
                if node in targets:  # type: ignore[operator]
                    arrived[node] = gradient
                if node not in needed:
                    continue
            _step(node, gradient, pending, wanted)
            if not retain_graph:
                # What was saved goes; the edges stay, so that a second backward pass can say what happened.
                node.inputs = node.output = node.checkpoint = None
        for leaf, gradient in pending.values.items():
            if targets is None or leaf in targets:
                arrived[leaf] = _run_hooks(leaf.hooks, gradient) if leaf.hooks else gradient
    finally:
        mode.grad = previous
    return arrived


def _step(node: Node, gradient: Any, pending: _Pending, wanted: set[Target] | None) -> None:
    """Hand the gradient of one operation's output on to its inputs."""
    if isinstance(node, Output):
        pending.add_slot(node.edges[0], node.index, gradient)
        return
    if node.inputs is None:
        node.refuse_freed()
    if isinstance(gradient, dict):
        results = node.op.vjp(node, *[gradient.get(i) for i in range(node.op.outputs)])
    else:
        results = node.op.vjp(node, gradient)
    if isinstance(results, Tensor) or len(results) != len(node.edges):
        raise TypeError(f"The vjp of {node.op.name} must return a list of {len(node.edges)} gradients, one per input.")
    for edge, value, x in zip(node.edges, results, node.inputs):
        if edge is None or value is None or (wanted is not None and edge not in wanted):
            continue
        # What broadcasting stretched is summed again, here and nowhere else.
        array, own = value.data, x.data if isinstance(x, Tensor) else x
        if array.shape != own.shape:
            value = value.sum_to(own.shape)
        if array.dtype != own.dtype:
            value = value.astype(own.dtype)
        pending.add(edge, value)


def _leading_to(targets: set[Target], roots: Iterable[Any]) -> set[Target]:
    """All operations behind which there is a target; a target is none of them unless it leads to another."""
    seen: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node not in seen:
            seen.add(node)
            stack += node.edges
    leading: set[Target] = set()
    # An operation is always made after those that it reads, so the order of making is a topological one.
    for node in sorted(seen, key=_by_sequence):
        for edge in node.edges:
            if edge in targets or edge in leading:
                leading.add(node)
                break
    return leading


_by_sequence = attrgetter("sequence")


class _Pending:
    """Gradients on their way, summed by destination: operations, and leaves, which stay until the end."""

    __slots__ = ("in_place", "owned", "queue", "values")

    def __init__(self, in_place: bool) -> None:
        self.values: dict[Any, Any] = {}
        # A heap of the operations among them, the latest on top. An operation is always made after those that it
        # reads: all that read it have passed, and its gradient is complete, once it is on top.
        self.queue: list[tuple[int, Node]] = []
        self.in_place = in_place
        self.owned: set[Any] = set()

    def add(self, target: Any, value: Any) -> None:
        """Add to the gradient of ``target``: the first is borrowed, the second makes a sum that is ours to add to."""
        values = self.values
        if target not in values:
            values[target] = value
            if isinstance(target, Node):
                heappush(self.queue, (-target.sequence, target))
        elif target in self.owned:
            present = values[target]
            value.backend.launch("add", present.data, value.data, out=present.data)
        else:
            values[target] = values[target] + value
            if self.in_place:
                self.owned.add(target)

    def add_slot(self, node: Any, index: int, value: Tensor) -> None:
        """Add to the gradient of one output of an operation with several."""
        if node not in self.values:
            self.add(node, {})
        slots = self.values[node]
        slots[index] = slots[index] + value if index in slots else value


def _finish(node: Node, gradient: Tensor) -> Tensor:
    """Run the hooks of a result, and store its gradient where it is retained."""
    if node.hooks:
        gradient = _run_hooks(node.hooks, gradient)
    tensor = None if node.retained is None else node.retained()
    if tensor is not None:
        tensor.grad = gradient.copy() if tensor.grad is None else tensor.grad + gradient
    return gradient


def _run_hooks(hooks: Any, gradient: Tensor) -> Tensor:
    gradient = gradient.copy()  # what flows here is borrowed, and a hook may write into it
    for hook in tuple(hooks):
        replacement = hook(gradient)
        if replacement is not None:
            gradient = replacement
    return gradient


def _own(value: Tensor, taken: set[int], create_graph: bool) -> Tensor:
    """``value`` in memory that no other gradient shares: the caller may write into it."""
    array = value.data
    if create_graph:
        if id(array) in taken:
            with enable_grad():
                value = value.copy()
    elif id(array) in taken or value.requires_grad or array.base is not None:
        value = wrap(value.backend.launch("copy", array), value.backend)
    taken.add(id(value.data))
    return value
