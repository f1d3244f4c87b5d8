"""``python -m benchmarks gpu --out DIR``: everything that a GPU is to show, in one command."""

from __future__ import annotations

import argparse

from benchmarks import gpu


def main() -> None:
    """Parse the arguments and run a command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    gpu.add_arguments(commands.add_parser("gpu", help="run the GPU tests, then measure kernels and training steps"))
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
