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
WARP = 32
# Slices whose sums a thread reads at once (SLICES_AT_ONCE in channels.cuh).
SLICES_AT_ONCE = 2
# From so many rows a thread on there are two blocks a multiprocessor, for more loads under way: below it costs more to
# add the sums of twice as many slices.
ROWS_A_THREAD = 8


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

    def grid(self, multiprocessors: int, rows: int, at_once: int = BLOCKS_AT_ONCE) -> tuple[int, int]:
        """Blocks for a loop over ``rows`` of the output: no more than run at once, since each starts with the channels'
        statistics, ``at_once`` on a multiprocessor; where it takes them of all rows itself, one."""
        most = 1 if self.direct else max(1, at_once * multiprocessors // self.tiles)
        return max(1, min(blocks(rows, self.block[1]), most)), self.tiles


@lru_cache(maxsize=1024)
def layout_for(multiprocessors: int, itemsize: int, channels: int, width: int, rows: int, direct: bool) -> Layout:
    """The layout for sums over ``rows``, a power of two of threads each way and whole warps.

    A block for every multiprocessor, of fewer threads rather than fewer blocks where rows are few.

    Args:
        itemsize: bytes of an element.
        width: channels a thread.
        direct: whether a block has all rows of its channels.
    """
    across = (SECTOR_BYTES if direct else LINE_BYTES) // (width * itemsize)
    across = max(1, min(across, power_of_two(blocks(channels, width))))
    tiles = blocks(channels, across * width)
    least, most = max(1, WARP // across), MOST_THREADS // across
    if direct:
        return Layout(width, (across, max(least, min(most, power_of_two(rows)))), tiles, 1, rows, True)
    wanted = max(1, multiprocessors // tiles)
    down = most
    while down > 2 * least and 4 * blocks(rows, down) < 3 * wanted:
        down //= 2
    if rows >= wanted * down * ROWS_A_THREAD:
        wanted = max(1, BLOCKS_AT_ONCE * multiprocessors // tiles)
    else:
        wanted = min(wanted, SLICES_AT_ONCE * down)
    each = blocks(rows, max(1, min(wanted, blocks(rows, down))))
    return Layout(width, (across, down), tiles, blocks(rows, each), each, False)
