"""Run suites: start the rivals, let them take turns, and write one JSON document that grows case by case.

python -m benchmarks                          every suite, at the full setting: about ten minutes
python -m benchmarks models --setting quick   one of them, in a minute
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import ceilings, growth, machine, report, report_tables
from benchmarks.cases import SETTINGS, SUITES, Case, plan
from benchmarks.images import images_for_accuracy
from benchmarks.noise import FOREIGN, Noise, Window
from benchmarks.procedures import PROCEDURES, Samples
from benchmarks.rivals import RIVALS, why_missing
from benchmarks.workers import Worker, WorkerError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"{', '.join(SUITES)}; all by default")
    parser.add_argument("--setting", choices=SETTINGS, default="full", help="how thorough (default: full)")
    parser.add_argument("--rounds", type=int, help="samples of every rival in every case")
    parser.add_argument("--rivals", help="these alone, separated by commas; by default whatever is installed")
    parser.add_argument("--cases", default="", metavar="TEXT", help="only cases whose name contains this")
    parser.add_argument("--threads", type=int, default=machine.available_cores(), help="of every rival")
    parser.add_argument("--out", type=Path, default=Path("results"), help="the directory to write to")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run what is asked for, write it, and show it."""
    asked = [name for name in (arguments.rivals or "").split(",") if name]
    _check("suite", arguments.suites, SUITES)
    _check("rival", asked, list(RIVALS))
    run = Run(arguments, asked)
    run.measure()
    print(report_tables.terminal(run.document))
    page = run.path.with_suffix(".html")
    report.render([run.document], page)
    print(f"Written to {run.path} and {page}.")


