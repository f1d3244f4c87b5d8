"""Drawing: SVG elements, axes, labels that keep out of each other's way. No library, no script; colours by CSS."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

# Letters that are much narrower than others.
NARROW = "ijlI.,:;'|![]()/ "


def number(value: float) -> str:
    """Three digits that count: 1234, 123, 12.3, 1.23, 0.123."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    value = float(f"{value:.3g}") if abs(value) < 1000 else value
    digits = max(0, 2 - math.floor(math.log10(abs(value)) + 1e-9))
    return f"{value:.{min(digits, 9)}f}"


def text_width(text: str, size: float = 12, bold: bool = False) -> float:
    """About how wide a line is in the widest of the page's fonts: nothing here can measure it."""
    ems = sum(0.36 if c in NARROW else 0.9 if c in "mwMW%…^∝×" else 0.72 if c.isupper() else 0.64 for c in text)
    return ems * size * (1.13 if bold else 1.0)


def short(value: float) -> str:
    """A number for an axis: 0.5, 20, 3000 as 3k."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            scale = 1e3 if letter == "k" else limit
            return f"{value / scale:.3g}{letter}"
    return f"{value:.4g}" if abs(value) >= 1 else f"{value:.2g}"


@dataclass(frozen=True)
class Axis:
    """A scale from values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value; values beyond the ends land on them."""
        value = min(max(value, self.low), self.high)
        if self.log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self, most: int = 7) -> list[float]:
        """Round values within the axis."""
        return log_ticks(self.low, self.high, most) if self.log else linear_ticks(self.low, self.high, most)


def axis_around(values: Sequence[float], start: float, end: float, log: bool, margin: float = 0.06) -> Axis:
    """An axis that holds all values with a margin; a linear one starts at 0."""
    low, high = min(values), max(values)
    if log:
        room = max(high / low, 1.3) ** margin
        if high / low < 1.3:
            low, high = low / 1.3, high * 1.3
        return Axis(low / room, high * room, start, end, log=True)
    return Axis(0.0, (high or 1.0) * (1 + margin), start, end)


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten, with 2 and 5 between them, or others left out, as there is room; linear ones in a short range."""
    if high / low < 4:
        return linear_ticks(low, high, most)
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
        if len(found) <= most:
            break
    return found[:: math.ceil(len(found) / most)] if found else [low, high]


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places moved apart until neighbours are ``gap`` away, within [low, high] where there is room; the order stays."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    blocks: list[list[int]] = []
    for i in order:
        blocks.append([i])
        while len(blocks) > 1 and _top(blocks[-1], places, gap, low, high) < (
            _top(blocks[-2], places, gap, low, high) + gap * len(blocks[-2]) - 1e-9
        ):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    for block in blocks:
        top = _top(block, places, gap, low, high)
        for position, i in enumerate(block):
            moved[i] = top + gap * position
    return moved


def _top(block: list[int], places: Sequence[float], gap: float, low: float, high: float) -> float:
    """Where a block of labels starts: centred on what it names, within the bounds."""
    size = gap * (len(block) - 1)
    centre = sum(places[i] for i in block) / len(block)
    return max(low, min(centre - size / 2, high - size))


@dataclass
class Canvas:
    """An SVG picture under construction."""

    title: str
    width: float
    height: float
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, anchor: str = "start", kind: str = "", style: str = "") -> None:
        """A line of text with its baseline at y."""
        look = f' class="{kind}"' if kind else ""
        look += f' style="{style}"' if style else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{look}>{escape(text)}</text>')

    def line(self, points: Sequence[tuple[float, float]], kind: str, style: str = "", tip: str = "") -> None:
        """A line through points."""
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self._shape(f'<path d="{path}" fill="none"', kind, style, tip, "path")

    def box(self, x: float, y: float, width: float, height: float, kind: str, style: str = "", tip: str = "") -> None:
        """A rectangle; a negative width grows to the left."""
        left, width = min(x, x + width), abs(width)
        start = f'<rect x="{left:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}"'
        self._shape(start, kind, style, tip, "rect")

    def marker(self, x: float, y: float, shape: str, size: float, kind: str, style: str, tip: str = "") -> None:
        """A circle, square, diamond, triangle or cross around a point."""
        r = size
        paths = {
            "square": f"M{x - r * 0.85:.1f} {y - r * 0.85:.1f}h{1.7 * r:.1f}v{1.7 * r:.1f}h{-1.7 * r:.1f}z",
            "diamond": f"M{x:.1f} {y - 1.25 * r:.1f}L{x + 1.25 * r:.1f} {y:.1f}L{x:.1f} {y + 1.25 * r:.1f}"
            f"L{x - 1.25 * r:.1f} {y:.1f}z",
            "triangle": f"M{x:.1f} {y - 1.2 * r:.1f}L{x + 1.15 * r:.1f} {y + 0.9 * r:.1f}"
            f"L{x - 1.15 * r:.1f} {y + 0.9 * r:.1f}z",
            "cross": f"M{x - r:.1f} {y - r:.1f}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} {2 * r:.1f}",
        }
        if shape == "circle":
            self._shape(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"', kind, style, tip, "circle")
        else:
            self._shape(f'<path d="{paths[shape]}"', kind, style, tip, "path")

    def _shape(self, start: str, kind: str, style: str, tip: str, element: str) -> None:
        start += f' class="{kind}"' + (f' style="{style}"' if style else "")
        self.parts.append(f"{start}><title>{escape(tip)}</title></{element}>" if tip else f"{start}/>")

    def horizontal_axis(self, axis: Axis, top: float, bottom: float, label: str, ticks: Sequence[float] | None = None,
                        form: Callable[[float], str] = short) -> None:  # fmt: skip
        """Grid lines, numbers below them, and what they count."""
        last = -math.inf
        for tick in axis.ticks() if ticks is None else ticks:
            x, text = axis(tick), form(tick)
            self.line([(x, top), (x, bottom)], "grid")
            half = text_width(text, 11) / 2
            if x - half > last + 5:
                self.text(x, bottom + 15, text, "middle", "tick")
                last = x + half
        self.text((axis.start + axis.end) / 2, bottom + 31, label, "middle", "tick")

    def vertical_axis(self, axis: Axis, left: float, right: float, label: str) -> None:
        """Grid lines, numbers left of them, and what they count, above."""
        for tick in axis.ticks():
            y = axis(tick)
            self.line([(left, y), (right, y)], "grid")
            self.text(left - 6, y + 4, short(tick), "end", "tick")
        self.text(4, axis.end - 9, label, "start", "tick")

    def svg(self) -> str:
        """The picture as an element for HTML."""
        size = f'viewBox="0 0 {self.width:.0f} {self.height:.0f}"'
        body = "\n".join(self.parts)
        name = escape(self.title, quote=True)
        return f'<svg {size} role="img" aria-label="{name}">\n{body}\n</svg>'
