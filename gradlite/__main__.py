"""The command line: ``python -m gradlite doctor`` and ``warmup``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import gradlite
from gradlite.backends.cpu import native
from gradlite.doctor import doctor


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; what the process should exit with."""
    parser = argparse.ArgumentParser(prog="python -m gradlite", description="Tools that come with gradlite.")
    parser.add_argument("--version", action="version", version=f"gradlite {gradlite.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    commands.add_parser("doctor", help="say what is installed here, whether it works, and what is missing")
    commands.add_parser("warmup", help="compile the CPU's native kernels now, so that no first step waits for them")
    chosen = parser.parse_args(arguments)
    return warm_up() if chosen.command == "warmup" else 0 if doctor() else 1


def warm_up(write: Callable[[str], Any] = print) -> int:
    """Compile what is not on disk yet; what the process should exit with."""
    if not native.is_available():
        write(f"There is nothing to compile. {native.why_not()}")
        return 1
    from gradlite.backends.cpu.native import compiler

    start = time.perf_counter()
    number = compiler.warm_up()
    write(f"{number} kernels are ready in {compiler.object_folder()} ({time.perf_counter() - start:.1f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
