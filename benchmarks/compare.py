"""What moved between two results, beyond noise: ``python -m benchmarks compare A B``.

The two runs are not paired, so medians are compared. A case moved if all of these hold: the 99 % bootstrap interval of
the ratio of medians leaves out 1; the ranges between the quartiles do not overlap; the change is larger than the spread
that either run states as its noise, and than the drift between the runs. Peers are the control group for that: their
versions are the same, so nine in ten of their times changed by less than the drift. Where gradlite moved but its ratio
to the peer that was best in A did not (pair by pair within each run, quartile ranges overlap), it was the machine,
and the line says so. Counts have no noise: any change is one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.charts_svg import number
from benchmarks.documents import RESULTS, SECONDS, Document, DocumentError, Measurement, load
from benchmarks.report_rivals import best_peer, by_case, rival
from benchmarks.report_tables import Cell, Table, amount, case_name, plain
from benchmarks.samples import Quartiles, bootstrap, pair_ratio, quartiles

# With fewer samples of a time there are no quartiles to speak of.
FEWEST = 3
# So many of the peers' times must be in both documents to tell how far the machine drifted.
FEWEST_OF_PEERS = 10
METHOD = (
    "Moved: 99 % bootstrap interval of B/A without 1, quartile ranges apart, more than spread within and drift between."
)


@dataclass(frozen=True)
class Change:
    """How one rival's cost of a case changed from A to B: ratios below 1 are faster."""

    before: Measurement
    after: Measurement
    ratio: float
    interval: tuple[float, float]
    verdict: str  # "faster", "slower", "same", "too few samples"
    # Our ratio to the peer that was best in A, in both runs; None for peers, and where there is none.
    against: tuple[Quartiles, Quartiles] | None = None

    @property
    def moved(self) -> bool:
        """Whether the change is beyond noise."""
        return self.verdict in ("faster", "slower")

    @property
    def with_the_machine(self) -> bool:
        """Whether the best peer moved alike."""
        return self.moved and self.against is not None and self.against[0].overlaps(self.against[1])


def changes(a: Document, b: Document) -> Iterator[Change]:
    """A change for everything that both documents measured."""
    after = {(m.suite, m.case, m.rival): m for m in b.measurements}
    noise = max(drift(a, b), *(float(d.noise.get("spread") or 0.0) for d in (a, b)))
    for suite in dict.fromkeys(m.suite for m in a.measurements):
        for row in by_case(a.suite(suite)).values():
            peer = best_peer(row)
            for m in row:
                other = after.get((suite, m.case, m.rival))
                if other is None or other.unit != m.unit or min(*m.samples, *other.samples) <= 0:
                    continue
                ours = rival(m.rival).ours and peer is not None
                then = after.get((suite, m.case, peer.rival)) if ours and peer else None
                against = None
                if ours and peer and then and min(*peer.samples, *then.samples) > 0:
                    against = pair_ratio(m.costs, peer.costs), pair_ratio(other.costs, then.costs)
                yield change(m, other, noise, against)


