"""Run suites: start the rivals, let them take turns, and write one JSON document that grows case by case.

    python -m benchmarks                          every suite, at the full setting
    python -m benchmarks models --setting quick   one of them, faster
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.cases import PLANS, SETTINGS, SUITES, Case
from benchmarks.noise import FOREIGN, Noise, Window
from benchmarks.rivals import RIVALS, why_missing
from benchmarks.workers import Worker, WorkerError

SCALES = {"s": 1.0, "ms": 1e3, "us": 1e6}
MOST_REPEATS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"{', '.join(SUITES)}; all by default")
    parser.add_argument("--setting", choices=SETTINGS, default="full", help="how thorough (default: full)")
    parser.add_argument("--rounds", type=int, help="samples of every rival in every case")
    parser.add_argument("--rivals", help="these alone, separated by commas; by default whatever is installed")
    parser.add_argument("--cases", default="", help="only cases whose name contains this")
    parser.add_argument("--threads", type=int, default=machine.available_cores(), help="of every rival")
    parser.add_argument("--out", type=Path, default=Path("results"), help="the directory to write to")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run what is asked for, write it, and show it."""
    unknown = sorted(set(arguments.suites) - set(SUITES))
    if unknown:
        sys.exit(f"There is no suite named {', '.join(unknown)}; there are {', '.join(SUITES)}.")
    asked = [name for name in (arguments.rivals or "").split(",") if name]
    unknown = sorted(set(asked) - set(RIVALS))
    if unknown:
        sys.exit(f"There is no rival named {', '.join(unknown)}; there are {', '.join(RIVALS)}.")
    Run(arguments, asked).measure()


class Run:
    """One run: its rivals, its processes, and the document they fill."""

    def __init__(self, arguments: argparse.Namespace, asked: Sequence[str]) -> None:
        self.setting = SETTINGS[arguments.setting]
        self.rounds = arguments.rounds
        self.threads = arguments.threads
        self.part = arguments.cases
        self.suites = [suite for suite in SUITES if suite in arguments.suites or not arguments.suites]
        missing = {name: why_missing(name) for name in asked or RIVALS}
        self.rivals = [name for name, reason in missing.items() if reason is None]
        self.noise = Noise()
        self.workers: dict[str, Worker] = {}
        now = time.gmtime()
        self.path = arguments.out / f"{time.strftime('%Y-%m-%d-%H%M', now)}-{arguments.setting}.json"
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
                "rounds": self.rounds or self.setting.rounds,
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
        """Measure every case of every suite; what is measured is written even where a later case fails."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            for suite in self.suites:
                for case in PLANS[suite](self.document["settings"]["setting"]):
                    if self.part in case.name:
                        self.case(case)
                        self.write()
                self.end_workers()
        finally:
            self.end_workers()
            self.write()

    def write(self) -> None:
        """Write the document as far as it goes."""
        self.document["noise"] = self.noise.statement([m["samples"] for m in self.document["measurements"]])
        text = json.dumps(self.document, indent=1)
        waiting = self.path.with_suffix(".tmp")
        waiting.write_text(text, encoding="utf-8")
        waiting.replace(self.path)  # never half a file

    def end_workers(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.end()
        self.workers.clear()

    def case(self, case: Case) -> None:
        """Prepare all rivals of a case, let them take turns, and keep their samples."""
        names = [name for name in self.rivals if self.takes_part(name, case)]
        repeats: dict[str, int] = {}
        for name in names:
            try:
                worker = self.worker(name)
                seconds = worker.request("prepare", task=case.task, arguments=case.arguments, warmups=2)["seconds"]
                repeats[name] = max(1, round(self.setting.sample / max(seconds, 1e-7))) if case.repeat else 1
                worker.quiet()
            except WorkerError as error:
                self.failed(name, case, error)
        samples: dict[str, list[float]] = {name: [] for name in repeats}
        for _ in range(self.rounds or (self.setting.slow_rounds if case.slow else self.setting.rounds)):
            for name in list(samples):
                try:
                    seconds = self.sample(self.workers[name], min(MOST_REPEATS, repeats[name]))
                    samples[name].append(seconds / repeats[name] / case.units)
                except WorkerError as error:
                    self.failed(name, case, error)
                    del samples[name]
        for name, times in samples.items():
            self.keep(case, name, [SCALES[case.unit] * t for t in times])

    def takes_part(self, name: str, case: Case) -> bool:
        """Whether a rival does what the case asks for."""
        rival = RIVALS[name]
        if case.rivals is not None:
            return name in case.rivals
        return case.task in rival.tasks and not rival.extra and name not in case.without

    def worker(self, name: str) -> Worker:
        """The process of a rival, started if there is none."""
        if name not in self.workers or not self.workers[name].alive:
            self.workers[name] = Worker(name, self.threads)
            self.workers[name].ready()
        return self.workers[name]

    def sample(self, worker: Worker, repeats: int) -> float:
        """Seconds of one turn; taken again once if others used the processors meanwhile."""
        self.noise.samples += 1
        seconds, foreign = self.turn(worker, repeats)
        if foreign > FOREIGN and self.noise.may_repeat():
            self.noise.repeated += 1
            again, foreign_again = self.turn(worker, repeats)
            if foreign_again < foreign:
                seconds, foreign = again, foreign_again
        self.noise.disturbed += foreign > FOREIGN
        return seconds

    def turn(self, worker: Worker, repeats: int) -> tuple[float, float]:
        """Seconds of the work, and the share of the processors that others took."""
        window, before = Window(), self.own_seconds()
        seconds = worker.request("run", repeats=repeats)["seconds"]
        foreign = window.foreign(self.own_seconds() - before)
        worker.quiet()
        return seconds, foreign

    def own_seconds(self) -> float:
        """Processor time of this process and all workers."""
        return time.process_time() + sum(worker.cpu_seconds() for worker in self.workers.values() if worker.alive)

    def failed(self, name: str, case: Case, error: Exception) -> None:
        """Note what could not be measured."""
        self.document["missing"][f"{case.suite}/{case.name} of {name}"] = str(error)
        print(f"  {case.name} of {name} failed: {error}", file=sys.stderr)

    def keep(self, case: Case, name: str, samples: list[float]) -> None:
        """Add a measurement to the document."""
        self.document["measurements"].append(
            {
                "suite": case.suite,
                "case": case.name,
                "rival": name,
                "unit": case.unit,
                "better": "lower",
                "samples": samples,
                "configuration": RIVALS[name].configuration.format(threads=self.threads),
                "work": case.work,
                "note": case.note,
            }
        )
