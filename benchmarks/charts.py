"""The kinds of charts: lines with labels at their ends, bars, ratios around 1; the roofline has a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.charts_svg import Axis, Canvas, axis_around, number, short, spread, text_width
from benchmarks.report_rivals import Rival, rival

WIDTH = 400.0


@dataclass(frozen=True)
class Line:
    """A line of a chart: the rival that it belongs to, its points, and a curve fitted to them."""

    rival: str
    points: list[tuple[float, float]]
    label: str = ""
    fitted: list[tuple[float, float]] = field(default_factory=list)
    ranges: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Bar:
    """A bar: what it stands for, its length, and the range of its quartiles."""

    label: str
    rival: str
    value: float
    text: str = ""
    range: tuple[float, float] | None = None
    tip: str = ""


def colour(look: Rival) -> str:
    """The style that sets a rival's colour, which the classes draw with."""
    return f"--c:var({look.variable})"


def emphasis(look: Rival) -> str:
    """The class that makes ours stand out."""
    return " ours" if look.ours else ""


def line_chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    log_x: bool = True,
    log_y: bool = True,
    x_form: Callable[[float], str] = short,
    height: float = 290,
) -> str:
    """Lines from left to right, each named at its end in its colour; ours are thicker."""
    points = [point for line in lines for point in line.points]
    names = [line.label or rival(line.rival).label for line in lines]
    widths = [text_width(name, bold=rival(line.rival).ours) for line, name in zip(lines, names)]
    right = WIDTH - min(max(max(widths) + 20, 60), 222)
    left, top, bottom = 44.0, 28.0, height - 42
    values = sorted({x for x, _ in points})
    x_axis = _values_axis(values, left + 8, right - 6, log_x)
    y_axis = axis_around([y for _, y in points], bottom, top, log_y)
    canvas = Canvas(title, WIDTH, height)
    canvas.vertical_axis(y_axis, left, right, y_label)
    canvas.horizontal_axis(x_axis, top, bottom, x_label, values, x_form)
    for line in sorted(lines, key=lambda line: rival(line.rival).ours):
        _draw(canvas, line, x_axis, y_axis, (x_label, x_form, y_label))
    ends = [line.points[-1] for line in lines]
    places = spread([y_axis(y) for _, y in ends], 14, top + 4, bottom - 2)
    for line, name, (x, y), place in zip(lines, names, ends, places):
        look = rival(line.rival)
        start = (x_axis(x) + 5, y_axis(y))
        canvas.line([start, (right + 6, place), (right + 11, place)], "leader", colour(look))
        canvas.text(right + 14, place + 4, name, "start", f"name{emphasis(look)}", colour(look))
    return canvas.svg()


def _values_axis(values: Sequence[float], start: float, end: float, log: bool) -> Axis:
    """An axis from the least value to the greatest."""
    if len(values) == 1:
        low, high = (values[0] / 2, values[0] * 2) if log else (values[0] - 1, values[0] + 1)
        return Axis(low, high, start, end, log)
    return Axis(values[0], values[-1], start, end, log and values[0] > 0)


def _draw(
    canvas: Canvas, line: Line, x_axis: Axis, y_axis: Axis, labels: tuple[str, Callable[[float], str], str]
) -> None:
    """One line with its markers."""
    look = rival(line.rival)
    style = colour(look)
    if line.fitted:
        canvas.line([(x_axis(x), y_axis(y)) for x, y in line.fitted], "fitted", style)
    canvas.line([(x_axis(x), y_axis(y)) for x, y in line.points], f"line{emphasis(look)}", style)
    x_label, form, y_label = labels
    for i, (x, y) in enumerate(line.points):
        tip = f"{look.label}, {x_label} {form(x)}: {number(y)} {y_label}"
        if line.ranges:
            low, high = line.ranges[i]
            canvas.line([(x_axis(x), y_axis(low)), (x_axis(x), y_axis(high))], "whisker", style)
            tip += f" (quartiles {number(low)} to {number(high)})"
        canvas.marker(x_axis(x), y_axis(y), look.marker, 4.0 if look.ours else 2.6, "mark", style, tip)


