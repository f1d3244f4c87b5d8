"""The tape: Op, what an operation is; Node, its record; apply, which runs and records it."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from gradlite.autograd.modes import mode
from gradlite.backends import Backend, backend_of, get_backend
from gradlite.tensor import SCALARS, Tensor, wrap

_sequence = itertools.count()


class Op:
    """An operation on Tensors: a forward on arrays, and a vector-Jacobian product written in operations.

    Subclasses set what the derivative reads, define the two methods, and are called like functions:

    >>> import gradlite
    >>> class Cube(gradlite.Op):
    ...     def forward(self, backend, x):
    ...         return x * x * x
    ...     def vjp(self, node, gradient):
    ...         (x,) = node.saved_inputs()
    ...         return [gradient * 3 * x * x]
    >>> x = gradlite.Tensor([2.0], requires_grad=True)
    >>> Cube()(x).backward()
    >>> x.grad.item()
    12.0

    Attributes:
        saves_inputs: the inputs that ``vjp`` reads: True (all), False (none) or their positions.
        saves_output: whether ``vjp`` reads the output.
        outputs: how many tensors ``forward`` returns (a tuple where more than one).
        differentiable: False for operations whose derivative is zero wherever it exists.
        view: whether the output shares memory with the input.
    """

    name: str = ""
    saves_inputs: bool | tuple[int, ...] = True
    saves_output: bool = False
    outputs: int = 1
    differentiable: bool = True
    view: bool = False

    def forward(self, backend: Backend, *arrays: Any, **attributes: Any) -> Any:
        """Compute the output array (or a tuple of them) from arrays, numbers and None."""
        raise NotImplementedError(f"{type(self).__name__} needs a forward(backend, *arrays).")

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        """The gradient with respect to every input (None where there is none), given that of every output.

        Gradients may come in the shape that broadcasting gave an input: the engine sums them to the input's own.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a vjp(node, gradient) to be differentiated.")

    def __call__(self, *inputs: Any, **attributes: Any) -> Any:
        return apply(self, inputs, attributes)

    def __repr__(self) -> str:
        return f"<Op {self.name or type(self).__name__}>"


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
        "__weakref__", "attributes", "backend", "checkpoint", "edges", "hooks", "inputs", "op", "output",
        "retained", "sequence", "versions",
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
        # Where the gradient of each input goes: to a node, to a leaf Tensor, or nowhere.
        self.edges: list[Node | Tensor | None] = [
            (x.node or x) if isinstance(x, Tensor) and x.requires_grad else None for x in inputs
        ]
        self.inputs: Sequence[Any] | None = inputs
        self.versions: Sequence[int] | None = None
        saves = op.saves_inputs
        if mode.checkpoint is not None and mode.checkpoint.takes(self):
            saves = False
        elif op.saves_output:
            self.output = [(x.data, (version := x.share_version()), version[0]) for x in results]
        if saves is not True:
            kept = saves or ()
            self.inputs = [x if i in kept or not isinstance(x, Tensor) else Spec(x.data) for i, x in enumerate(inputs)]
        if saves:
            self.note_versions()

    def note_versions(self) -> None:
        """Remember how often the saved inputs had been changed by now."""
        assert self.inputs is not None
        self.versions = [x._version[0] if isinstance(x, Tensor) and x._version is not None else 0 for x in self.inputs]

    def saved_inputs(self) -> Sequence[Any]:
        """The inputs: Tensors where saved, else their Specs (shape and dtype); numbers and None as they were given.

        Raises:
            RuntimeError: if they were freed by an earlier backward pass, or changed in place since.
        """
        if self.checkpoint is not None:
            self.checkpoint[0].restore(self)
        if self.inputs is None:
            self.refuse_freed()
        if self.versions is not None:
            for x, version in zip(self.inputs, self.versions):
                if isinstance(x, Tensor) and x._version is not None and x._version[0] != version:
                    self.refuse_changed("an input", x.shape, x.version - version)
        return self.inputs

    def saved_output(self) -> Tensor:
        """The output of an operation that has one and saves it."""
        return self.saved_outputs()[0]

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
            if array.dtype.kind == "f":
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

    def release(self) -> None:
        """Let go of what was saved; the edges stay, so that a second backward pass can say what happened."""
        self.inputs = None
        self.output = None
        self.checkpoint = None


class _Select(Op):
    """Stands between an operation of several outputs and each of them."""

    name = "output"


_SELECT = _Select()


class Output(Node):
    """One output of an operation that has several: hands its gradient on to that slot."""

    __slots__ = ("index",)

    def __init__(self, node: Node, index: int) -> None:
        super().__init__(_SELECT, (), {}, node.backend, ())
        self.edges = [node]
        self.index = index


