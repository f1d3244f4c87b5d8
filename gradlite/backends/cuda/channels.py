"""How batch normalization is laid out over a GPU: which threads have which channels and rows (kernels/channels.cuh)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gradlite.backends.cuda.launch import blocks
from gradlite.backends.cuda.operands import power_of_two

# The most threads of a block; the size of its shared memory follows.
MOST_THREADS = 512
# Up to so many rows one block reads all rows of its channels, twice: the second time they are in its cache, and what
# is saved is a launch.
DIRECT_ROWS = 1024
# A cache line, the unit of a row that a block reads; a sector where one block has all rows, for more blocks.
LINE_BYTES, SECTOR_BYTES = 128, 32
# Blocks of the most threads that a multiprocessor runs at once, by the kernels' launch bounds.
BLOCKS_AT_ONCE = 2
# A thread should have some rows to sum up before it meets the others.
ROWS_A_THREAD = 4


@dataclass(frozen=True)
class Layout:
    """The division of (rows, channels) among blocks.

    Attributes:
        width: channels a thread.
        block: threads along channels and along rows.
        tiles: blocks along channels.
        slices: blocks along rows, when sums are taken.
        rows_each: rows of a slice.
        direct: whether a block has all rows of its channels.
    """

    width: int
    block: tuple[int, int]
    tiles: int
    slices: int
    rows_each: int
    direct: bool

    def grid(self, multiprocessors: int, rows: int) -> tuple[int, int]:
        """Blocks for a loop over ``rows`` of the output: no more than run at once, since each starts with the channels'
        statistics; where it takes them of all rows itself, one."""
        most = 1 if self.direct else max(1, BLOCKS_AT_ONCE * multiprocessors // self.tiles)
        return max(1, min(blocks(rows, self.block[1]), most)), self.tiles


@lru_cache(maxsize=1024)
def layout_for(multiprocessors: int, itemsize: int, channels: int, width: int, rows: int, direct: bool) -> Layout:
    """The layout for sums over ``rows``, a power of two of threads each way.

    Args:
        itemsize: bytes of an element.
        width: channels a thread.
        direct: whether a block has all rows of its channels.
    """
    across = (SECTOR_BYTES if direct else LINE_BYTES) // (width * itemsize)
    across = max(1, min(across, power_of_two(blocks(channels, width))))
    down = min(MOST_THREADS // across, power_of_two(rows))
    tiles = blocks(channels, across * width)
    wanted = 1 if direct else max(1, multiprocessors // tiles)
    each = blocks(rows, min(wanted, blocks(rows, down * ROWS_A_THREAD)) or 1)
    return Layout(width, (across, down), tiles, blocks(rows, each) if each else 1, each, direct)
