"""Tensor: an array, its gradient, and the tape node that made it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from gradlite.backends import Backend, default_backend, existing_backend, foreign_array, get_backend, gpu_of
from gradlite.backends.dtypes import FLOAT_KINDS, as_dtype, is_bfloat16
from gradlite.methods import Methods, late

if TYPE_CHECKING:
    from gradlite.autograd.node import Node

SCALARS = (bool, int, float, np.generic)

TensorLike = Union["Tensor", np.ndarray, Sequence[Any], bool, int, float, np.generic]


class Tensor(Methods):
    """A multi-dimensional array that can record what is computed from it.

    Args:
        data: an array (kept as it is, without a copy, if dtype and device fit), a Tensor, numbers or nested sequences
            of numbers. Python floats become float32, Python integers int64.
        requires_grad: whether operations on this tensor are recorded, so that ``backward`` can compute its gradient.
        dtype: the element type: float32, float64, float16, bfloat16 (with the package ml_dtypes), an integer
            type or bool.
        device: ``"cpu"`` or ``"gpu:N"``. By default a Tensor on an array of CuPy lives on its GPU, and data of the host
            (numbers, sequences, NumPy arrays) go to the current device (see ``gradlite.set_device``).

    Raises:
        TypeError: for data that is no array of numbers, or ``requires_grad`` on integers.

    >>> import gradlite
    >>> x = gradlite.Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad.numpy()
    array([2., 4.], dtype=float32)
    """

    # Set on an instance only where they differ from these, which keeps creating a Tensor cheap; but ``wrap`` sets what
    # every operation asks for, because an instance's own attributes are read faster than those of its class.
    requires_grad: bool = False
    grad: Tensor | None = None
    node: Node | None = None
    hooks: list[Callable[[Tensor], Tensor | None]] | None = None
    logits: Any = None  # set by softmax and sigmoid activations: (name, input), for losses that want the stable form
    _version: list[int] | None = None  # how often the memory was written to, shared by all views of it

    data: Any
    backend: Backend

    # NumPy arrays and scalars on the left of an operator leave it to us.
    __array_ufunc__ = None

    def __init__(
        self, data: Any, requires_grad: bool = False, dtype: Any = None, device: str | Backend | None = None
    ) -> None:
        given = data
        if isinstance(data, Tensor):
            data, held = data.data, data.backend
        else:
            if type(data) is not np.ndarray and hasattr(data, "__cuda_array_interface__"):
                data = foreign_array(data)
            held = gpu_of(data)
        backend = get_backend(device) if device is not None else held or default_backend()
        if held is None and type(data) is not np.ndarray:
            described = hasattr(data, "dtype")
            data = np.asarray(data, None if dtype is None else as_dtype(dtype))
            if dtype is None and not described and data.dtype == np.float64:
                data = data.astype(np.float32)
        kind = as_dtype(data.dtype if dtype is None else dtype)
        if kind.kind not in "fiub" and not is_bfloat16(kind):
            raise TypeError(
                f"A Tensor holds real numbers or booleans. Received: {type(given).__name__} of dtype {kind}."
            )
        if held is not None and held is not backend:
            data = held.to_numpy(data)
        self.data = backend.asarray(data, kind)
        self.backend = backend
        if isinstance(given, Tensor) and self.data is given.data:
            self._version = given.share_version()
        if requires_grad:
            self.requires_grad_()

    # What it is.

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of every axis."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        """The element type."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.data.nbytes

    @property
    def device(self) -> str:
        """The name of the device that holds the values."""
        return self.backend.device

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self.node is None

    @property
    def version(self) -> int:
        """How often the values were changed in place."""
        return 0 if self._version is None else self._version[0]

    def bump_version(self) -> None:
        """Note that the values were changed in place, so that a backward pass which needs the old ones raises."""
        if self._version is None:
            self._version = [0]
        self._version[0] += 1

    def share_version(self) -> list[int]:
        """The counter behind ``version``, for a view of the same memory."""
        if self._version is None:
            self._version = [0]
        return self._version

    # Gradients.

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch recording on or off for this tensor, and return it.

        Raises:
            TypeError: for integers and booleans, which have no gradient.
            RuntimeError: when switched off on the result of a recorded operation.
        """
        if requires_grad and self.data.dtype.kind not in FLOAT_KINDS:
            raise TypeError(
                f"Only floating-point tensors have gradients. Received: dtype {self.data.dtype}; "
                "convert it with .astype('float32') first."
            )
        if not requires_grad and self.node is not None:
            raise RuntimeError("This tensor was computed by a recorded operation; use .detach() for one without.")
        self.requires_grad = requires_grad
        return self

    def backward(
        self, gradient: TensorLike | None = None, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf that it was computed from.

        Args:
            gradient: the gradient flowing in, of this tensor's shape. May be left out for a single element (then 1).
            retain_graph: keep what backward needs, so that it can run again.
            create_graph: record the backward pass too, for gradients of gradients.

        Raises:
            RuntimeError: if nothing here requires a gradient, if the graph was freed by an earlier call, or if a value
                that is needed was changed in place.
            ValueError: if ``gradient`` is missing or of another shape.
        """
        late.autograd.backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph)

    def detach(self) -> Tensor:
        """The same values (the same memory) without history."""
        result = wrap(self.data, self.backend)
        result._version = self.share_version()
        return result

    def retain_grad(self) -> Tensor:
        """Have ``backward`` store ``.grad`` here too, although this is not a leaf. Returns the tensor."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad() needs a tensor that requires a gradient.")
        if self.node is not None:
            self.node.retain(self)
        return self

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call ``hook(gradient)`` when this tensor's gradient is complete; what it returns (if not None) replaces it.

        Returns a function that removes the hook.
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook() needs a tensor that requires a gradient.")
        owner: Any = self if self.node is None else self.node
        if owner.hooks is None:
            owner.hooks = []
        hooks = owner.hooks
        entry = partial(hook)  # an object of its own, so that of two equal hooks the right one is removed
        hooks.append(entry)

        def remove() -> None:
            hooks[:] = [other for other in hooks if other is not entry]

        return remove

    # Values, and ways in and out.

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array: a copy, so that later changes on either side stay there."""
        return self.backend.to_numpy(self.data)

    def item(self) -> Any:
        """The one element, as a Python number.

        Raises:
            ValueError: if there is not exactly one element.
        """
        if self.data.size != 1:
            raise ValueError(f"item() needs a tensor of one element. Received: shape {self.shape}.")
        return self.backend.item(self.data)

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self.numpy().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if not isinstance(self.data, np.ndarray):
            raise TypeError(f"A tensor on {self.device} is not copied to the host silently; call .numpy() on it.")
        return np.array(self.data, dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self.backend.call(self.data.__dlpack__, **options)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The memory, for other libraries on the same GPU; a tensor on the CPU has no such attribute."""
        return self.backend.call(getattr, self.data, "__cuda_array_interface__")

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (self.numpy(), self.requires_grad, self.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        result = wrap(self.backend.copy(self.data), self.backend)
        result.requires_grad = self.requires_grad
        if self.grad is not None:
            result.grad = self.grad.__deepcopy__(memo)
        memo[id(self)] = result
        return result

    def __setitem__(self, index: Any, value: TensorLike) -> None:
        """Write ``value`` into the elements that ``index`` names, in place.

        Raises:
            RuntimeError: where this tensor or ``value`` requires a gradient, while operations are recorded;
                ``gradlite.where`` makes a changed copy instead.
        """
        if self.requires_grad and late.autograd.is_grad_enabled():
            raise RuntimeError(
                "A tensor that requires a gradient cannot be written to while operations are recorded. "
                "Use gradlite.where for a changed copy, or write under gradlite.no_grad()."
            )
        if isinstance(value, Tensor) and value.requires_grad and late.autograd.is_grad_enabled():
            raise RuntimeError(
                "The value written requires a gradient, which writing does not record. "
                "Use gradlite.where or gradlite.stack, or write value.detach()."
            )
        self.backend.launch(
            "assign_at", self.data, late.ops.plain(value, self.backend), index=late.ops.index(index, self.backend)
        )
        self.bump_version()

    def __len__(self) -> int:
        if self.data.ndim == 0:
            raise TypeError("A tensor without axes has no length.")
        return self.data.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ValueError(
                f"The truth value of a tensor of {self.data.size} elements is ambiguous; use .any() or .all()."
            )
        return bool(self.backend.item(self.data))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.data.dtype.kind not in "iu":
            raise TypeError(f"Only an integer tensor can be an index. Received: dtype {self.dtype}.")
        return int(self.item())

    def __format__(self, specification: str) -> str:
        return format(self.item(), specification) if specification else repr(self)

    # Elements are compared by ==, so identity has to serve for dictionaries.
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        name = type(self).__name__
        values = np.array2string(self.numpy(), separator=", ", prefix=name + "(", threshold=200, edgeitems=3)
        tail = ", requires_grad=True" if self.requires_grad else ""
        return f"{name}({values}, dtype={self.dtype}, device='{self.device}'{tail})"


def wrap(array: Any, backend: Backend) -> Tensor:
    """A Tensor on an array that is known to be one of ``backend``'s."""
    tensor = _new(Tensor)
    tensor.data = array
    tensor.backend = backend
    tensor.requires_grad = False
    tensor.node = None
    tensor._version = None
    return tensor


_new = Tensor.__new__


def rebuild(values: np.ndarray, requires_grad: bool, device: str) -> Tensor:
    """Make a pickled Tensor again: on its device, or the current one where that does not exist here."""
    return Tensor(values, requires_grad=requires_grad, device=existing_backend(device))


def from_dlpack(array: Any) -> Tensor:
    """A Tensor on the memory of another library's array (PyTorch, JAX, CuPy ...), without a copy.

    >>> import numpy as np
    >>> import gradlite
    >>> gradlite.from_dlpack(np.ones(2)).shape
    (2,)
    """
    return Tensor(foreign_array(array))
