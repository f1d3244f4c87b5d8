"""The measured part of README.md, between its markers, made from the results: no figure in it is typed by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill

from benchmarks.charts_svg import number
from benchmarks.documents import Document, Measurement
from benchmarks.report_rivals import by_case, fastest, rival, standing, standings
from benchmarks.report_tables import Cell, Table, amount, case_name, headline, markdown

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- measured:begin -->", "<!-- measured:end -->"
# Batches that README.md shows, where they were measured.
BATCHES = (32, 128, 1024)
# The columns. One of several names is the faster of a library's ways, case by case: its best configuration.
COLUMNS = {
    "gradlite on GPU": ("gradlite-cuda",),
    "gradlite": ("gradlite-cpu",),
    "gradlite (NumPy)": ("gradlite-numpy",),
    "gradlite, eager": ("gradlite-cpu-eager", "gradlite-numpy-eager"),
    "PyTorch": ("torch-eager", "torch-compiled", "torch-captured"),
    "Keras on JAX": ("keras-jax",),
    "Keras on TensorFlow": ("keras-tensorflow",),
    "Keras": ("keras",),
    "JAX": ("jax-jit", "jax-scan", "jax"),
    "HIPS autograd": ("autograd",),
    "NumPy, forward only": ("numpy",),
}
LIBRARIES = {"python": "Python", "numpy": "NumPy", "torch": "PyTorch", "jax": "JAX", "keras": "Keras", "cupy": "CuPy",
             "tensorflow": "TensorFlow", "numba": "Numba", "autograd": "HIPS autograd"}  # fmt: skip
# Versions that say nothing beside another one.
UNSAID = ("gradlite", "jaxlib")


HOW = """\
`python -m benchmarks` measures anew, with whatever of the others is installed; `python -m benchmarks report` draws all
of [benchmarks/results/](benchmarks/results) as a page of charts, and with `--readme` it makes this part from them."""


def block(documents: Iterable[Document]) -> str:
    """The text between the markers, markers included."""
    parts = []
    for group in chosen(list(documents)):
        parts.append(fill(_about(group), 120))
        steps = [m for d in group for m in d.suite("models") if "/train" in m.case and m.parameter in BATCHES]
        others = [m for d in group for m in d.suite("overhead")]
        for heading, found in (("training step", steps), ("overhead", others)):
            parts += [markdown(_table(heading, columns, rows)) for columns, rows in _alike(found)]
        parts += [fill(headline(d), 120) for d in group if standings(d, "models")]
    parts.append(HOW)
    return f"{BEGIN}\n" + "\n\n".join(parts) + f"\n{END}"


def chosen(documents: Sequence[Document]) -> list[list[Document]]:
    """What README.md shows: the newest full run on a CPU and on a GPU; the newest older forms where there is none."""
    groups = []
    for kind in ("suite", "gpu"):
        full = [d for d in documents if not d.old and d.kind == kind and d.settings.get("setting", "full") == "full"]
        if full:
            groups.append([max(full, key=lambda d: d.date)])
    if groups or not documents:
        return groups
    old = [d for d in documents if d.old]
    newest = max((d.day for d in old), default="")
    return [[d for d in old if d.day == newest]] if old else []


def _about(group: Sequence[Document]) -> str:
    """Date, machine, versions, and how it was measured."""
    first = group[0]
    where = first.gpu_name if first.kind == "gpu" and first.gpu_name else first.machine_name
    versions = ", ".join(
        f"{LIBRARIES.get(key, key)} {value}" for key, value in first.versions.items() if key not in UNSAID
    )
    commit = f", commit {first.commit}" if first.commit != "unknown" else ""
    noisy = " The run was too noisy to be trusted." if first.noise.get("too_noisy") else ""
    return (
        f"On {first.day}, on {where}{f' ({versions})' if versions else ''}{commit}. Times are medians; every library "
        "ran in a process of its own, in its best configuration, and the processes took turns; shared machines are "
        f"noisy.{noisy}"
    )


def _alike(measurements: Sequence[Measurement]) -> list[tuple[list[str], list[list[Measurement]]]]:
    """Cases by the columns that they fill, so that no table is full of gaps."""
    tables: dict[tuple[str, ...], list[list[Measurement]]] = {}
    for row in by_case(measurements).values():
        names = {m.rival for m in row}
        columns = tuple(column for column, rivals in COLUMNS.items() if names.intersection(rivals))
        if columns:
            tables.setdefault(columns, []).append(row)
    return [(list(columns), rows) for columns, rows in tables.items()]


def _table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[Measurement]]) -> Table:
    """Cases by libraries; the best is bold; at the end our time over the best peer's."""
    compared = any(standing(row) for row in rows)
    units = list(dict.fromkeys(row[0].unit for row in rows))
    head = f"{heading}, {units[0]}" if len(units) == 1 else heading
    table = Table("", [head, *columns, *(["gradlite / best"] if compared else [])])
    for row in rows:
        shown = [fastest([m for m in row if m.rival in COLUMNS[column]]) for column in columns]
        best = fastest([m for m in shown if m is not None and rival(m.rival).comparable])
        cells = [Cell(amount(m.median, m.unit), best=m is best, rival=m.rival) if m else Cell("") for m in shown]
        stands = standing(row)
        cells += [Cell(number(stands.ratio.median) if stands else "")] if compared else []
        words = case_name(row[0].case).replace(f", {heading}", "")
        table.rows.append([Cell(words if len(units) == 1 else f"{words}, {row[0].unit}"), *cells])
    return table


def replaced(text: str, new: str) -> str:
    """README.md's text with a new block between its markers."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise ValueError(f"{README.name} must have {BEGIN} and after it {END}, once each; nothing was written.")
    return text[: text.index(BEGIN)] + new + text[text.index(END) + len(END) :]


def update(documents: Iterable[Document], path: Path = README) -> None:
    """Write the block anew."""
    path.write_text(replaced(path.read_text(encoding="utf-8"), block(documents)), encoding="utf-8", newline="\n")
