"""The sources of our kernels: reading ``.cu`` files, and what their entries take.

A file is handed to the compiler as one text, with our own headers written out where they are included. So compilers
need no search path, and caches that are keyed by the text notice when a header changes.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

KERNELS = Path(__file__).parent / "kernels"

_INCLUDE = re.compile(r'^#include "([\w.]+)"$')
_ENTRY = re.compile(r'extern "C" __global__ void\s+(?:__launch_bounds__\s*\([^()]*\)\s*)?(\w+)\s*\(([^)]*)\)')
_VARIANT = re.compile(r"^// variant(?: sm_(\d+)\+)?:(.*)$", re.MULTILINE)
_CHOICES = re.compile(r"(\w+)=(?:\{([^}]*)\}|(\S+))")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """A kernel: a file, the name of an ``extern "C"`` function in it, and the macros that it is compiled with.

    Attributes:
        macros: (name, value) pairs, such as ``("T", "float")``; every combination is a module of its own.
    """

    file: str
    name: str
    macros: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """What the compiler gets: the macros, then the file with our headers written out."""
        return defined(self.file, self.macros)


def entry(file: str, name: str, **macros: object) -> Entry:
    """The kernel ``name`` of ``file``, compiled with these macros.

    >>> entry("elementwise.cu", "relu", T="float").macros
    (('T', 'float'),)
    """
    return Entry(file, name, tuple((key, str(value)) for key, value in macros.items()))


@cache
def source(file: str) -> str:
    """The text of a kernel file with our headers written out, each once, where it is first included."""
    seen: set[str] = set()

    def expand(name: str) -> str:
        seen.add(name)
        lines = [f'#line 1 "{name}"']
        for number, line in enumerate((KERNELS / name).read_text(encoding="utf-8").splitlines(), 1):
            included = _INCLUDE.match(line)
            if included is None:
                lines.append("" if line == "#pragma once" else line)
            elif included[1] not in seen:
                lines += [expand(included[1]), f'#line {number + 1} "{name}"']
            else:
                lines.append("")
        return "\n".join(lines)

    return expand(file)


def defined(file: str, macros: tuple[tuple[str, str], ...]) -> str:
    """The text of a kernel file with the macros defined in front of it.

    Not by the compiler's option ``-D``: NVRTC puts a header of its own before the text, and an option ``-DT=float``
    would rename the type parameters in there too. Our own headers call theirs ``Type``.
    """
    return "".join(f"#define {name} {value}\n" for name, value in macros) + source(file)


@dataclass(frozen=True)
class Parameter:
    """A parameter of an entry: the C type without ``const``, whether it is a pointer, and its name."""

    type: str
    pointer: bool
    writable: bool
    name: str


@cache
def parameters(kernel: Entry) -> tuple[Parameter, ...]:
    """The parameters of an entry, as its source declares them, with macros such as ``T`` replaced.

    Raises:
        KeyError: where the file has no such entry.
    """
    text = _COMMENT.sub("", source(kernel.file))
    for name, declared in _ENTRY.findall(text):
        if name == kernel.name:
            return tuple(_parameter(part, dict(kernel.macros)) for part in declared.split(",") if part.strip())
    raise KeyError(f"{kernel.file} has no entry {kernel.name!r}.")


def _parameter(text: str, macros: dict[str, str]) -> Parameter:
    words = text.replace("__restrict__", " ").replace("*", " * ").split()
    name = words.pop()
    pointer, constant = "*" in words, "const" in words
    kind = " ".join(macros.get(word, word) for word in words if word not in ("*", "const"))
    return Parameter(kind, pointer, pointer and not constant, name)


@dataclass(frozen=True)
class Variant:
    """A way in which a file is compiled: its macros, and the compute capability (80 for sm_80) from which on."""

    file: str
    macros: tuple[tuple[str, str], ...]
    architecture: int


def variants(file: str) -> list[Variant]:
    """The variants that a file lists in lines such as ``// variant sm_80+: T={float,double} TILE=64``.

    Braces hold alternatives; a line stands for all combinations. A file without such a line has one variant.
    """
    found = []
    for architecture, text in _VARIANT.findall((KERNELS / file).read_text(encoding="utf-8")):
        names = [name for name, _, _ in _CHOICES.findall(text)]
        choices = [(many.split(",") if many else [one]) for _, many, one in _CHOICES.findall(text)]
        for values in itertools.product(*choices):
            found.append(Variant(file, tuple(zip(names, values)), int(architecture or 0)))
    return found or [Variant(file, (), 0)]
