"""Which tile, and how many slices of k, a matrix product on a GPU is computed with.

A product is cut into tiles of C, one a block. Large tiles read each element less often, small ones make more blocks of
a small product; what is still too few blocks for the device is split along k, and the last block of each tile adds up
the slices, in their order. The choice is the cheapest by a model of a few lines (``_cycles``), not a table by shape:
shapes are the user's. Its constants are in cycles of a multiprocessor. Those of TF32 are fitted to 400 measured times
of 18 products (batches of 32, 128 and 1024) on an H100: over them what it chooses is 1 % slower than the best on
average, 6 % at worst, and its times are right to 14 %. Those of other units are estimates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from gradlite.backends.cuda.launch import blocks

Capability = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """A way in which the kernels are compiled.

    Attributes:
        m, n, k: of a block's tile.
        part: what a thread computes of it (``gemm_ffma.cu``), or a warp (``gemm_mma.cu``).
        threads: of a block.
        resident: blocks that a multiprocessor is to hold, which bounds their registers.
        stages: buffers in shared memory.
        efficiency: share of the peak rate that it reaches when there is enough to do.
    """

    m: int
    n: int
    k: int
    part: tuple[int, int]
    threads: int
    resident: int
    stages: int
    efficiency: float


# The units that products are computed in. Rate: multiply-adds a cycle of a multiprocessor; latency: cycles that a step
# of k takes at least, since its elements come from L2: the smaller the more steps are under way.
FFMA, TF32, BFLOAT16, FLOAT16 = "ffma", "tf32", "bfloat16", "float16"
RATES = {FFMA: 128.0, TF32: 512.0, BFLOAT16: 1024.0, FLOAT16: 1024.0}
LATENCIES = {FFMA: 700, TF32: 340, BFLOAT16: 340, FLOAT16: 340}
# A launch, a block's start, its first loads and its epilogue; results stored; and what splitting adds: partial sums
# written, counted, and read by the last block of a tile.
START = 6000
STORED_BYTES_A_CYCLE = 8
SPLIT = 400
MEMORY_BYTES_A_CYCLE, L2_BYTES_A_CYCLE = 34, 64
# Warps that keep a multiprocessor busy.
ENOUGH_WARPS = 5
SLICES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)

FFMA_TILES = (
    Tile(128, 128, 8, (8, 8), 256, 2, 2, 0.9),
    Tile(64, 64, 16, (8, 4), 128, 4, 2, 0.75),
    Tile(32, 32, 32, (4, 4), 64, 8, 2, 0.45),
)
DOUBLE_TILES = (
    Tile(64, 64, 16, (4, 4), 256, 2, 2, 0.8),
    Tile(32, 32, 32, (4, 4), 64, 4, 2, 0.6),
)
MMA_TILES_4_BYTES = (
    Tile(128, 128, 32, (64, 64), 128, 2, 3, 0.58),
    Tile(128, 64, 32, (64, 32), 128, 2, 3, 0.47),
    Tile(64, 64, 32, (32, 32), 128, 3, 3, 0.41),
    Tile(32, 32, 32, (16, 16), 128, 4, 4, 0.22),
)
MMA_TILES_2_BYTES = (
    Tile(128, 128, 64, (64, 64), 128, 2, 3, 0.58),
    Tile(128, 64, 64, (64, 32), 128, 2, 3, 0.47),
    Tile(64, 64, 64, (32, 32), 128, 3, 3, 0.41),
    Tile(32, 32, 64, (16, 16), 128, 4, 4, 0.22),
)
# Turing has 64 KB of shared memory, and no cp.async that would need more than two stages.
MMA_TILES_TURING = (
    Tile(128, 128, 32, (64, 64), 128, 2, 2, 0.6),
    Tile(64, 64, 32, (32, 32), 128, 4, 2, 0.5),
    Tile(32, 32, 32, (16, 16), 128, 4, 2, 0.2),
)


def tiles_of(unit: str, itemsize: int, capability: Capability) -> tuple[Tile, ...]:
    """The tiles that a unit has for elements of this size."""
    if unit == FFMA:
        return DOUBLE_TILES if itemsize == 8 else FFMA_TILES
    if itemsize == 4:
        return MMA_TILES_4_BYTES
    return MMA_TILES_2_BYTES if capability >= (8, 0) else MMA_TILES_TURING


def shared_limit(capability: Capability) -> int:
    """Bytes of dynamic shared memory that a block may have, with 1 KB left for what a kernel declares itself."""
    if capability in ((8, 0), (8, 7)):
        return 162 * 1024
    if capability in ((9, 0), (10, 0), (10, 3)):
        return 226 * 1024
    return 98 * 1024 if capability >= (8, 0) else 63 * 1024


def stage_bytes(tile: Tile, itemsize: int, outputs_m: bool, outputs_n: bool) -> int:
    """Shared memory of one stage; an operand with an activation's derivative brings that one's outputs along."""
    return tile.k * (tile.m * (1 + outputs_m) + tile.n * (1 + outputs_n)) * itemsize


@lru_cache(maxsize=4096)
def tile_for(
    unit: str, itemsize: int, m: int, n: int, k: int, batch: int, multiprocessors: int, capability: Capability
) -> tuple[Tile, int]:
    """The tile for ``batch`` products (m, k) x (k, n), and into how many slices k is split.

    >>> tile, slices = tile_for("ffma", 4, 4096, 4096, 4096, 1, 132, (9, 0))
    >>> tile.m, tile.n, slices
    (128, 128, 1)
    """
    candidates = [
        (tile, slices)
        for tile in tiles_of(unit, itemsize, capability)
        for slices in SLICES
        if slices == 1 or blocks(k, tile.k) >= 2 * slices
    ]
    return min(candidates, key=lambda c: _cycles(unit, c[0], c[1], m, n, k, batch, multiprocessors))


def slice_length(tile: Tile, k: int, slices: int) -> int:
    """How much of k a slice takes: whole steps, so that vectors never cross into the next slice."""
    return max(blocks(blocks(k, tile.k), slices), 1) * tile.k


def _cycles(unit: str, tile: Tile, slices: int, m: int, n: int, k: int, batch: int, multiprocessors: int) -> float:
    """About how long the product takes: the slowest multiprocessor computes its blocks side by side."""
    length = slice_length(tile, k, slices)
    count = blocks(m, tile.m) * blocks(n, tile.n) * batch * blocks(k, length)
    share = max(blocks(count, multiprocessors), 1)
    warps = min(share, tile.resident) * tile.threads // 32
    rate = RATES[unit] * tile.efficiency * min(1.0, warps / ENOUGH_WARPS)
    computing = share * tile.m * tile.n * length / rate
    waiting = blocks(share, tile.resident) * (length // tile.k) * LATENCIES[unit]
    size = tile.m * tile.n * 4
    storing = share * size / STORED_BYTES_A_CYCLE
    if slices > 1:
        storing += SPLIT + 2 * share * size / MEMORY_BYTES_A_CYCLE + slices * size / L2_BYTES_A_CYCLE
    return START + max(computing, waiting) + storing