def bar_chart(title: str, bars: Sequence[Bar], unit: str, limit: float | None = None, width: float = WIDTH) -> str:
    """Bars to the right, one a row, each with its value; ``limit`` draws a line that 1 of the unit stands for."""
    height = 14 + 22 * len(bars) + 34
    right = width - 58
    # Ours stand out where there are others.
    bold = {bar.rival for bar in bars if rival(bar.rival).ours} if len({bar.rival for bar in bars}) > 1 else set()
    labels = min(max(text_width(bar.label, bold=bar.rival in bold) for bar in bars) + 12, 0.55 * width)
    top = max(bar.range[1] if bar.range else bar.value for bar in bars)
    axis = Axis(0.0, max(top, limit or 0.0) * 1.04 or 1.0, labels, right)
    canvas = Canvas(title, width, height)
    canvas.horizontal_axis(axis, 8, height - 40, unit, axis.ticks(5))
    if limit is not None:
        canvas.line([(axis(limit), 4), (axis(limit), height - 40)], "limit")
    for i, bar in enumerate(bars):
        y = 14 + 22 * i
        _bar(canvas, bar, axis, y, 0.0)
        look = " ours" if bar.rival in bold else ""
        canvas.text(labels - 8, y + 12, _cut(bar.label, labels - 10, bool(look)), "end", f"label{look}")
        end = axis(max(bar.value, limit or 0.0, bar.range[1] if bar.range else 0.0))
        canvas.text(end + 6, y + 12, bar.text or number(bar.value), "start", f"value{look}")
    return canvas.svg()


def ratio_chart(title: str, bars: Sequence[Bar], left_words: str, right_words: str, width: float = WIDTH) -> str:
    """Ratios on a logarithmic axis as bars from 1 to the left (below 1) or to the right, with their quartiles."""
    height = 20 + 22 * len(bars) + 36
    labels = min(max(text_width(bar.label) for bar in bars) + 12, 0.55 * width)
    columns = max(text_width(bar.text, 11) for bar in bars) + 12
    ends = [value for bar in bars for value in (bar.value, *(bar.range or ()))]
    low, high = min(1 / 1.5, max(min(ends), 1e-6)) / 1.05, max(1.5, *ends) * 1.05
    axis = Axis(low, high, labels, width - columns, log=True)
    canvas = Canvas(title, width, height)
    bottom = height - 38
    steps = (
        (0.01, 0.1, 1, 10, 100)
        if high / low > 100
        else (0.1, 0.2, 0.5, 1, 2, 5, 10)
        if high / low > 4
        else (0.5, 0.7, 1, 1.4, 2)
    )
    ticks = [t for t in steps if axis.low <= t <= axis.high]
    canvas.horizontal_axis(axis, 16, bottom, "", ticks, lambda t: f"{t:g}×")
    canvas.text(axis(1) - 6, bottom + 31, f"← {left_words}", "end", "tick")
    canvas.text(axis(1) + 6, bottom + 31, f"{right_words} →", "start", "tick")
    for i, bar in enumerate(bars):
        y = 20 + 22 * i
        _bar(canvas, bar, axis, y, 1.0)
        canvas.text(labels - 8, y + 12, _cut(bar.label, labels - 10), "end", "label")
        canvas.text(width - columns + 10, y + 12, bar.text, "start", "value")
    canvas.line([(axis(1), 14), (axis(1), bottom)], "one")
    return canvas.svg()


def _bar(canvas: Canvas, bar: Bar, axis: Axis, y: float, base: float) -> None:
    """A bar from the base to its value, and a whisker over its range."""
    style = colour(rival(bar.rival))
    canvas.box(axis(base), y, axis(bar.value) - axis(base), 16, "bar", style, bar.tip)
    if bar.range:
        ends = [(axis(bar.range[0]), y + 8), (axis(bar.range[1]), y + 8)]
        canvas.line(ends, "halo")
        canvas.line(ends, "range")


def _cut(text: str, width: float, bold: bool = False) -> str:
    """Text that fits a width, shortened in the middle where it does not."""
    keep = len(text)
    cut = text
    while text_width(cut, bold=bold) > width and keep > 3:
        keep -= 1
        cut = f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}"
    return cut