def drift(a: Document, b: Document) -> float:
    """How far the machine itself moved from one run to the other: nine in ten of the peers' times, of versions that are
    the same in both, changed by less; 0 where there are too few of them."""
    after = {(m.suite, m.case, m.rival): m for m in b.measurements}
    moves = []
    for m in a.measurements:
        other = after.get((m.suite, m.case, m.rival))
        if rival(m.rival).ours or other is None or m.unit not in SECONDS or other.unit != m.unit:
            continue
        ratio = other.median / m.median if m.median > 0 < other.median else 1.0
        moves.append(max(ratio, 1 / ratio) - 1)
    alike = all(a.versions.get(name) == version for name, version in b.versions.items() if name != "gradlite")
    return sorted(moves)[len(moves) * 9 // 10] if alike and len(moves) >= FEWEST_OF_PEERS else 0.0


def change(a: Measurement, b: Measurement, noise: float, against: tuple[Quartiles, Quartiles] | None = None) -> Change:
    """Judge one change; ``noise`` is the relative spread that the runs state."""
    before, after = quartiles(a.costs), quartiles(b.costs)
    ratio = after.median / before.median
    if a.unit not in SECONDS and a.better == "lower":
        # Counts and sizes, which need no quartiles; those of memory are not the same twice.
        small = max(ratio, 1 / ratio) <= 1 + (0.0 if a.unit == "count" else noise)
        return Change(a, b, ratio, (ratio, ratio), "same" if small else _direction(ratio), against)
    interval = bootstrap(a.costs, b.costs)
    if min(len(a.samples), len(b.samples)) < FEWEST:
        verdict = "too few samples"
    elif interval[0] <= 1 <= interval[1] or before.overlaps(after) or max(ratio, 1 / ratio) <= 1 + noise:
        verdict = "same"
    else:
        verdict = _direction(ratio)
    return Change(a, b, ratio, interval, verdict, against)


def _direction(ratio: float) -> str:
    return "faster" if ratio < 1 else "slower" if ratio > 1 else "same"


def table(found: list[Change], every: bool) -> Table:
    """Rows of what moved, or of everything."""
    heads = ["case", "rival", "A", "B", "B/A", "99 %", "against best peer", "verdict"]
    made = Table("B against A: below 1 is faster", heads)
    for c in found:
        if not (c.moved or every):
            continue
        unit = c.before.unit
        against = f"{number(c.against[0].median)}× to {number(c.against[1].median)}×" if c.against else "–"
        verdict = c.verdict + (", as the peer did" if c.with_the_machine else "")
        cells = [case_name(c.before.case), rival(c.before.rival).label, f"{amount(c.before.median, unit)} {unit}"]
        cells += [f"{amount(c.after.median, unit)} {unit}", f"{number(c.ratio)}×"]
        cells += [f"{number(c.interval[0])} to {number(c.interval[1])}", against, verdict]
        made.rows.append([Cell(cell) for cell in cells])
    return made


def text(a: Document, b: Document, every: bool = False) -> str:
    """The comparison as text; DocumentError where the two have nothing in common."""
    found = list(changes(a, b))
    if not found:
        raise DocumentError(f"{a.name} and {b.name} have no case and rival in common, so there is nothing to compare.")
    lines = [f"{label}: {d.name}, {d.day}, commit {d.commit}, {d.machine_name}" for label, d in (("A", a), ("B", b))]
    if a.machine_name != b.machine_name:
        lines.append("The machines differ: only the ratios to peers can be compared.")
    lines += [f"{d.name} says of itself that it was too noisy." for d in (a, b) if d.noise.get("too_noisy")]
    for key, value in a.ceilings.items():
        other = b.ceilings.get(key)
        if isinstance(value, (int, float)) and isinstance(other, (int, float)):
            lines.append(f"{key}: {number(value)} in A, {number(other)} in B")
    counts = {verdict: sum(c.verdict == verdict for c in found) for verdict in dict.fromkeys(c.verdict for c in found)}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    made = table(found, every)
    body = plain(made) if made.rows else "Nothing moved beyond noise."
    return "\n".join([*lines, METHOD, f"{len(found)} compared: {told}.", "", body])


def slower(a: Document, b: Document, percent: float) -> list[Change]:
    """Where gradlite got slower by more than this, beyond noise, and the machine is not the reason."""
    return [
        c
        for c in changes(a, b)
        if rival(c.before.rival).ours
        and c.verdict == "slower"
        and c.ratio > 1 + percent / 100
        and not c.with_the_machine
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("a", metavar="A", help="the earlier JSON file, or the name of one in benchmarks/results")
    parser.add_argument("b", metavar="B", help="the later one")
    parser.add_argument("--all", action="store_true", help="show what did not move, too")
    parser.add_argument(
        "--fail-on-slower",
        type=float,
        metavar="PERCENT",
        help="exit with 1 if gradlite got slower by more than this, beyond noise",
    )
    parser.set_defaults(run=run)


def find(name: str) -> Path:
    """A file by its path, or by its name in the directory of results, with or without ``.json``."""
    for path in (Path(name), RESULTS / name, RESULTS / f"{name}.json"):
        if path.is_file():
            return path
    return Path(name)


def run(arguments: argparse.Namespace) -> None:
    """Print the comparison; exit with 2 for files that are no results, with 1 for what ``--fail-on-slower`` asks."""
    try:
        a, b = load(find(arguments.a)), load(find(arguments.b))
        print(text(a, b, arguments.all))
    except DocumentError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if arguments.fail_on_slower is not None and (worse := slower(a, b, arguments.fail_on_slower)):
        print(
            f"\ngradlite is slower in {len(worse)} cases by more than {arguments.fail_on_slower:g} %.", file=sys.stderr
        )
        sys.exit(1)
