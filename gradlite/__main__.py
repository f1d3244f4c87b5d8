"""The command line: ``python -m gradlite doctor``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import gradlite
from gradlite.doctor import doctor


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; what the process should exit with."""
    parser = argparse.ArgumentParser(prog="python -m gradlite", description="Tools that come with gradlite.")
    parser.add_argument("--version", action="version", version=f"gradlite {gradlite.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    commands.add_parser("doctor", help="say what is installed here, whether it works, and what is missing")
    parser.parse_args(arguments)
    return 0 if doctor() else 1


if __name__ == "__main__":
    sys.exit(main())