def _check(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown:
        sys.exit(f"There is no {what} named {', '.join(unknown)}; there are {', '.join(known)}.")


class Run:
    """One run: its rivals, its processes, and the document that they fill."""

    def __init__(self, arguments: argparse.Namespace, asked: Sequence[str]) -> None:
        self.setting = SETTINGS[arguments.setting]
        self.asked_rounds: int | None = arguments.rounds
        self.threads: int = arguments.threads
        self.part: str = arguments.cases
        self.suites = [suite for suite in SUITES if suite in arguments.suites or not arguments.suites]
        missing = {name: why_missing(name) for name in asked or RIVALS}
        self.rivals = [name for name, reason in missing.items() if reason is None]
        self.left_out: dict[tuple[str, str], list[str]] = {}  # cases by rival and reason
        self.noise = Noise()
        self.workers: dict[str, Worker] = {}
        now = time.gmtime()
        self.path: Path = arguments.out / f"{time.strftime('%Y-%m-%d-%H%M', now)}-{arguments.setting}.json"
        commit, dirty = machine.commit()
        self.document: dict[str, Any] = {
            "schema": 1,
            "kind": "suite",
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
            "commit": commit,
            "dirty": dirty,
            "machine": machine.machine(),
            "versions": machine.versions(),
            "settings": {
                "suites": self.suites,
                "rounds": self.asked_rounds or self.setting.rounds,
                "setting": arguments.setting,
                "threads": self.threads,
            },
            "missing": {name: reason for name, reason in missing.items() if reason and not RIVALS[name].extra},
            "ceilings": {},
            "noise": {},
            "measurements": [],
            "fits": [],
        }

    def measure(self) -> None:
        """Measure every case of every suite; a run that is cut off leaves what it had."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        setting = self.document["settings"]["setting"]
        with tempfile.TemporaryDirectory() as directory:
            try:
                self.document["ceilings"] = ceilings.measure(self)
                for suite in self.suites:
                    start = time.perf_counter()
                    images = images_for_accuracy(Path(directory), setting) if suite == "models" else None
                    for case in plan(suite, setting, images):
                        if self.part in case.name:
                            self.case(case)
                            self.write()
                    self.end_workers()
                    self.document["settings"][f"{suite}_seconds"] = round(time.perf_counter() - start, 1)
            finally:
                self.end_workers()
                self.write()

    def write(self) -> None:
        """Write the document as far as it goes."""
        measured = self.document["measurements"]
        self.document["noise"] = self.noise.statement([m["samples"] for m in measured])
        self.document["fits"] = growth.fits(measured)
        for (name, reason), cases in self.left_out.items():
            self.document["missing"][f"{name} in some cases"] = f"{reason} (left out of {', '.join(cases)})"
        waiting = self.path.with_suffix(".tmp")
        waiting.write_text(json.dumps(self.document, indent=1), encoding="utf-8")
        waiting.replace(self.path)  # never half a file

    def case(self, case: Case) -> None:
        """Measure a case, and keep the samples."""
        for name, reason in case.without.items():
            if name in self.rivals and case.rivals is None:
                self.left_out.setdefault((name, reason), []).append(f"{case.suite}/{case.name}")
        names = [name for name in self.rivals if self.takes_part(name, case)]
        for worker in self.workers.values():
            worker.result = None
        samples: Samples = PROCEDURES[case.how](self, case, names)
        for name, values in samples.items():
            if values:
                found = self.workers[name].result if name in self.workers else None
                told = "" if found is None else f"; {found['epochs']} epochs, {found['accuracy']:.1%} right in the end"
                self.keep(case, name, values, note=f"{case.note}{told}" if told else case.note)
        medians = [f"{name} {statistics.median(values):.4g}" for name, values in samples.items() if values]
        if medians:
            print(f"{case.suite}/{case.name} [{case.unit}]: {', '.join(medians)}", flush=True)

    def takes_part(self, name: str, case: Case) -> bool:
        """Whether a rival does what the case asks for."""
        if case.rivals is not None:
            return name in case.rivals
        rival = RIVALS[name]
        return case.task in rival.tasks and not rival.extra and name not in case.without

    def rounds(self, case: Case) -> int:
        """How many samples a rival gives."""
        rounds = self.asked_rounds or self.setting.rounds
        return min(rounds, self.setting.slow_rounds) if case.slow else rounds

    def worker(self, name: str) -> Worker:
        """The process of a rival, started if there is none."""
        found = self.workers.get(name)
        if found is None or not found.alive:
            if found is not None:
                found.end()
            found = self.workers[name] = Worker(name, self.threads)
            found.ready()
        return found

    def end_workers(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.end()
        self.workers.clear()

    def sample(self, worker: Worker, repeats: int) -> float:
        """Seconds of one turn; taken again once if others used the processors meanwhile."""
        self.noise.samples += 1
        seconds, foreign = self._turn(worker, repeats)
        if foreign > FOREIGN and self.noise.may_repeat():
            self.noise.repeated += 1
            again, foreign_again = self._turn(worker, repeats)
            if foreign_again < foreign:
                seconds, foreign = again, foreign_again
        self.noise.disturbed += foreign > FOREIGN
        return seconds

    def _turn(self, worker: Worker, repeats: int) -> tuple[float, float]:
        """Seconds of the work, and the share of the processors that others took."""
        window, before = Window(), self._own_seconds()
        answer = worker.request("run", repeats=repeats)
        foreign = window.foreign(self._own_seconds() - before)
        worker.result = answer["result"]
        worker.quiet()
        return answer["seconds"], foreign

    def _own_seconds(self) -> float:
        """Processor time of this process and all workers."""
        return time.process_time() + sum(worker.cpu_seconds() for worker in self.workers.values() if worker.alive)

    @contextmanager
    def noting_failure(self, name: str, case: Case, samples: Samples | None = None) -> Iterator[None]:
        """Inside, a rival that fails is noted and left out of the case; the run goes on."""
        try:
            yield
        except WorkerError as error:
            if samples is not None:
                del samples[name]
            self.failed(name, case, error)

    def failed(self, name: str, case: Case, error: WorkerError) -> None:
        """Note what could not be measured."""
        self.document["missing"][f"{name} in {case.suite}/{case.name}"] = str(error)
        print(f"{case.suite}/{case.name}: {name} failed: {error}", file=sys.stderr)

    def keep(self, case: Case, rival: str, samples: list[float], **other: Any) -> None:
        """Add a measurement to the document; ``other`` replaces the case's name, unit or note."""
        unit = other.get("unit", case.unit)
        configuration = RIVALS[rival].configuration.format(threads=self.threads) if rival in RIVALS else ""
        measurement = {
            "suite": case.suite,
            "case": other.get("name", case.name),
            "rival": rival,
            "unit": unit,
            "better": "higher" if unit.endswith("/s") else "lower",
            "samples": samples,
            "configuration": configuration,
            "work": case.work,
            "note": other.get("note", case.note),
        }
        self.document["measurements"].append(measurement)
