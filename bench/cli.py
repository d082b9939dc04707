"""navigator-bench: run the systems side by side, compare two runs, measure encoders."""

import sys

from bench.compare import compare
from bench.encoder.command import encoder
from bench.run import run
from navigator.cli_tools import run_commands


def main(argv: list[str] | None = None) -> int:
    """Console script; returns the exit code."""
    return run_commands("navigator-bench", {"run": run, "compare": compare, "encoder": encoder}, argv)


if __name__ == "__main__":
    sys.exit(main())
