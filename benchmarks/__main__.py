"""``python -m benchmarks [suite ...]``: how fast it is here, beside what else is installed; and what became of it.

python -m benchmarks --setting quick          all suites: models, kernels, overhead, scale
python -m benchmarks kernels --rivals gradlite-cpu,torch-eager
python -m benchmarks gpu --out DIR            everything that a GPU is to show, in one command
python -m benchmarks accuracy                 how far convolutions on the CPU are from float64
python -m benchmarks report                   committed results as HTML, and README's tables
python -m benchmarks compare A B              what moved beyond noise
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from benchmarks import accuracy, gpu, suite

COMMANDS = {"accuracy": accuracy, "gpu": gpu}


def main() -> None:
    """Parse the arguments and run a command."""
    for name in ("report", "compare"):
        if find_spec(f"benchmarks.{name}"):
            COMMANDS[name] = __import__(f"benchmarks.{name}", fromlist=[name])
    # Suites need no command's name before them.
    chosen = COMMANDS.get(sys.argv[1], suite) if len(sys.argv) > 1 else suite
    arguments = sys.argv[2:] if chosen is not suite else sys.argv[1:]
    title = {module: name for name, module in COMMANDS.items()}.get(chosen, "")
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {title}".strip(),
        description=__doc__ if chosen is suite else chosen.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chosen.add_arguments(parser)
    parsed = parser.parse_args(arguments)
    parsed.run(parsed)


if __name__ == "__main__":
    main()
