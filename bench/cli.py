"""navigator-bench: run the systems side by side, compare two runs, measure encoders, the taste graph and the language."""

import sys

from bench.candidates import candidates
from bench.compare import compare
from bench.encoder.command import encoder
from bench.graph.commands import rank, sampler, scale
from bench.language.command import language
from bench.overhead import overhead
from bench.page.command import page
from bench.run import run
from bench.taste.command import taste
from navigator.cli_tools import Tree, run_commands

COMMANDS: Tree = {
    "run": run,
    "compare": compare,
    "candidates": candidates,
    "encoder": encoder,
    "graph": {"rank": rank, "scale": scale, "sampler": sampler},
    "language": language,
    "overhead": overhead,
    "page": page,
    "taste": taste,
}


def main(argv: list[str] | None = None) -> int:
    """Console script; returns the exit code."""
    return run_commands("navigator-bench", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
