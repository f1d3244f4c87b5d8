"""The table of registers, shared memory and code of every kernel, kernel_resources.csv: reading, and writing it anew.

    python tests/cuda/kernel_resources.py [FILE.cu ...]

compiles everything, or these files alone; it needs NVRTC (``pip install nvidia-cuda-nvrtc-cu12``) and no GPU.
"""

from __future__ import annotations

import csv
import multiprocessing
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import nvrtc

from gradlite.backends.cuda.sources import KERNELS, Variant, defined, variants

ARCHITECTURES = (70, 75, 80, 86, 89, 90)
TABLE = Path(__file__).with_name("kernel_resources.csv")
COLUMNS = ("variant", "entry", "architecture", "registers", "static shared bytes", "code bytes")

Row = tuple[str, str, int, int, int, int]


def label(variant: Variant) -> str:
    """A variant's file and macros in one line."""
    return " ".join([variant.file, *(f"{name}={value}" for name, value in variant.macros)])


def supported(variant: Variant, architecture: int) -> bool:
    """Whether the variant is meant for this architecture."""
    return architecture >= variant.architecture


def compiled(variant: Variant, architecture: int) -> dict[str, nvrtc.Resources]:
    """The resources of every entry of a variant."""
    return nvrtc.compile_source(defined(variant.file, variant.macros), architecture)


@cache
def read_table() -> dict[tuple[str, str, int], tuple[int, int, int]]:
    """(variant, entry, architecture) -> (registers, static shared bytes, code bytes)."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return {(row[0], row[1], int(row[2])): (int(row[3]), int(row[4]), int(row[5])) for row in rows}


def rows_of(variant: Variant) -> list[Row]:
    """The rows of one variant: of each entry on each architecture."""
    return [
        (label(variant), name, architecture, found.registers, found.shared_bytes, found.code_bytes)
        for architecture in ARCHITECTURES
        if supported(variant, architecture)
        for name, found in sorted(compiled(variant, architecture).items())
    ]


def write_table(files: Sequence[str] = ()) -> None:
    """Compile everything, or these files alone, on all processors, and write what it takes."""
    everything = [variant for path in sorted(KERNELS.glob("*.cu")) for variant in variants(path.name)]
    chosen = [variant for variant in everything if not files or variant.file in files]
    with multiprocessing.Pool() as pool:
        rows = [row for found in pool.imap(rows_of, chosen) for row in found]
    known = {label(variant) for variant in everything} - {label(variant) for variant in chosen}
    rows += [(*key, *value) for key, value in (read_table() if files else {}).items() if key[0] in known]
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(sorted(rows))
    print(f"{len(rows)} rows in {TABLE}")


if __name__ == "__main__":
    write_table(sys.argv[1:])
