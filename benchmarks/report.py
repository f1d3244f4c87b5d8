"""The report: every result as one HTML page that needs nothing else, and README's tables from the same files.

python -m benchmarks report                 benchmarks/results/*.json to report.html
python -m benchmarks report --readme        and the measured part of README.md anew
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks import readme, report_sections
from benchmarks.documents import RESULTS, Document, DocumentError, load_all, parse
from benchmarks.report_history import cpu_against_gpu, history
from benchmarks.report_page import page

TITLES = {"models": "Models", "kernels": "Kernels", "roofline": "Roofline", "overhead": "Overhead", "scale": "Scaling"}
HOW = (
    "Every rival ran in a process of its own, and the processes took turns, round by round. Figures are medians; in "
    "brackets stand the quartiles. Ratios are medians of the ratios within a round: below 1, gradlite takes less time. "
    "Hovering over a mark shows its numbers."
)


def render(
    documents: Sequence[dict[str, Any] | Document], path: str | Path, skipped: dict[str, str] | None = None
) -> Path:
    """Write the page of these documents to a file, and return its path; DocumentError for one that is not sound."""
    found = [d if isinstance(d, Document) else parse(d, _name(d)) for d in documents]
    if not found:
        raise DocumentError("There is no document to report on; run `python -m benchmarks` first.")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html(found, skipped or {}), encoding="utf-8", newline="\n")
    return path


def _name(data: Any) -> str:
    """What to call a document that has no file's name."""
    return f"the run of {data['date']}" if isinstance(data, dict) and "date" in data else "the document"


def html(documents: Sequence[Document], skipped: dict[str, str]) -> str:
    """The page: the newest run of each machine in full, then what can be seen across all runs."""
    documents = sorted(documents, key=lambda d: d.date)
    parts, links = [], []
    for i, document in enumerate(current(documents)):
        name = document.gpu_name if document.kind == "gpu" else document.machine_name
        links.append((f"run-{i}", f"{name}, {document.day}"))
        parts.append(f'<h2 id="run-{i}">{escape(links[-1][1])}</h2>{report_sections.summary(document)}')
        for suite, title in TITLES.items():
            content = getattr(report_sections, suite)(document)
            if content:
                links.append((f"run-{i}-{suite}", title))
                parts.append(f'<h2 id="run-{i}-{suite}">{title}</h2>\n{content}')
    for name, title, content in (
        ("gpu", "CPU against GPU", cpu_against_gpu(documents)),
        ("history", "Over time", history(documents)),
    ):
        if content:
            links.append((name, title))
            parts.append(f'<h2 id="{name}">{title}</h2>\n{content}')
    unread = "".join(f"<li>{escape(why)}</li>" for why in skipped.values())
    if unread:
        parts.append(f"<h2>Files that could not be read</h2><ul>{unread}</ul>")
    menu = "".join(f'<a href="#{name}">{escape(title)}</a>' for name, title in links)
    files = ", ".join(d.name for d in documents)
    head = f"<h1>gradlite, measured</h1><p class='soft'>{escape(HOW)}</p><nav>{menu}</nav>"
    foot = f"<p class='soft'>Made from {escape(files)}.</p>"
    return page("gradlite, measured", "\n".join([head, report_sections.legend(documents), *parts, foot]))


def current(documents: Sequence[Document]) -> list[Document]:
    """The newest document of each kind and machine, newest first; older forms only where there is nothing else."""
    newest = {(d.kind, d.machine_name): d for d in documents if not d.old} or {("", ""): documents[-1]}
    return sorted(newest.values(), key=lambda d: d.date, reverse=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--results", type=Path, default=RESULTS, help="the directory of the JSON files")
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="the HTML file to write")
    parser.add_argument("--readme", action="store_true", help="write the measured part of README.md anew, too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Render all results of a directory."""
    documents, skipped = load_all(arguments.results)
    for why in skipped.values():
        print(f"Skipped: {why}", file=sys.stderr)
    if not documents:
        print(
            f"{arguments.results} has no result that can be read; `python -m benchmarks` writes one.", file=sys.stderr
        )
        sys.exit(2)
    print(f"Wrote {render(documents, arguments.out, skipped)} from {len(documents)} files.")
    if arguments.readme:
        readme.update(documents)
        print(f"Wrote the measured part of {readme.README}.")


def main() -> None:
    """``python -m benchmarks.report``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
