"""What kernels ask of their operands: dtypes, contiguity, and how many elements a thread takes at once."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlite.backends.cuda.launch import NARROW, blocks
from gradlite.backends.cuda.sources import entry

if TYPE_CHECKING:
    from gradlite.backends.cuda.backend import CudaBackend

FLOATS = (np.dtype(np.float32), np.dtype(np.float64), *NARROW)
THREADS = 256
# Indices of elements are 32-bit in most kernels.
MOST_ELEMENTS = 2**31 - 1

# The same few entries are launched again and again: looking one up is cheaper than building it.
kernel = lru_cache(maxsize=None)(entry)


def arithmetic(dtype: Any) -> str:
    """The C type in which elements of this float type are computed: those of 16 bits in float32."""
    return "double" if dtype.itemsize == 8 else "float"


def are_floats(*arrays: Any) -> bool:
    """Whether all arrays are of one of our float types, and no larger than 32-bit indices reach."""
    dtype = arrays[0].dtype
    return dtype in FLOATS and all(x.dtype == dtype and x.size <= MOST_ELEMENTS for x in arrays)


def contiguous(gpu: CudaBackend, array: Any) -> Any:
    """The array, or a C-contiguous copy of one that is not; None stays None."""
    return array if array is None or array.flags.c_contiguous else gpu.launch("copy", array)


def writable(*buffers: Any) -> bool:
    """Whether a kernel can write into the buffers that a caller brought, each an array or None."""
    return all(b is None or b.flags.c_contiguous for b in buffers)


def width_of(channels: int, *arrays: Any) -> int:
    """How many neighbouring channels a thread takes: up to 16 bytes of the widest array, in one aligned access to
    each, where the number of channels and the addresses allow it; else 1."""
    width = min(4, 16 // max(x.dtype.itemsize for x in arrays))
    aligned = channels % width == 0 and all(x.data.ptr % (width * x.dtype.itemsize) == 0 for x in arrays)
    return width if aligned else 1


def grid_for(gpu: CudaBackend, threads: int) -> tuple[int]:
    """Blocks for a grid-stride loop: enough to fill the device a few times, and no more than there is work."""
    return (min(blocks(threads, THREADS), 16 * gpu.multiprocessors),)


def power_of_two(number: int) -> int:
    """The smallest power of two that is at least ``number``.

    >>> power_of_two(5)
    8
    """
    return 1 << max(number - 1, 0).bit_length()


def team_for(columns: int) -> int:
    """How many threads share a row of this length; see kernels/team.cuh."""
    return 8 if columns <= 16 else 32 if columns <= 1024 else THREADS
