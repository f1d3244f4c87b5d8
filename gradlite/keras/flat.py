"""FlatBuffer: many variables in one piece of memory, so that an optimizer updates them all with one launch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gradlite.backends import Backend
from gradlite.keras.variables import Variable

# Every variable starts at a multiple of 16 elements, the buffer at a multiple of 64 bytes: a cache line, and what
# vector instructions and coalesced GPU accesses want.
ALIGNMENT = 16
BYTES = 64


def aligned_zeros(backend: Backend, size: int, dtype: Any) -> Any:
    """A 1-D array of zeros whose memory starts at a multiple of 64 bytes."""
    dtype_bytes = backend.empty((1,), dtype).itemsize
    array = backend.full((size + BYTES // dtype_bytes,), 0, dtype)
    interface = getattr(array, "__array_interface__", None) or array.__cuda_array_interface__
    start = -interface["data"][0] % BYTES // dtype_bytes
    return array[start : start + size]


class FlatBuffer:
    """One contiguous array that holds the values of ``variables``; their ``.data`` become views of it.

    Args:
        variables: Variables of one dtype and device, not empty.

    Raises:
        ValueError: for variables of different dtypes or devices.

    >>> from gradlite.keras.flat import FlatBuffer
    >>> from gradlite.keras.variables import Variable
    >>> a, b = Variable([1.0, 2.0], name="a"), Variable([[3.0]], name="b")
    >>> flat = FlatBuffer([a, b])
    >>> flat.data[:2] *= 10
    >>> a.numpy(), flat.offsets
    (array([10., 20.], dtype=float32), (0, 16))
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        self.variables = list(variables)
        self.backend: Backend = self.variables[0].backend
        self.dtype = self.variables[0].dtype
        for variable in self.variables:
            if variable.dtype != self.dtype or variable.backend is not self.backend:
                raise ValueError(
                    f"One buffer holds variables of one dtype and device, here {self.dtype} on {self.backend.device}. "
                    f"Received: {variable.path!r} of {variable.dtype} on {variable.device}."
                )
        offsets, end = [], 0
        for variable in self.variables:
            offsets.append(end)
            end += -(-variable.size // ALIGNMENT) * ALIGNMENT
        self.offsets = tuple(offsets)
        self.size = end
        self.data = self.like()
        self.views = self.views_of(self.data)
        self.adopt()

    def like(self) -> Any:
        """Zeros laid out like this buffer: for gradients, and for an optimizer's state."""
        return aligned_zeros(self.backend, self.size, self.dtype)

    def views_of(self, array: Any) -> list[Any]:
        """One view for each variable, of its shape, on an array laid out like this buffer."""
        return [
            array[offset : offset + variable.size].reshape(variable.shape)
            for offset, variable in zip(self.offsets, self.variables)
        ]

    def adopt(self) -> bool:
        """Take in every variable whose memory is elsewhere, with its values; whether there was one.

        A variable leaves when another optimizer, or a load that replaces ``.data``, gives it other memory.
        """
        strayed = False
        for variable, view in zip(self.variables, self.views):
            if variable.data is not view:
                self.backend.launch("assign", view, variable.data)
                variable.data = view
                strayed = True
        return strayed

    def pack(self, arrays: Sequence[Any], out: Any) -> Any:
        """Write the arrays, one for each variable or None, into ``out``, which is laid out like this buffer."""
        given = [(array, offset) for array, offset in zip(arrays, self.offsets) if array is not None]
        if given:
            self.backend.launch("pack", *(a for a, _ in given), offsets=tuple(o for _, o in given), out=out)
        return out

    def segments(self, active: Sequence[bool]) -> Iterator[tuple[int, int]]:
        """The (start, stop) of runs of variables for which ``active`` holds, neighbours merged.

        The padding between two neighbours is part of their run; it is zero and no update moves it.
        """
        start: int | None = None
        stop = 0
        for wanted, offset, variable in zip(active, self.offsets, self.variables):
            if wanted:
                start = offset if start is None else start
                stop = offset + variable.size
            elif start is not None:
                yield start, stop
                start = None
        if start is not None:
            yield start, stop
