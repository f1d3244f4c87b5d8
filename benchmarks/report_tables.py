"""Tables from documents, once for all places: as HTML, as Markdown for README.md, as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from benchmarks.charts_svg import number
from benchmarks.documents import Document, Measurement, parse
from benchmarks.report_rivals import best_peer, by_case, fastest, in_order, rival, standing, standings
from benchmarks.roofline import reached
from benchmarks.samples import Quartiles, geometric_mean

# The parts of cases in words; other parts stand as they are.
WORDS = {
    "mnist": "MNIST network",
    "vggnet": "ShallowVGGNet",
    "alvinn": "ALVINN",
    "deep-vgg": "deeper VGG",
    "wide-mlp": "wide MLP",
    "train": "training step",
    "predict": "prediction",
    "one-sample": "one sample",
    "accuracy-97": "until 97 % are right",
    "start": "process start to first epoch",
    "step": "training step",
    "matmul": "matrix product",
    "conv2d_input_gradient": "conv2d input grad",
    "conv2d_weight_gradient": "conv2d weight grad",
    "sparse_softmax_cross_entropy": "softmax cross-entropy",
    "mlp": "MLP",
    "operation": "forward and backward of one number",
    "launches": "launches of a step",
    "buffers": "buffers of a step",
    "import": "time to import",
    "install": "installed size",
    "memory": "peak memory",
}
# Where one of these is part of a case, a number at its end is a batch size.
OF_BATCHES = {"train", "train-bf16", "predict", "step", "launches", "buffers", "memory", "capture"}


@dataclass(frozen=True)
class Cell:
    """A cell: its text, smaller text after it, and whether it is the best of its row, or ours."""

    text: str
    small: str = ""
    best: bool = False
    rival: str = ""


@dataclass(frozen=True)
class Table:
    """A caption, the heads of the columns, and rows; the first column names the row."""

    caption: str
    heads: list[str]
    rows: list[list[Cell]] = field(default_factory=list)


def html(table: Table) -> str:
    """The table for a page; wide ones scroll by themselves."""
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in table.heads)
    rows = []
    for first, *rest in table.rows:
        cells = [f'<th scope="row">{_inner(first)}</th>']
        for cell in rest:
            look = " ".join(name for name, is_so in (("best", cell.best), ("us", rival(cell.rival).ours)) if is_so)
            cells.append(f'<td class="{look}">{_inner(cell)}</td>' if look else f"<td>{_inner(cell)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.caption, quote=True)}"><table>'
        f"<caption>{escape(table.caption)}</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _inner(cell: Cell) -> str:
    small = f" <small>{escape(cell.small)}</small>" if cell.small else ""
    return escape(cell.text) + small


def markdown(table: Table) -> str:
    """The table for README.md: the best of each row is bold, small text is left out."""
    lines = ["| " + " | ".join(table.heads) + " |", "| --- " + "| ---: " * (len(table.heads) - 1) + "|"]
    for row in table.rows:
        lines.append("| " + " | ".join(f"**{cell.text}**" if cell.best else cell.text for cell in row) + " |")
    return "\n".join(lines)


def plain(table: Table) -> str:
    """The table for a terminal, with an asterisk at the best of each row; small text in the first column alone."""
    texts = [table.heads] + [
        [f"{row[0].text} {row[0].small}".strip(), *(cell.text + (" *" if cell.best else "") for cell in row[1:])]
        for row in table.rows
    ]
    widths = [max(len(row[i]) for row in texts) for i in range(len(table.heads))]
    lines = [table.caption]
    for row in texts:
        lines.append("  ".join(text.rjust(w) if i else text.ljust(w) for i, (text, w) in enumerate(zip(row, widths))))
    return "\n".join(line.rstrip() for line in lines)


def case_name(case: str) -> str:
    """A case in words: "mnist/train/32" is "MNIST network, training step, batch 32"."""
    *parts, last = case.split("/")
    words = [_word(part) for part in (*parts, last)]
    if last.isdecimal() and OF_BATCHES.intersection(parts):
        words[-1] = f"batch {last}"
    return ", ".join(words)


def _word(part: str) -> str:
    """A part of a case in words, precision and cache behind a hyphen included."""
    ends: list[str] = []
    for suffix, meaning in (("-cold", "cold cache"), ("-tf32", "TF32"), ("-bf16", "bfloat16")):
        if part.endswith(suffix):
            part = part.removesuffix(suffix)
            ends.insert(0, meaning)
    return " ".join([WORDS.get(part, part.replace("_", " ")), *ends])


def amount(value: float, unit: str) -> str:
    """A number in its unit's form: counts are whole."""
    return f"{value:.0f}" if unit == "count" else number(value)


def ratio_text(ratio: Quartiles) -> str:
    """A ratio and its quartiles."""
    return f"{number(ratio.median)}× [{number(ratio.low)} to {number(ratio.high)}]"