def apply(op: Op, inputs: Sequence[Any], attributes: dict[str, Any]) -> Any:
    """Run ``op`` on Tensors (numbers and None pass as they are; arrays and sequences are converted), and record it."""
    arrays: list[Any] = []
    backend: Backend | None = None
    track = False
    for x in inputs:
        if isinstance(x, Tensor):
            if backend is None:
                backend = x.backend
            elif x.backend is not backend:
                _refuse_mixed_devices(op, inputs)
            if x.requires_grad:
                track = True
            arrays.append(x.data)
        elif x is None or isinstance(x, SCALARS):
            arrays.append(x)
        else:
            return apply(op, [_as_input(y) for y in inputs], attributes)
    if backend is None:
        return apply(op, [Tensor(x) if isinstance(x, SCALARS) else x for x in inputs], attributes)
    out = op.forward(backend, *arrays, **attributes)
    track = track and op.differentiable and mode.grad
    if isinstance(out, tuple):
        if len(out) != op.outputs:
            raise TypeError(f"{op.name} returned {len(out)} outputs and declares {op.outputs}: set Op.outputs.")
        results = tuple([wrap(_array(x, backend), backend) for x in out])
        if track:
            node = Node(op, inputs, attributes, backend, results)
            for i, result in enumerate(results):
                if result.data.dtype.kind == "f":
                    result.node, result.requires_grad = Output(node, i), True
        return results
    result = wrap(out if isinstance(out, backend.array_type) else backend.asarray(out), backend)
    if op.view:
        result._version = next(x for x in inputs if isinstance(x, Tensor)).share_version()
    if track and result.data.dtype.kind == "f":
        result.node = Node(op, inputs, attributes, backend, (result,))
        result.requires_grad = True
    return result


def _array(x: Any, backend: Backend) -> Any:
    """NumPy reduces arrays without axes to scalars; a Tensor's data is always an array."""
    return x if isinstance(x, backend.array_type) else backend.asarray(x)


def _as_input(x: Any) -> Any:
    if x is None or isinstance(x, (Tensor, *SCALARS)):
        return x
    return Tensor(x)


def _refuse_mixed_devices(op: Op, inputs: Sequence[Any]) -> NoReturn:
    devices = sorted({x.device for x in inputs if isinstance(x, Tensor)})
    raise RuntimeError(
        f"{op.name or type(op).__name__} got tensors on different devices: {' and '.join(devices)}. "
        f"Move them to one with .to({devices[0]!r}) or .to({devices[-1]!r})."
    )


def op(*derivatives: Callable[..., Tensor] | None) -> Callable[[Callable[..., Any]], Op]:
    """Make a differentiable operation from a function of arrays and one derivative for each of its inputs.

    The function is called as ``f(xp, *arrays, **attributes)`` with the array module of the device that the inputs are
    on. Each derivative is called as ``d(gradient, output, *inputs, **attributes)`` with Tensors, and returns the
    gradient of its input; written in gradlite's operations it can itself be differentiated. None: no gradient.

    >>> import gradlite
    >>> @gradlite.op(lambda g, out, x: g * 3 * x * x)
    ... def cube(xp, x):
    ...     return xp.multiply(x, x * x)
    >>> x = gradlite.Tensor([2.0], requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad.item()
    12.0
    """

    def decorate(function: Callable[..., Any]) -> Op:
        return _FromFunction(function, derivatives)

    return decorate


class _FromFunction(Op):
    """What the decorator ``op`` makes."""

    saves_output = True

    def __init__(self, function: Callable[..., Any], derivatives: Sequence[Callable[..., Tensor] | None]) -> None:
        self.function = function
        self.derivatives = derivatives
        self.differentiable = any(d is not None for d in derivatives)
        self.name = function.__name__
        self.__doc__ = function.__doc__

    def forward(self, backend: Backend, *arrays: Any, **attributes: Any) -> Any:
        return self.function(backend.xp, *arrays, **attributes)

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        return vjp_by_derivatives(self.derivatives, node, gradients[0])


def vjp_by_derivatives(
    derivatives: Sequence[Callable[..., Any] | None], node: Node, gradient: Tensor | None
) -> list[Tensor | None]:
    """One gradient for each input that needs one, from ``derivative(gradient, output, *inputs, **attributes)``."""
    out = node.saved_output() if node.op.saves_output else None
    inputs = node.saved_inputs()
    if len(derivatives) != len(inputs):
        raise TypeError(f"{node.op.name} has {len(derivatives)} derivatives for {len(inputs)} inputs.")
    return [
        None if edge is None or derivative is None else derivative(gradient, out, *inputs, **node.attributes)
        for edge, derivative in zip(node.edges, derivatives)
    ]


def transfer(x: Tensor, device: str | Backend) -> Tensor:
    """``x`` on another device; the gradient comes back the other way."""
    target = get_backend(device)
    if target is x.backend:
        return x
    source = x.backend
    result = wrap(target.asarray(source.to_numpy(x.data)), target)
    if x.requires_grad and mode.grad:
        result.node = Node(_Transfer(source), (x,), {}, target, (result,))
        result.requires_grad = True
    return result


class _Transfer(Op):
    name = "to"
    saves_inputs = False

    def __init__(self, source: Backend) -> None:
        self.source = source

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        gradient = gradients[0]
        return [None if gradient is None else transfer(gradient, self.source)]


def as_tensor(x: Any, like: Tensor | None = None) -> Tensor:
    """``x`` as a Tensor: as it is where it is one; numbers take the dtype of ``like`` where that is floating point."""
    if isinstance(x, Tensor):
        return x
    if like is not None and not isinstance(x, np.ndarray) and backend_of(x) is None:
        return Tensor(x, dtype=like.dtype if like.dtype.kind == "f" else None, device=like.backend)
    return Tensor(x)
