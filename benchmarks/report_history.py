"""The sections over several documents: our progress over time, and CPU against GPU."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from benchmarks.charts import Bar, Line, line_chart, ratio_chart
from benchmarks.charts_svg import number
from benchmarks.documents import Document, Measurement
from benchmarks.report_page import charts, figure, folded
from benchmarks.report_rivals import by_case, in_order, main_of_ours, rival, standing
from benchmarks.report_tables import Cell, Table, case_name, html

# Charts of history at most; the rest is in the table.
MOST = 12
CPU, GPU = ("gradlite-cpu", "gradlite-numpy"), ("gradlite-cuda",)


def days(date: str) -> float:
    """Days since 1970 of a date, with or without a time."""
    moment = datetime.fromisoformat(date.replace("Z", "+00:00"))
    return moment.replace(tzinfo=None).toordinal() + (moment.hour + moment.minute / 60) / 24


def day_name(value: float) -> str:
    """Month and day of a number of days."""
    return datetime.fromordinal(int(value)).strftime("%m-%d")


def history(documents: Sequence[Document]) -> str:
    """For every machine: the cases that were measured more than once, over time, and the ratios to the best peer."""
    parts = []
    devices = [(d.kind, d.gpu_name if d.kind == "gpu" and d.gpu_name else d.machine_name) for d in documents]
    for device in dict.fromkeys(devices):
        of, machine = [d for d, its in zip(documents, devices) if its == device], device[1]
        cases: dict[str, list[tuple[Document, list[Measurement]]]] = {}
        for document in of:
            for case, measurements in by_case(document.suite("models")).items():
                cases.setdefault(case, []).append((document, measurements))
        repeated = {case: seen for case, seen in cases.items() if len(seen) > 1}
        if not repeated:
            continue
        shown = sorted(repeated, key=lambda case: "/train/" not in case)[:MOST]
        figures = [_over_time(case, repeated[case]) for case in shown]
        table = html(_ratios(f"Our time over the best peer's, on {machine}", of, repeated))
        parts.append(f"<p>On {machine}:</p>" + charts(figures) + folded("Ratios over time", table))
    return "\n".join(parts)


def _over_time(case: str, seen: list[tuple[Document, list[Measurement]]]) -> str:
    """The medians of one case's rivals by date."""
    lines = []
    for name in in_order(m.rival for _, measurements in seen for m in measurements):
        points = [(days(d.date), m.median) for d, measurements in seen for m in measurements if m.rival == name]
        lines.append(Line(name, points))
    unit = seen[0][1][0].unit
    chart = line_chart(case_name(case), lines, "date", unit, log_x=False, x_form=day_name)
    return figure(case_name(case), chart, f"{unit} by date")


def _ratios(
    caption: str, documents: Sequence[Document], cases: dict[str, list[tuple[Document, list[Measurement]]]]
) -> Table:
    """Rows of cases, columns of documents: our ratio to the best peer of that day."""
    used = [d for d in documents if any(d is seen for of in cases.values() for seen, _ in of)]
    table = Table(caption, ["case", *(f"{d.day} {d.commit if d.commit != 'unknown' else ''}".strip() for d in used)])
    for case, seen in cases.items():
        row = [Cell(case_name(case))]
        for document in used:
            stands = next((standing(of) for d, of in seen if d is document), None)
            row.append(
                Cell(f"{number(stands.ratio.median)}× {rival(stands.peer.rival).label}") if stands else Cell("–")
            )
        table.rows.append(row)
    return table


def latest(documents: Sequence[Document], rivals: Sequence[str]) -> dict[str, tuple[Document, Measurement]]:
    """The newest measurement of every case of models by the first of these rivals that has one."""
    found: dict[str, tuple[Document, Measurement]] = {}
    for document in documents:
        for case, measurements in by_case(document.suite("models")).items():
            ours = main_of_ours([m for m in measurements if m.rival in rivals])
            if ours is not None:
                found[case] = (document, ours)
    return found


def cpu_against_gpu(documents: Sequence[Document]) -> str:
    """What the GPU brings, where both were measured, on whatever machines; nothing where there is no GPU's result."""
    cpu, gpu = latest(documents, CPU), latest(documents, GPU)
    both = [case for case in cpu if case in gpu and cpu[case][1].unit == gpu[case][1].unit]
    if not both:
        return ""
    table = Table("Newest medians of CPU and GPU", ["case", "CPU", "GPU", "CPU / GPU", "CPU's machine", "GPU"])
    bars = []
    for case in both:
        (slow_document, slow), (fast_document, fast) = cpu[case], gpu[case]
        ratio = fast.median / slow.median if fast.better == "lower" else slow.median / fast.median
        cells = [f"{number(slow.median)} {slow.unit}", f"{number(fast.median)} {fast.unit}", f"{number(1 / ratio)}×"]
        cells += [slow_document.machine_name, fast_document.gpu_name or fast_document.machine_name]
        table.rows.append([Cell(case_name(case)), *map(Cell, cells)])
        bars.append(Bar(case_name(case), fast.rival, ratio, f"{number(1 / ratio)}× as fast"))
    chart = ratio_chart("GPU against CPU", bars, "GPU faster", "CPU faster", 480)
    return charts([figure("GPU against CPU", chart, "time on the GPU over time on the CPU")]) + html(table)
