"""The processor that native kernels are made for: LLVM's name of it, and the shapes that fit its registers."""

from __future__ import annotations

import os
from functools import cache
from typing import NamedTuple


class Target(NamedTuple):
    """What the generators of micro-kernels ask of a processor.

    Attributes:
        cpu: LLVM's name of it.
        features: LLVM's list of what it can do, ``"+avx2,+fma,..."``.
        lanes: float32 numbers in a vector.
        tile_rows: rows of a product's tile, and
        tile_vectors: vectors in each row: as many sums as the registers hold beside one row of factors, and enough
            for two multiply-adds a cycle of four cycles each.
        group_vectors: vectors of channels that a pass along pixels holds factors and sums of.
    """

    cpu: str
    features: str
    lanes: int
    tile_rows: int
    tile_vectors: int
    group_vectors: int

    def whole(self, channels: int) -> int:
        """Channels padded to whole vectors."""
        return channels + -channels % self.lanes

    @property
    def tile_columns(self) -> int:
        """Numbers in a row of a product's tile."""
        return self.lanes * self.tile_vectors


# Processors that can be asked for by name, to try on one machine what another would run.
_NAMED = {
    "avx2": Target("haswell", "+avx2,+fma,+f16c,+bmi,+bmi2", 8, 6, 2, 2),
    "sse2": Target("x86-64", "+sse2", 4, 4, 2, 2),
}


@cache
def host_target() -> Target:
    """The processor this runs on, or the one that the variable ``GRADLITE_CPU_TARGET`` names (``avx2``, ``sse2``).

    Raises:
        ValueError: for a name that is not known.
    """
    import llvmlite.binding as llvm

    wanted = os.environ.get("GRADLITE_CPU_TARGET", "")
    if wanted:
        if wanted not in _NAMED:
            raise ValueError(f"GRADLITE_CPU_TARGET is one of {', '.join(_NAMED)}. Received: {wanted!r}.")
        return _NAMED[wanted]
    available = llvm.get_host_cpu_features()
    cpu, features = llvm.get_host_cpu_name(), available.flatten()
    if available.get("avx512f"):
        return Target(cpu, features, 16, 8, 2, 4)
    if available.get("avx2") and available.get("fma"):
        return Target(cpu, features, 8, 6, 2, 2)
    if llvm.get_process_triple().startswith(("aarch64", "arm64")):
        return Target(cpu, features, 4, 8, 2, 4)
    return Target(cpu, features, 4, 4, 2, 2)
