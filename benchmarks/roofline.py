"""What a measurement could have reached at best on its machine: its work over the ceilings of the same run."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.documents import Document, Measurement


@dataclass(frozen=True)
class Reached:
    """Rates reached, the floor of the time in seconds, what sets it, and the fraction of the ceiling reached."""

    seconds: float
    flop: float
    bytes: float
    floor: float
    bound: str

    @property
    def gflop_s(self) -> float:
        """Operations a second."""
        return 1e-9 * self.flop / self.seconds

    @property
    def gb_s(self) -> float:
        """Bytes a second, counting what must move at least."""
        return 1e-9 * self.bytes / self.seconds

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.flop / self.bytes

    @property
    def fraction(self) -> float:
        """The floor over the time: 1 is all that the ceilings allow; more where data stayed in a cache."""
        return self.floor / self.seconds


def ceilings(document: Document, rival: str) -> dict[str, float]:
    """The ceilings of the device that a rival ran on: those of the GPU in a GPU's document, or for our GPU backend."""
    found = document.ceilings
    on_gpu = document.kind == "gpu" or "cuda" in rival
    return found["gpu"] if on_gpu and isinstance(found.get("gpu"), dict) else found


def reached(m: Measurement, document: Document) -> Reached | None:
    """Compare with the ceilings; None without known work, a time, or the ceilings that the work needs.

    The floor is max(flop / peak, bytes / bandwidth): Williams, Waterman and Patterson, "Roofline" (2009).
    """
    of = ceilings(document, m.rival)
    work, seconds = m.work or {}, m.seconds
    flop, moved = work.get("flop") or 0.0, work.get("bytes") or 0.0
    peak, bandwidth = of.get("sgemm_gflop_s"), of.get("copy_gb_s")
    if not seconds or not (flop or moved) or (flop and not peak) or (moved and not bandwidth):
        return None
    compute = flop / (1e9 * peak) if flop and peak else 0.0
    memory = moved / (1e9 * bandwidth) if moved and bandwidth else 0.0
    return Reached(seconds, flop, moved, max(compute, memory), "memory" if memory >= compute else "arithmetic")
