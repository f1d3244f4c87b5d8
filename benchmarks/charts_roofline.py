"""The roofline: what the ceilings of a machine allow, and what was reached, as GFLOP/s over FLOP a byte.

The roof is min(peak, bandwidth * intensity), after Williams, Waterman and Patterson, "Roofline: an insightful visual
performance model" (2009).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.charts import colour
from benchmarks.charts_svg import Axis, Canvas, axis_around, number, text_width
from benchmarks.report_rivals import rival

WIDTH, HEIGHT = 640.0, 430.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 620.0, 30.0, 386.0
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Point:
    """Something measured: operations a byte, and GFLOP/s."""

    label: str
    rival: str
    intensity: float
    rate: float
    tip: str


@dataclass
class Picture:
    """The canvas with its two logarithmic axes, and the room that is taken, for names to keep off."""

    canvas: Canvas
    x: Axis
    y: Axis
    taken: list[Box] = field(default_factory=list)

    def line(self, ends: Sequence[tuple[float, float]], kind: str) -> None:
        """A line through values, which takes the room along it."""
        pixels = [(self.x(x), self.y(y)) for x, y in ends]
        self.canvas.line(pixels, kind)
        for (x0, y0), (x1, y1) in pairwise(pixels):
            along = [(x0 + (x1 - x0) * i / 40, y0 + (y1 - y0) * i / 40) for i in range(41)]
            self.taken += [(x - 3, y - 3, x + 3, y + 3) for x, y in along]

    def name(self, text: str, x: float, y: float) -> None:
        """Name a point beside it, where no other name or point is; not at all where there is no room."""
        width = text_width(text, 11)
        for dx, dy in ((8, 4), (-8 - width, 4), (-width / 2, -9), (-width / 2, 17), (8, -8), (8, 16), (-8 - width, -8)):
            box = (x + dx, y + dy - 10, x + dx + width, y + dy + 3)
            inside = box[0] >= LEFT and box[1] >= TOP and box[2] <= RIGHT and box[3] <= BOTTOM
            if inside and not any(_overlap(box, other) for other in self.taken):
                self.canvas.text(x + dx, y + dy, text, "start", "pointname")
                self.taken.append(box)
                return


def roofline_chart(title: str, bandwidth: float, peaks: dict[str, float], points: Sequence[Point]) -> str:
    """The roof of the highest of the named peaks, lower ones below it, and points: ours filled, peers hollow."""
    peak = max(peaks.values())
    ridge = peak / bandwidth
    xs = [p.intensity for p in points] + [ridge / 8, ridge * 8]
    ys = [p.rate for p in points] + [peak * 1.3, bandwidth * min(xs)]
    picture = Picture(
        Canvas(title, WIDTH, HEIGHT), axis_around(xs, LEFT, RIGHT, True), axis_around(ys, BOTTOM, TOP, True)
    )
    picture.canvas.vertical_axis(picture.y, LEFT, RIGHT, "GFLOP/s")
    label = "operations a byte (FLOP/byte)"
    picture.canvas.horizontal_axis(picture.x, TOP, BOTTOM, label, picture.x.ticks(9))
    first = max(picture.x.low, picture.y.low / bandwidth)
    picture.line([(first, bandwidth * first), (ridge, peak), (picture.x.high, peak)], "roof")
    _name_slope(picture, bandwidth, first, ridge)
    for name, value in peaks.items():
        if value < peak:
            picture.line([(value / bandwidth, value), (picture.x.high, value)], "limit")
        text = f"{name}: {number(value)} GFLOP/s"
        x, y = RIGHT - 4, picture.y(value) - 7
        picture.canvas.text(x, y, text, "end", "roofname")
        picture.taken.append((x - text_width(text, 11), y - 10, x, y + 3))
    _place(picture, points)
    return picture.canvas.svg()


def _name_slope(picture: Picture, bandwidth: float, first: float, ridge: float) -> None:
    """Write the bandwidth along the slope."""
    near = first**0.75 * ridge**0.25
    x, y = picture.x(near), picture.y(bandwidth * near)
    rise, run = y - picture.y(bandwidth * ridge), picture.x(ridge) - x
    angle = math.degrees(math.atan2(rise, run))
    picture.canvas.parts.append(
        f'<text class="roofname" text-anchor="middle" transform="translate({x - 6:.1f} {y - 8:.1f}) '
        f'rotate({-angle:.1f})">copy: {number(bandwidth)} GB/s</text>'
    )
    for i in range(-4, 5):
        along, up = x - 6 + 12 * i, y - 12 - 12 * i * rise / run
        picture.taken.append((along - 8, up - 8, along + 8, up + 8))


def _place(picture: Picture, points: Sequence[Point]) -> None:
    """Draw the points, ours on top, and name ours."""
    places = [(p, picture.x(p.intensity), picture.y(p.rate)) for p in points]
    picture.taken += [(x - 5, y - 5, x + 5, y + 5) for _, x, y in places]
    for p, x, y in sorted(places, key=lambda place: rival(place[0].rival).ours):
        look = rival(p.rival)
        size, kind = (5, "mark") if look.ours else (4, "hollow")
        picture.canvas.marker(x, y, look.marker, size, kind, colour(look), p.tip)
    for p, x, y in places:
        if rival(p.rival).ours:
            picture.name(p.label, x, y)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
