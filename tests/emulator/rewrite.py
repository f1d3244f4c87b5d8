"""Turns preprocessed CUDA text into C++: finds the kernels, and rewrites what no macro can express.

It works on the output of the preprocessor, so that macros and #if have been resolved, and keeps every line where it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import EmulatorError

# The compiler may give each thread of a kernel without __launch_bounds__ 255 registers, and a multiprocessor has 65536.
UNBOUNDED_THREADS = 256

_ENTRY = re.compile(r'\bextern\s+"C"\s+([\w\s]*\b__global__\b)')
_ALIGNMENT = re.compile(r"(?:\b__align__|\balignas)\s*\(([^()]*)\)")
_SHARED = re.compile(
    r"(?:\bextern\s+|\bstatic\s+)*(?:(?:__align__|alignas)\s*\([^()]*\)\s*)?\b__shared__\b[^;]*;", re.S
)
_TYPE = re.compile(
    r"((?:(?:volatile|unsigned|signed|long|short|struct)\s+)*[A-Za-z_][\w:]*(?:\s*<[^;]*>)?)\s+(\w+\s*(?:\[|$|,).*)",
    re.S,
)
_DECLARATOR = re.compile(r"\s*(\w+)\s*((?:\[[^\]]*\]\s*)*)$", re.S)


@dataclass(frozen=True)
class Entry:
    """One kernel: its name, and the C expression of the most threads per block it is compiled for."""

    name: str
    most_threads: str


def _closing(text: str, start: int) -> int:
    """Position after the parenthesis that closes the one at ``start``."""
    depth = 0
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return position + 1
    raise EmulatorError(f"parenthesis never closed: {text[start : start + 60]!r}")


def find_entries(text: str) -> list[Entry]:
    """The kernels declared ``extern "C" __global__ void [__launch_bounds__(...)] name(parameters)``."""
    entries = []
    for found in _ENTRY.finditer(text):
        position, bounds = found.end(), str(UNBOUNDED_THREADS)
        while True:
            word = re.compile(r"\s*(\w+)\s*(\(?)").match(text, position)
            if word is None:
                raise EmulatorError(f"cannot find the kernel's name in {text[found.start() : position + 60]!r}")
            if word[1] == "__launch_bounds__" and word[2]:
                position = _closing(text, word.end() - 1)
                bounds = _first_argument(text[word.end() : position - 1])
            elif word[2]:
                entries.append(Entry(word[1], bounds))
                break
            else:
                position = word.end()  # void
    return entries


def _first_argument(arguments: str) -> str:
    depth = 0
    for position, character in enumerate(arguments):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            return arguments[:position].strip()
    return arguments.strip()


def _split_declarators(text: str) -> list[str]:
    return re.split(r",(?![^\[]*\])", text)


def _rewrite_shared(found: re.Match[str]) -> str:
    """``extern __shared__ __align__(16) float a[];`` -> ``EMU_DYNAMIC_SHARED(float, a);``, and static ones likewise."""
    declaration = found[0]
    dynamic = re.search(r"\bextern\b", declaration) is not None
    alignment = _ALIGNMENT.search(declaration)
    plain = re.sub(r"\b(?:extern|static|__shared__)\b", " ", _ALIGNMENT.sub(" ", declaration)).rstrip(";").strip()
    parts = _TYPE.fullmatch(plain)
    if parts is None or "=" in plain:
        raise EmulatorError(
            f"cannot read the shared declaration {' '.join(declaration.split())!r}: write "
            "'__shared__ [__align__(n)] type name[sizes];' with a named type and no initialiser"
        )
    macros = []
    for declarator in _split_declarators(parts[2]):
        named = _DECLARATOR.fullmatch(declarator)
        if named is None:
            raise EmulatorError(
                f"cannot read the shared variable {declarator.strip()!r}: write 'name' or 'name[sizes]'"
            )
        kind, name, sizes = f"{parts[1]}", named[1], " ".join(named[2].split())
        if dynamic:
            macros.append(f"EMU_DYNAMIC_SHARED(EMU_TYPE({kind}), {name});")
        else:
            bytes_ = alignment[1] if alignment else "1"
            macros.append(f"EMU_SHARED(EMU_TYPE({kind}), ({bytes_}), {name}, {sizes});")
    return " ".join(macros) + "\n" * declaration.count("\n")


def rewrite(text: str, entries: list[Entry]) -> str:
    """The C++ text: shared variables as macros of qualifiers.h, and each kernel's exports at the end."""
    body = _SHARED.sub(_rewrite_shared, text)
    exports = "".join(f"EMU_ENTRY({entry.name}, ({entry.most_threads}))\n" for entry in entries)
    names = " ".join(entry.name for entry in entries)
    return f'{body}\n# 1 "entries"\n{exports}extern "C" const char* emu_names() {{ return "{names}"; }}\n'
