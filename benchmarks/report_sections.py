"""The sections of the report on one document: what it is, models, kernels, overhead, scaling."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from benchmarks.charts import WIDTH, Bar, Line, bar_chart, colour, line_chart, ratio_chart
from benchmarks.charts_roofline import Point, roofline_chart
from benchmarks.charts_svg import Canvas, number, short
from benchmarks.documents import Document, Measurement
from benchmarks.report_page import charts, figure, folded
from benchmarks.report_rivals import Standing, best_peer, by_case, in_order, main_of_ours, rival, standing
from benchmarks.report_tables import (
    WORDS,
    amount,
    case_name,
    ceilings_table,
    fits_table,
    headline,
    html,
    ratio_text,
    rivals_table,
    suite_tables,
)
from benchmarks.roofline import ceilings, peaks, reached

# The width of bar charts with long labels.
WIDE = 480.0
FASTER, SLOWER = "gradlite faster", "slower"


def summary(document: Document) -> str:
    """Machine, settings, versions, ceilings, noise, and what is missing and why."""
    d = document
    noise = d.noise
    verdict = "too noisy to be trusted" if noise.get("too_noisy") else "quiet enough" if noise else "not stated"
    look = "bad" if noise.get("too_noisy") else "good" if noise else ""
    spread = f" Samples spread by {100 * noise['spread']:.0f} %." if "spread" in noise and not noise.get("note") else ""
    told = {key: value for key, value in d.settings.items() if not key.endswith("_seconds")}
    settings = ", ".join(f"{key} {_words(value)}" for key, value in told.items()) or "not stated"
    configurations = dict.fromkeys((m.rival, m.configuration) for m in d.measurements if m.configuration)
    commit = f"commit {d.commit}" + (" with changes that are not committed" if d.dirty else "")
    facts = {
        "Machine": f"<p>{escape(d.machine_name)}</p><p>{escape(_machine(d))}</p>",
        "Run": f"<p>{escape(d.date)}, {escape(commit)}</p><p>{escape(settings)}</p>",
        "Noise": f'<p class="verdict {look}">{verdict}</p><p>{escape(str(noise.get("note") or ""))}{spread}</p>',
        "Ceilings": f"<p>{escape(_ceilings(d))}</p>",
        "Versions": f"<p>{escape(', '.join(f'{k} {v}' for k, v in d.versions.items()) or 'not stated')}</p>",
        "Not measured": _missing(d),
    }
    cards = "".join(f"<div><h3>{name}</h3>{text}</div>" for name, text in facts.items())
    lines = [headline(d, suite) for suite in ("models", "kernels") if d.suite(suite)]
    standing_words = "".join(f"<p>{escape(line)}</p>" for line in lines)
    listed = [f"{rival(name).label}: {text}" for name, text in configurations]
    return (
        standing_words
        + f'<div class="facts">{cards}</div>'
        + (folded("How each was run", _list(listed)) if listed else "")
    )


def _missing(d: Document) -> str:
    """Rivals that were not there; and, folded, the cases that one was left out of or failed in, by reason."""
    if not d.missing:
        return "<p>Nothing: all rivals were there.</p>"
    absent: dict[str, list[str]] = {}
    left_out: dict[str, list[str]] = {}
    for key, why in d.missing.items():
        name, _, case = key.partition(" in ")
        (left_out if case else absent).setdefault(f"{rival(name).label}: {why}", []).append(case.partition("/")[2])
    lines = [f"{why} ({', '.join(map(case_name, cases))})" for why, cases in left_out.items()]
    count = sum(map(len, left_out.values()))
    return _list(absent) + (folded(f"{count} in single cases", _list(lines)) if lines else "")


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _machine(d: Document) -> str:
    parts = [
        f"{d.machine[key]} {unit}" for key, unit in (("cores", "cores"), ("memory_gib", "GiB")) if d.machine.get(key)
    ]
    parts += [str(d.machine["os"])] if d.machine.get("os") else []
    return ", ".join([*parts, f"GPU: {d.gpu_name or 'none'}"])


def _ceilings(d: Document) -> str:
    names = {
        "copy_gb_s": ("copy", "GB/s"),
        "sgemm_gflop_s": ("matrix product", "GFLOP/s"),
        "sgemm_exact_gflop_s": ("exact float32 product", "GFLOP/s"),
        "launch_us": ("launch", "us"),
    }
    told = []
    for place, values in (("", d.ceilings), ("GPU ", d.ceilings.get("gpu") or {})):
        for key, value in values.items():
            if isinstance(value, (int, float)):
                name, unit = names.get(key, (key.replace("_", " "), ""))
                told.append(f"{place}{name} {number(value)} {unit}".strip())
    return ", ".join(told) or "not measured"


def legend(documents: Sequence[Document]) -> str:
    """The marker and colour of every rival that was measured."""
    items = []
    for name in in_order(m.rival for d in documents for m in d.measurements):
        canvas = Canvas("", 14, 14)
        canvas.marker(7, 7, rival(name).marker, 4.5, "mark", colour(rival(name)))
        picture = canvas.svg().replace('role="img" aria-label=""', 'aria-hidden="true"')
        items.append(f"<li>{picture}{escape(rival(name).label)}</li>")
    return f'<ul class="legend">{"".join(items)}</ul>'


def models(document: Document) -> str:
    """For each network: time over batch, our ratio to the best peer, what has no batch as bars, and the table."""
    networks: dict[str, list[tuple[str, list[Measurement]]]] = {}
    for group, measurements in document.groups("models"):
        networks.setdefault(group.split("/")[0], []).append((group, measurements))
    parts = []
    for network, groups in networks.items():
        figures = []
        for group, measurements in groups:
            figures += swept(group, measurements) if measurements[0].parameter is not None else [bars(measurements)]
        everything = [m for _, measurements in groups for m in measurements]
        table = rivals_table(f"{WORDS.get(network, network)}: medians", everything)
        name = WORDS.get(network, network)
        title = name[:1].upper() + name[1:]
        parts.append(f"<h3>{escape(title)}</h3>{charts(figures)}{folded('Table', html(table))}")
    return "\n".join(parts)


def swept(group: str, measurements: Sequence[Measurement], what: str = "batch") -> list[str]:
    """Charts of a group that was swept: the lines, and our ratios to the best peer."""
    title, unit = case_name(group), measurements[0].unit
    figures = []
    if len({m.parameter for m in measurements}) > 1:
        lines = [
            Line(name, [(x, m.median) for x, m in of], ranges=[(m.quartiles.low, m.quartiles.high) for _, m in of])
            for name, of in _by_rival(measurements).items()
        ]
        figures.append(figure(title, line_chart(title, lines, what, unit), f"{unit} over {what}"))
    else:
        figures.append(bars(measurements))
    if (ratios := ratio_bars(measurements, what)) is not None:
        figures.append(figure(title, ratios, "our time over the best peer's"))
    return figures


def _by_rival(measurements: Sequence[Measurement]) -> dict[str, list[tuple[float, Measurement]]]:
    """Parameters and measurements of each rival, in the order of the parameter."""
    found: dict[str, list[tuple[float, Measurement]]] = {n: [] for n in in_order(m.rival for m in measurements)}
    for m in measurements:
        if m.parameter is not None and m.median > 0:
            found[m.rival].append((m.parameter, m))
    return {name: sorted(of, key=lambda pair: pair[0]) for name, of in found.items() if of}


def ratio_bars(measurements: Sequence[Measurement], what: str, width: float = WIDTH) -> str | None:
    """Our standing in every case as bars around 1; None where there is no peer."""
    found = [s for s in map(standing, by_case(measurements).values()) if s is not None]
    if not found:
        return None
    if what:
        found.sort(key=lambda s: s.ours.parameter or 0)
    named = what and len({s.ours.parameter for s in found}) == len(found)
    labels = [f"{what} {short(s.ours.parameter or 0)}" if named else case_name(s.ours.case) for s in found]
    rows = [_ratio_bar(s, label) for s, label in zip(found, labels)]
    return ratio_chart("our time over the best peer's", rows, FASTER, SLOWER, width)


def _ratio_bar(s: Standing, label: str) -> Bar:
    peer = rival(s.peer.rival).label
    tip = f"{case_name(s.ours.case)}: {ratio_text(s.ratio)} of the time of {peer}"
    text = f"{number(s.ratio.median)}× {peer}"
    return Bar(label, s.ours.rival, s.ratio.median, text, (s.ratio.low, s.ratio.high), tip)


def bars(measurements: Sequence[Measurement]) -> str:
    """A case as bars, one for each rival."""
    first = measurements[0]
    rows = []
    for m in sorted(measurements, key=lambda m: m.median):
        q = m.quartiles
        tip = f"{rival(m.rival).label}: {number(q.median)} {m.unit} (quartiles {number(q.low)} to {number(q.high)})"
        tip += f"; {m.note}" if m.note else ""
        rows.append(Bar(rival(m.rival).label, m.rival, q.median, amount(q.median, m.unit), (q.low, q.high), tip))
    shared = {m.note for m in measurements}
    note = f"{first.unit}, {first.better} is better" + (f"; {first.note}" if first.note and len(shared) == 1 else "")
    return figure(case_name(first.case), bar_chart(case_name(first.case), rows, first.unit), note)


def kernels(document: Document) -> str:
    """Our ratios to the best peer, and the tables: medians, and fractions of the ceiling."""
    found = document.suite("kernels")
    if not found:
        return ""
    parts = []
    if (ratios := ratio_bars(found, "", WIDE)) is not None:
        parts.append(charts([figure("Kernels", ratios, "our time over the best peer's")]))
    parts.append(folded("Table", "".join(map(html, suite_tables("kernels", document)))))
    return "\n".join(parts)


def roofline(document: Document) -> str:
    """What the ceilings allow and what was reached: kernels, and training steps."""
    parts = []
    steps = [m for m in document.suite("models") if "/train/" in m.case]
    for title, measurements in (("Kernels", document.suite("kernels")), ("Training steps", steps)):
        fractions = []
        for case, row in by_case(measurements).items():
            ours = main_of_ours(row)
            r = reached(ours, document) if ours else None
            if ours and r:
                tip = f"{case_name(case)}: {number(r.seconds * 1e6)} us, floor {number(r.floor * 1e6)} us by {r.bound}"
                label = case_name(case).replace(", training step", "")
                fractions.append(Bar(label, ours.rival, 100 * r.fraction, f"{100 * r.fraction:.0f} %", tip=tip))
        if not fractions:
            continue
        if (picture := _roofline_picture(measurements, document)) is not None:
            remark = "filled: gradlite; hollow: the best peer"
            parts.append(charts([figure(f"{title} below the roof", picture, remark)], wide=True))
        chart = bar_chart("fraction of the ceiling", fractions, "% of what the ceilings allow", 100.0, WIDE)
        remark = "gradlite; beyond 100 %: from a cache, or the copy was disturbed"
        parts.append(charts([figure(f"{title}: fraction of the ceiling reached", chart, remark)]))
        parts.append(folded("Table", html(ceilings_table(f"{title} against the ceilings", measurements, document))))
    return "\n".join(parts)


def _roofline_picture(measurements: Sequence[Measurement], document: Document) -> str | None:
    """Ours and the best peer of every case whose work is known; None without ceilings or such work."""
    points = []
    for case, row in by_case(measurements).items():
        for m in (main_of_ours(row), best_peer(row)):
            r = reached(m, document) if m else None
            if m is None or r is None or not r.flop or not r.bytes:
                continue
            name = case_name(case)
            tip = (
                f"{name}, {rival(m.rival).label}: {number(r.gflop_s)} GFLOP/s, {100 * r.fraction:.0f} % of the ceiling"
            )
            points.append(Point(name.replace(", training step", ""), m.rival, r.intensity, r.gflop_s, tip))
    of = ceilings(document, points[0].rival) if points else {}
    if not of.get("copy_gb_s") or not peaks(of):
        return None
    return roofline_chart("roofline", of["copy_gb_s"], peaks(of), points)


def overhead(document: Document) -> str:
    """A chart of bars for every case, and the table."""
    found = document.suite("overhead")
    figures = [bars(measurements) for measurements in by_case(found).values()]
    tables = folded("Tables", "\n".join(map(html, suite_tables("overhead", document))))
    return charts(figures) + tables if found else ""


def _power(fit: dict[str, Any]) -> list[tuple[float, float]]:
    """The ends of the fitted power: through the middle of its points, on logarithmic axes a straight line."""
    logs = [(math.log(x), math.log(y)) for x, y in zip(fit["x"], fit["y"]) if x > 0 and y > 0]
    if len(logs) < 2:
        return []
    x, y = (sum(values) / len(logs) for values in zip(*logs))
    ends = (min(logs)[0], max(logs)[0])
    return [(math.exp(end), math.exp(y + fit["exponent"] * (end - x))) for end in ends]


def scale(document: Document) -> str:
    """What was swept, with the fitted powers."""
    figures = []
    fitted = {(fit["case"], fit["rival"]): fit for fit in document.fits}
    for group, measurements in document.groups("scale"):
        lines = []
        for name, of in _by_rival(measurements).items():
            fit = fitted.get((group, name)) or fitted.get((f"scale/{group}", name))
            label = f"{rival(name).label} x^{fit['exponent']:.2f}" if fit else ""
            lines.append(Line(name, [(x, m.median) for x, m in of], label, _power(fit) if fit else []))
        if not lines or max(len(line.points) for line in lines) < 2:
            figures.append(bars(measurements))
            continue
        what = group.rpartition("/")[2]
        title = case_name(group)
        figures.append(figure(title, line_chart(title, lines, what, measurements[0].unit), measurements[0].unit))
    parts = [charts(figures)]
    if document.fits:
        parts.append(html(fits_table(document)))
    if document.suite("scale"):
        parts.append(folded("Table", "".join(map(html, suite_tables("scale", document)))))
    return "\n".join(parts) if figures or document.fits else ""