def rivals_table(caption: str, measurements: Sequence[Measurement]) -> Table:
    """A row for each case and a column for each rival: the median, its quartiles, and ours over the best peer's."""
    names = in_order(m.rival for m in measurements)
    has_peers = best_peer(measurements) is not None
    heads = ["case", *(rival(name).label for name in names)]
    if has_peers:
        heads += ["our time / best peer's", "best peer"]
    table = Table(caption, heads)
    for case, row in by_case(measurements).items():
        of = {m.rival: m for m in row}
        best = fastest([m for m in row if rival(m.rival).comparable])
        cells = [Cell(case_name(case), row[0].unit)]
        for name in names:
            cells.append(_median_cell(of[name], of[name] is best and len(row) > 1) if name in of else Cell("–"))
        if has_peers:
            stands = standing(row)
            cells += (
                [Cell(ratio_text(stands.ratio)), Cell(rival(stands.peer.rival).label)] if stands else [Cell("–")] * 2
            )
        table.rows.append(cells)
    return table


def suite_tables(suite: str, document: Document) -> list[Table]:
    """A table of the suite; of overhead one for each kind, since the rivals differ."""
    found = document.suite(suite)
    if suite != "overhead":
        return [rivals_table(f"{suite.capitalize()}: medians", found)]
    kinds: dict[str, list[Measurement]] = {}
    for m in found:
        kinds.setdefault(m.case.partition("/")[0], []).append(m)
    return [rivals_table(f"Overhead, {WORDS.get(kind, kind)}: medians", of) for kind, of in kinds.items()]


def _median_cell(m: Measurement, best: bool) -> Cell:
    q = m.quartiles
    small = f"[{number(q.low)} to {number(q.high)}]" if len(m.samples) > 1 and q.low != q.high else ""
    return Cell(amount(q.median, m.unit), small, best, m.rival)


def ceilings_table(caption: str, measurements: Sequence[Measurement], document: Document) -> Table:
    """A row for each case of known work: what bounds it, its floor, the fraction of the ceiling that rivals reach."""
    names = in_order(m.rival for m in measurements)
    table = Table(caption, ["case", "bound by", "floor, us", *(f"{rival(name).label}, % of ceiling" for name in names)])
    for case, row in by_case(measurements).items():
        found = {m.rival: r for m in row if (r := reached(m, document)) is not None}
        if not found:
            continue
        first, top = next(iter(found.values())), max(r.fraction for r in found.values())
        cells = [Cell(case_name(case)), Cell(first.bound), Cell(number(first.floor * 1e6))]
        for name in names:
            r = found.get(name)
            if r is None:
                cells.append(Cell("–"))
                continue
            rate = f"{number(r.gb_s)} GB/s" if r.bound == "memory" else f"{number(r.gflop_s)} GFLOP/s"
            cells.append(Cell(f"{100 * r.fraction:.0f} %", rate, r.fraction == top, name))
        table.rows.append(cells)
    return table


def fits_table(document: Document) -> Table:
    """The exponents of growth, with their intervals: a row for what was swept, a column for each rival."""
    names = in_order(fit["rival"] for fit in document.fits)
    table = Table("Exponents of growth [95 % intervals]", ["swept", *(rival(name).label for name in names)])
    for case in dict.fromkeys(fit["case"] for fit in document.fits):
        of = {fit["rival"]: fit for fit in document.fits if fit["case"] == case}
        cells = [Cell(case_name(case.removeprefix("scale/")))]
        for name in names:
            fit = of.get(name, {})
            interval = fit.get("interval")
            small = f"[{interval[0]:.2f} to {interval[1]:.2f}]" if interval else ""
            cells.append(Cell(f"{fit['exponent']:.2f}", small, rival=name) if fit else Cell("–"))
        table.rows.append(cells)
    return table


def headline(document: Document, suite: str = "models") -> str:
    """Where we stand in a suite, in a sentence."""
    found = standings(document, suite)
    if not found:
        return f"{suite.capitalize()}: no case has both gradlite and a peer."
    ratios = [s.ratio.median for s in found]
    faster = sum(s.ratio.high < 1 for s in found)
    slower = sum(s.ratio.low > 1 for s in found)
    return (
        f"{suite.capitalize()}: gradlite takes {number(geometric_mean(ratios))} times as long as the best peer of each "
        f"case (geometric mean of {len(found)} cases; {number(min(ratios))} to {number(max(ratios))}). It is faster in "
        f"{faster} and slower in {slower}; in {len(found) - faster - slower} the quartiles leave it open."
    )


def terminal(data: dict[str, Any] | Document) -> str:
    """All tables of a document as text."""
    document = data if isinstance(data, Document) else parse(data)
    parts = [f"{document.machine_name}, {document.day}, commit {document.commit}"]
    for suite in dict.fromkeys(m.suite for m in document.measurements):
        parts += [plain(table) for table in suite_tables(suite, document)]
    if document.fits:
        parts.append(plain(fits_table(document)))
    if (kernels := ceilings_table("kernels against the ceilings", document.suite("kernels"), document)).rows:
        parts.append(plain(kernels))
    parts += [headline(document, suite) for suite in ("models", "kernels") if document.suite(suite)]
    return "\n\n".join(parts)
