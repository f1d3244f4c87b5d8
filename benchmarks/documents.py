"""Reading results: the JSON documents of the suite, checked, and the two forms that were written before it.

A document (``"schema": 1``) names its machine, its versions and settings, and holds measurements: for every case
("mnist/train/32") and rival ("torch-eager") one sample a round. Medians and ratios are computed by who reads it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.samples import Quartiles, quartiles

SCHEMA = 1
RESULTS = Path(__file__).with_name("results")
SUITES = ("models", "kernels", "overhead", "scale")
# Seconds in each unit of time.
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
# How the first forms named what has other names now. They were written when NumPy alone did all arithmetic on the CPU.
OLD_RIVALS = {"gradlite": "gradlite-numpy", "keras on jax": "keras-jax", "pytorch": "torch-eager"}
OLD_EPOCHS = {"eager": "gradlite-numpy-eager", "captured": "gradlite-numpy"}


class DocumentError(ValueError):
    """A file that is not a document of the benchmarks, or not a sound one; the message says what is wrong where."""


@dataclass(frozen=True)
class Measurement:
    """One rival's samples of one case."""

    suite: str
    case: str
    rival: str
    unit: str
    better: str
    samples: list[float]
    configuration: str = ""
    work: dict[str, float] | None = None
    note: str | None = None

    @property
    def quartiles(self) -> Quartiles:
        """Median and quartiles, in the measurement's unit."""
        return quartiles(self.samples)

    @property
    def median(self) -> float:
        """The median, in the measurement's unit."""
        return self.quartiles.median

    @property
    def group(self) -> str:
        """The case without its parameter: ``mnist/train`` of ``mnist/train/32``."""
        return self.case.rpartition("/")[0] if self.parameter is not None else self.case

    @property
    def parameter(self) -> float | None:
        """The number at the end of the case, None where there is none."""
        try:
            return float(self.case.rpartition("/")[2])
        except ValueError:
            return None

    @property
    def costs(self) -> list[float]:
        """The samples as what one would have less of: rates are inverted, so ratios of costs are ratios of time."""
        return self.samples if self.better == "lower" else [1 / sample for sample in self.samples]

    @property
    def seconds(self) -> float | None:
        """The median in seconds: from a time, or from a rate and the work; None where neither is there."""
        if self.unit in SECONDS:
            return self.median * SECONDS[self.unit]
        done = (self.work or {}).get({"GFLOP/s": "flop", "GB/s": "bytes"}.get(self.unit, ""))
        return done / (1e9 * self.median) if done else None


@dataclass(frozen=True)
class Document:
    """The measurements of one run on one machine."""

    name: str
    date: str
    kind: str = "suite"
    commit: str = "unknown"
    dirty: bool = False
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    ceilings: dict[str, Any] = field(default_factory=dict)
    noise: dict[str, Any] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    fits: list[dict[str, Any]] = field(default_factory=list)
    # A form from before the suite: read as far as it goes.
    old: bool = False

    @property
    def day(self) -> str:
        """The date without the time."""
        return self.date[:10]

    @property
    def machine_name(self) -> str:
        """The machine in words."""
        return str(self.machine.get("name") or "a machine without a name")

    @property
    def gpu_name(self) -> str | None:
        """The GPU's name, None without one."""
        gpu = self.machine.get("gpu")
        return gpu.get("name", "a GPU without a name") if isinstance(gpu, dict) else gpu

    def suite(self, name: str) -> list[Measurement]:
        """The measurements of a suite, in their order."""
        return [m for m in self.measurements if m.suite == name]

    def groups(self, suite: str) -> Iterator[tuple[str, list[Measurement]]]:
        """The measurements of a suite by group: what differs in the parameter or the rival alone."""
        found: dict[str, list[Measurement]] = {}
        for m in self.suite(suite):
            found.setdefault(m.group, []).append(m)
        yield from found.items()


