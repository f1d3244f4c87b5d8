"""The emulator's one exception, and source lines for the code addresses in the runtime's messages."""

from __future__ import annotations

import re
import subprocess

# Files whose lines say nothing to the reader of a message: the emulator's headers and the wrappers of inline PTX.
_UNINFORMATIVE = re.compile(r"/emulator/include/|ptx\.cuh$|^\?\?")


class EmulatorError(RuntimeError):
    """A kernel that does not compile, a launch that a device would refuse, or a mistake found while a kernel ran."""


def _lines_of(library: str, offset: str) -> str:
    """ "(kernels.cu:12 < kernels.cu:40)": the line of a code address and those it was inlined into."""
    try:
        answer = subprocess.run(["addr2line", "-i", "-e", library, offset], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return f"(at {library}+{offset}; addr2line would tell the line)"
    lines = [line.split(" (")[0] for line in answer.stdout.splitlines() if line]
    telling = [line for line in lines if not _UNINFORMATIVE.search(line.rsplit(":", 1)[0])]
    if not telling:
        return "(at an unknown line)"
    return "(" + " < ".join(line.rsplit("/", 1)[-1] for line in telling) + ")"


def with_source_lines(message: str) -> str:
    """Replaces each "@@library+0xoffset@@" of the runtime's message by a source line, and drops folders."""
    message = re.sub(r"@@(.*?)\+(0x[0-9a-f]+)@@", lambda found: _lines_of(found[1], found[2]), message)
    return re.sub(r"/\S*/(?=[\w.-]+:\d)", "", message)
