"""Op: what an operation is; running it on Tensors, and making one from a function and its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from gradlite.autograd.modes import mode
from gradlite.autograd.node import Node, Output
from gradlite.backends import Backend, backend_of, get_backend
from gradlite.backends.dtypes import FLOAT_KINDS
from gradlite.tensor import SCALARS, Tensor, wrap

Derivative = Callable[..., Any]


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
        kernel: the name of the backend kernel that computes it; then ``forward`` is not needed.
        saves_inputs: the inputs that ``vjp`` reads: True (all), False (none) or their positions.
        saves_output: whether ``vjp`` reads the output.
        outputs: how many tensors ``forward`` returns (a tuple where more than one).
        differentiable: False for operations whose derivative is zero wherever it exists.
        view: whether the output shares memory with the input.
    """

    name: str = ""
    kernel: str | None = None
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
        """Run on Tensors (numbers and None pass as they are; arrays and sequences are converted), and record it."""
        if mode.autocast is not None:
            inputs = tuple(mode.autocast(inputs))
        arguments: list[Any] = [self.kernel]  # of the launch: the kernel's name, then arrays, numbers and None
        backend: Backend | None = None
        track = False
        for x in inputs:
            if isinstance(x, Tensor):
                if x.backend is not backend:
                    if backend is not None:
                        self._refuse_mixed_devices(inputs)
                    backend = x.backend
                track = track or x.requires_grad
                arguments.append(x.data)
            elif x is None or isinstance(x, SCALARS):
                arguments.append(x)
            else:
                return self(*_as_inputs(inputs), **attributes)
        if backend is None:
            return self(*[Tensor(x) if isinstance(x, SCALARS) else x for x in inputs], **attributes)
        try:
            if self.kernel is not None:
                out = backend.launch(*arguments, **attributes)
            else:
                out = backend.call(self.forward, backend, *arguments[1:], **attributes)
        except ValueError as error:
            self._explain(error, arguments[1:])
        track = track and self.differentiable and mode.grad
        if not isinstance(out, backend.array_type):
            if isinstance(out, tuple):
                return self._several(out, inputs, attributes, backend, track)
            out = backend.asarray(out)
        result = wrap(out, backend)
        if self.view:
            result._version = next(x for x in inputs if isinstance(x, Tensor)).share_version()
        if track and out.dtype.kind in FLOAT_KINDS:
            result.node = Node(self, inputs, attributes, backend, (result,))
            result.requires_grad = True
        return result

    def _several(
        self, out: tuple[Any, ...], inputs: Sequence[Any], attributes: dict[str, Any], backend: Backend, track: bool
    ) -> tuple[Tensor, ...]:
        """The outputs of an operation that has more than one."""
        if len(out) != self.outputs:
            raise TypeError(f"{self} returned {len(out)} outputs and declares {self.outputs}: set its `outputs`.")
        results = tuple([wrap(_array(x, backend), backend) for x in out])
        if track:
            node = Node(self, inputs, attributes, backend, results)
            for i, result in enumerate(results):
                if result.data.dtype.kind in FLOAT_KINDS:
                    result.node, result.requires_grad = Output(node, i), True
        return results

    def _explain(self, error: ValueError, arrays: Sequence[Any]) -> NoReturn:
        """Raise the error again with the operation and the shapes it received."""
        shapes = ", ".join(str(getattr(x, "shape", x)) for x in arrays)
        raise ValueError(f"{self.name or type(self).__name__}() of {shapes}: {error}".rstrip()) from error

    def _refuse_mixed_devices(self, inputs: Sequence[Any]) -> NoReturn:
        devices = sorted({x.device for x in inputs if isinstance(x, Tensor)})
        raise RuntimeError(
            f"{self.name or type(self).__name__} got tensors on different devices: {' and '.join(devices)}. "
            f"Move them to one with .to({devices[0]!r}) or .to({devices[-1]!r})."
        )

    def __repr__(self) -> str:
        return f"<Op {self.name or type(self).__name__}>"


class WithDerivatives(Op):
    """An operation of one output whose derivatives are given one by one, an input each: a function
    ``(gradient, output, *inputs, **attributes) -> gradient of that input``, or None where there is none."""

    derivatives: Sequence[Derivative | None] = ()

    def vjp(self, node: Node, *gradients: Tensor | None) -> Sequence[Tensor | None]:
        out = node.saved_output() if self.saves_output else None
        inputs = node.saved_inputs()
        if len(self.derivatives) != len(inputs):
            raise TypeError(f"{self} has {len(self.derivatives)} derivatives for {len(inputs)} inputs.")
        gradient, attributes = gradients[0], node.attributes
        results: list[Tensor | None] = []
        for edge, derivative in zip(node.edges, self.derivatives):
            if edge is None or derivative is None:
                results.append(None)
            else:
                results.append(derivative(gradient, out, *inputs, **attributes))
        return results


def _array(x: Any, backend: Backend) -> Any:
    """NumPy reduces arrays without axes to scalars; a Tensor's data is always an array."""
    return x if isinstance(x, backend.array_type) else backend.asarray(x)


def as_tensors(*values: Any) -> list[Any]:
    """All values as Tensors, and None as it is; data of the host go to the device of the first one that is a Tensor."""
    if mode.autocast is not None:
        values = tuple(mode.autocast(values))
    first = None
    for x in values:
        if isinstance(x, Tensor):
            first = x
            break
    return [x if x is None or isinstance(x, Tensor) else _placed(x, first) for x in values]


def _as_inputs(inputs: Sequence[Any]) -> list[Any]:
    """Arrays and sequences among the inputs as Tensors; numbers and None stay what they are."""
    converted = iter(as_tensors(*[x for x in inputs if x is not None and not isinstance(x, SCALARS)]))
    return [x if x is None or isinstance(x, SCALARS) else next(converted) for x in inputs]


def _placed(x: Any, like: Tensor | None) -> Tensor:
    """Data as a Tensor: on a GPU where it is, from the host on the device of ``like``, or the current one."""
    return Tensor(x, device=None if like is None or hasattr(x, "__cuda_array_interface__") else like.backend)


def op(*derivatives: Derivative | None) -> Callable[[Callable[..., Any]], Op]:
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


class _FromFunction(WithDerivatives):
    """What the decorator ``op`` makes."""

    saves_output = True

    def __init__(self, function: Callable[..., Any], derivatives: Sequence[Derivative | None]) -> None:
        self.function = function
        self.derivatives = derivatives
        self.differentiable = any(d is not None for d in derivatives)
        self.name = function.__name__
        self.__doc__ = function.__doc__

    def forward(self, backend: Backend, *arrays: Any, **attributes: Any) -> Any:
        return self.function(backend.xp, *arrays, **attributes)


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
    """``x`` as a Tensor: as it is where it is one; data of the host go to the device of ``like``, and numbers take its
    dtype where that is floating point."""
    if isinstance(x, Tensor):
        return x
    if like is not None and backend_of(x) is None:
        return Tensor(x, dtype=like.dtype if like.dtype.kind in FLOAT_KINDS else None, device=like.backend)
    return _placed(x, like)
