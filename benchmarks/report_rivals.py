"""How rivals look in tables and charts (a name, one fixed colour for light and dark pages, a marker), and who is best.

The colours were chosen by a search that made the closest two as different as they can be, seen in full and with
protanopia and deuteranopia (Machado 2009, distances in OKLab), each with a contrast of 3 or more to its background.
Markers tell them apart besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.documents import Document, Measurement
from benchmarks.samples import Quartiles, pair_ratio

BACKGROUND = ("#ffffff", "#15171b")


@dataclass(frozen=True)
class Rival:
    """A rival's name, its colours on a light and on a dark page, and its marker in charts."""

    name: str
    label: str
    light: str
    dark: str
    marker: str
    # Whether it does all of the work: NumPy, which knows no gradient, is shown and not compared with.
    comparable: bool = True

    @property
    def ours(self) -> bool:
        """Whether it is gradlite, in one way or another."""
        return self.name.startswith("gradlite")

    @property
    def variable(self) -> str:
        """The CSS variable of its colour."""
        return f"--rival-{self.name}" if self.name in RIVALS else "--rival-other"


RIVALS = {
    rival.name: rival
    for rival in (
        Rival("gradlite-cpu", "gradlite", "#c8371f", "#f6542d", "circle"),
        Rival("gradlite-numpy", "gradlite (NumPy)", "#7e3c00", "#feac16", "square"),
        Rival("gradlite-cpu-eager", "gradlite, eager", "#c27a66", "#c27a63", "triangle"),
        Rival("gradlite-numpy-eager", "gradlite (NumPy), eager", "#a5713a", "#c9935a", "diamond"),
        Rival("gradlite-cpu-kernels", "gradlite, kernels", "#9c5b78", "#d98f8f", "square", False),
        Rival("gradlite-numpy-kernels", "gradlite (NumPy), kernels", "#8f7b2e", "#d3c08a", "cross", False),
        Rival("gradlite-cpu-unshared", "gradlite, unshared", "#a06a8c", "#c98aa8", "diamond", False),
        Rival("gradlite-numpy-unshared", "gradlite (NumPy), unshared", "#866a3a", "#b39a5f", "diamond", False),
        Rival("gradlite-cuda", "gradlite on GPU", "#701036", "#e5a5ae", "circle"),
        Rival("gradlite-cuda-eager", "gradlite on GPU, eager", "#b0587c", "#b86f8a", "triangle"),
        Rival("torch-eager", "PyTorch", "#005e9c", "#a4cefc", "square"),
        Rival("torch-compiled", "PyTorch compiled", "#2a93cd", "#20b2ff", "diamond"),
        Rival("torch-captured", "PyTorch captured", "#5b61d9", "#7976fb", "triangle"),
        Rival("keras-jax", "Keras on JAX", "#1c9a6f", "#519c71", "square"),
        Rival("keras-tensorflow", "Keras on TensorFlow", "#5a1578", "#ba61b8", "diamond"),
        Rival("keras-torch", "Keras on PyTorch", "#a8479b", "#e59be0", "triangle"),
        Rival("keras", "Keras", "#2b7d8f", "#6fb7c4", "circle"),
        Rival("jax", "JAX", "#7b7416", "#b8bd63", "circle"),
        Rival("jax-jit", "JAX jit", "#938700", "#eeeb5c", "diamond"),
        Rival("jax-scan", "JAX scan", "#387b79", "#6ffff4", "triangle"),
        Rival("autograd", "HIPS autograd", "#4a4a4a", "#d6d6d6", "diamond"),
        Rival("numpy", "NumPy", "#767676", "#a8a8a8", "square", False),
        Rival("python", "Python alone", "#836a94", "#c5b3d6", "circle", False),
        Rival("cupy", "CuPy", "#4d7d10", "#9fce4e", "square"),
        Rival("cublas", "cuBLAS", "#3f6d2a", "#7fb062", "diamond"),
    )
}
OTHER = ("#5f6670", "#9aa3af")


def rival(name: str) -> Rival:
    """The rival of that name; one that is not in the table is grey."""
    return RIVALS.get(name) or Rival(name, name, *OTHER, "cross")


def variables(dark: bool) -> str:
    """The CSS declarations of all colours."""
    lines = [f"{r.variable}: {r.dark if dark else r.light};" for r in RIVALS.values()]
    return "\n".join([*lines, f"--rival-other: {OTHER[dark]};"])


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order of the table, ours first, unknown ones last."""
    order = list(RIVALS)
    return sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))


@dataclass(frozen=True)
class Standing:
    """Where we stand in a case: our time over the best peer's, round by round; below 1 we are faster."""

    ours: Measurement
    peer: Measurement
    ratio: Quartiles


def main_of_ours(measurements: Sequence[Measurement]) -> Measurement | None:
    """What a user of gradlite gets on this machine: the GPU where it was measured, the accelerated CPU, or NumPy."""
    ours = {m.rival: m for m in measurements if rival(m.rival).ours}
    for name in ("gradlite-cuda", "gradlite-cpu", "gradlite-numpy", *ours):
        if name in ours:
            return ours[name]
    return None


def best_peer(measurements: Sequence[Measurement]) -> Measurement | None:
    """The fastest peer among the measurements of one case."""
    looks = [(rival(m.rival), m) for m in measurements if m.median > 0]
    return fastest([m for look, m in looks if look.comparable and not look.ours])


def fastest(measurements: Sequence[Measurement]) -> Measurement | None:
    """The one with the best median."""
    return min(measurements, key=lambda m: m.median if m.better == "lower" else -m.median, default=None)


def standing(measurements: Sequence[Measurement], ours: Measurement | None = None) -> Standing | None:
    """Ours (by default the main one) against the best peer; None where either is missing."""
    ours, peer = ours or main_of_ours(measurements), best_peer(measurements)
    if ours is None or peer is None or min(ours.samples) <= 0 or min(peer.samples) <= 0:
        return None
    return Standing(ours, peer, pair_ratio(ours.costs, peer.costs))


def by_case(measurements: Iterable[Measurement]) -> dict[str, list[Measurement]]:
    """Measurements by case, in their order."""
    cases: dict[str, list[Measurement]] = {}
    for m in measurements:
        cases.setdefault(m.case, []).append(m)
    return cases


def standings(document: Document, suite: str) -> list[Standing]:
    """Our standing in every case of a suite that has a peer."""
    found = (standing(case) for case in by_case(document.suite(suite)).values())
    return [s for s in found if s is not None]