def load(path: str | Path) -> Document:
    """The document in a file; DocumentError where there is none, or not a sound one."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise DocumentError(
            f"{path}: is not JSON ({error}); expected a file that `python -m benchmarks` wrote."
        ) from error
    return parse(data, path.name)


def load_all(directory: Path = RESULTS) -> tuple[list[Document], dict[str, str]]:
    """The documents of a directory, oldest first, and why the rest of its JSON files could not be read."""
    documents, skipped = [], {}
    for path in sorted(directory.glob("*.json")):
        try:
            documents.append(load(path))
        except DocumentError as error:
            skipped[path.name] = str(error)
    return sorted(documents, key=lambda document: document.date), skipped


def parse(data: Any, name: str = "document") -> Document:
    """Check a decoded document; DocumentError says what is wrong where."""
    if not isinstance(data, dict):
        raise DocumentError(f"{name}: holds a {type(data).__name__}, expected an object with the key 'schema'.")
    if "schema" not in data and isinstance(data.get("results"), list):
        return _parse_old(data, name)
    if data.get("schema") != SCHEMA:
        raise DocumentError(
            f"{name}: its schema is {data.get('schema')!r}, expected {SCHEMA}; "
            "it is not a result of this suite, or of a newer version of it."
        )
    if not isinstance(data.get("measurements"), list):
        raise DocumentError(f"{name}: has no list 'measurements'.")
    if not isinstance(data.get("date"), str) or not data["date"][:4].isdigit():
        raise DocumentError(f"{name}: its date is {data.get('date')!r}, expected one like 2026-11-26T12:00:00Z.")
    measurements = [_measurement(m, f"{name}: measurement {i}") for i, m in enumerate(data["measurements"])]
    seen: set[tuple[str, str, str]] = set()
    for m in measurements:
        if (m.suite, m.case, m.rival) in seen:
            raise DocumentError(f"{name}: {m.suite} {m.case} of {m.rival} is there twice.")
        seen.add((m.suite, m.case, m.rival))
    for i, fit in enumerate(data.get("fits") or []):
        if not isinstance(fit, dict) or not {"case", "rival", "x", "y", "exponent"} <= fit.keys():
            raise DocumentError(f"{name}: fit {i} lacks one of 'case', 'rival', 'x', 'y', 'exponent'.")
    for key in ("machine", "versions", "settings", "missing", "ceilings", "noise"):
        if not isinstance(data.get(key, {}), dict):
            raise DocumentError(f"{name}: its {key!r} is a {type(data[key]).__name__}, expected an object.")
    known = {key: data[key] for key in Document.__dataclass_fields__ if data.get(key) is not None}
    return Document(**{**known, "name": name, "measurements": measurements, "old": False})


def _measurement(data: Any, where: str) -> Measurement:
    """A checked measurement."""
    if not isinstance(data, dict):
        raise DocumentError(f"{where}: is a {type(data).__name__}, expected an object.")
    for key in ("suite", "case", "rival", "unit"):
        if not isinstance(data.get(key), str) or not data[key]:
            raise DocumentError(f"{where}: its {key!r} is {data.get(key)!r}, expected text.")
    where = f"{where} ({data['case']}, {data['rival']})"
    if data.get("better", "lower") not in ("lower", "higher"):
        raise DocumentError(f"{where}: its 'better' is {data['better']!r}, expected 'lower' or 'higher'.")
    samples = data.get("samples")
    if not isinstance(samples, list) or not samples:
        raise DocumentError(f"{where}: has no samples.")
    for sample in samples:
        if isinstance(sample, bool) or not isinstance(sample, (int, float)) or not math.isfinite(sample) or sample < 0:
            raise DocumentError(f"{where}: {sample!r} among its samples, expected numbers that are not negative.")
    known = {key: data[key] for key in Measurement.__dataclass_fields__ if data.get(key) is not None}
    return Measurement(**{"better": "lower", **known, "samples": [float(sample) for sample in samples]})


def _parse_old(data: dict[str, Any], name: str) -> Document:
    """What ``benchmarks.steps`` and ``benchmarks.capture`` wrote: a list of models, seconds a step."""
    try:
        measurements = []
        for row in data["results"]:
            captures = "ms_a_step" in row
            what = "capture" if captures else "train"
            for old, seconds in row["samples"].items():
                measurements.append(
                    Measurement(
                        suite="overhead" if captures else "models",
                        case=f"{row['model']}/{what}/{row['batch']}",
                        rival=(OLD_EPOCHS if captures else OLD_RIVALS).get(old, old),
                        unit="ms",
                        better="lower",
                        samples=[1e3 * sample for sample in seconds],
                    )
                )
        machine = data.get("machine", {})
        return Document(
            name=name,
            date=data["date"],
            machine={"name": machine["processor"]} if "processor" in machine else {},
            versions={key: machine[key] for key in ("python", "numpy") if key in machine},
            measurements=measurements,
            old=True,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DocumentError(f"{name}: has 'results' in a form that is not known ({error!r}).") from error
