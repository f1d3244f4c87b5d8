"""KernelOp: an operation that is one backend kernel, with one line of derivative for each input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradlite.autograd import Node, Op, WithDerivatives, enable_grad, grad, is_grad_enabled
from gradlite.autograd.op import Derivative
from gradlite.backends import Backend
from gradlite.tensor import Tensor


class KernelOp(WithDerivatives):
    """One kernel, and its derivatives beside it.

    Args:
        kernel: the name of the kernel, which is also the operation's.
        doc: what it computes.
        derivatives: for each input ``(gradient, out, *inputs, **attributes) -> gradient of that input``, or None for an
            input without one. No derivatives at all: the operation is flat or its output is no real number.
        inputs: the inputs that the derivatives read: True, False or positions. Of others they get shape and dtype.
        output: whether the derivatives read the output (else they get None for it).
    """

    def __init__(
        self,
        kernel: str,
        doc: str,
        *derivatives: Derivative | None,
        inputs: bool | tuple[int, ...] = False,
        output: bool = False,
    ) -> None:
        self.name = self.kernel = kernel
        self.__doc__ = doc
        self.derivatives = derivatives
        self.saves_inputs = inputs
        self.saves_output = output
        self.differentiable = bool(derivatives)


class ViewOp(Op):
    """An operation that only looks at memory in another way: ``function(xp, array, **attributes)`` launches nothing.

    Its derivative is ``(gradient, shape and dtype of the input, **attributes)``.
    """

    saves_inputs = False
    view = True

    def __init__(self, name: str, function: Callable[..., Any], derivative: Derivative) -> None:
        self.name = name
        self.function = function
        self.derivative = derivative

    def forward(self, backend: Backend, *arrays: Any, **attributes: Any) -> Any:
        return self.function(backend.xp, arrays[0], **attributes)

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        (x,) = node.saved_inputs()
        return [self.derivative(gradients[0], x, **node.attributes)]


def vjp_by_definition(
    definition: Callable[..., Any], node: Node, gradients: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients of a fused operation, by differentiating ``definition(*inputs, **attributes)``: what the kernel
    computes, written in simpler operations. For derivatives that are rare enough not to have a kernel of their own."""
    inputs = node.saved_inputs()
    create_graph = is_grad_enabled()
    with enable_grad():
        # Fresh aliases: the derivative wanted is the partial one, also where one input was computed from another.
        aliases = [_alias(x, create_graph) if isinstance(x, Tensor) else x for x in inputs]
        outputs = definition(*aliases, **node.attributes)
        results = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        used = [(y, g) for y, g in zip(results, gradients) if g is not None and y.requires_grad]
        wanted = [i for i, edge in enumerate(node.edges) if edge is not None]
        found = grad(
            [y for y, _ in used],
            [aliases[i] for i in wanted],
            [g for _, g in used],
            create_graph=create_graph,
            allow_unused=True,
        )
    answer: list[Tensor | None] = [None] * len(inputs)
    for i, value in zip(wanted, found):
        answer[i] = value
    return answer


def _alias(x: Tensor, connected: bool) -> Tensor:
    if not x.requires_grad:
        return x
    if connected:
        return x.reshape(x.shape)
    leaf = x.detach()
    leaf.requires_grad = True
    return leaf


class ByDefinition(Op):
    """A fused kernel whose own derivative is that of its definition in simpler operations."""

    saves_inputs = True

    def __init__(self, kernel: str, definition: Callable[..., Any], outputs: int = 1) -> None:
        self.name = self.kernel = kernel
        self.definition = definition
        self.outputs = outputs

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        return vjp_by_definition(self.definition, node, gradients)
