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


def peak(m: Measurement, of: dict[str, float]) -> float | None:
    """GFLOP/s that products reach at best in the measurement's precision.

    On a GPU kernels say theirs in their name; those that say nothing, and all on the CPU, are exact float32. Training
    steps on a GPU use TF32.
    """
    kernel = m.case.partition("/")[0]
    if "-bf16" in kernel:
        return of.get("bf16_gflop_s")
    if m.suite == "kernels" and "-tf32" not in kernel:
        return of.get("sgemm_exact_gflop_s") or of.get("sgemm_gflop_s")
    return of.get("sgemm_gflop_s")


def peaks(of: dict[str, float]) -> dict[str, float]:
    """The peaks that were measured, by name, for the picture."""
    exact, main = of.get("sgemm_exact_gflop_s"), of.get("sgemm_gflop_s")
    if not main:
        return {}
    return {"TF32 product": main, "float32 product": exact} if exact and exact < main else {"matrix product": main}


def reached(m: Measurement, document: Document) -> Reached | None:
    """Compare with the ceilings; None without known work, a time, or the ceilings that the work needs.

    The floor is max(flop / peak, bytes / bandwidth): Williams, Waterman and Patterson, "Roofline" (2009).
    """
    of = ceilings(document, m.rival)
    work, seconds = m.work or {}, m.seconds
    flop, moved = work.get("flop") or 0.0, work.get("bytes") or 0.0
    highest, bandwidth = peak(m, of), of.get("copy_gb_s")
    if not seconds or not (flop or moved) or (flop and not highest) or (moved and not bandwidth):
        return None
    compute = flop / (1e9 * highest) if flop and highest else 0.0
    memory = moved / (1e9 * bandwidth) if moved and bandwidth else 0.0
    return Reached(seconds, flop, moved, max(compute, memory), "memory" if memory >= compute else "arithmetic")
