"""Where arrays lie: their addresses, and scratch memory at one that keeps loads and stores apart."""

from __future__ import annotations

import numpy as np

from gradlite.backends.cpu import parallel

PAGE = 4096


def placed(name: str, size: int, like: np.ndarray, distance: int = PAGE // 2) -> np.ndarray:
    """This thread's scratch vector `name`, which starts `distance` bytes after `like`, modulo a page.

    A processor takes a load for the reload of a recent store when their addresses agree in the last twelve bits. Kept
    apart, element-wise passes run up to eight times as fast as in an unlucky placement.
    """
    memory = parallel.scratch(name, (size * like.itemsize + PAGE,), np.uint8)
    start = (like.ctypes.data + distance - memory.ctypes.data) % PAGE
    return memory[start : start + size * like.itemsize].view(like.dtype)


def address(array: np.ndarray) -> int:
    """Where the first element of an array is."""
    place: int = array.__array_interface__["data"][0]
    return place
