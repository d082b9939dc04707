"""navigator-bench: systems side by side, what they cost and bear, and whether a new one may take over."""

import sys

from bench.appends import appends
from bench.assistant.command import assistant
from bench.candidates import candidates
from bench.compare import compare
from bench.cutover.command import cutover
from bench.economics.command import cost
from bench.encoder.command import encoder
from bench.frontier.command import frontier
from bench.gold.command import check, make
from bench.gold.command import run as run_gold
from bench.graph.commands import rank, sampler, scale
from bench.language.command import language
from bench.load.command import load
from bench.overhead import overhead
from bench.page.command import page
from bench.product.command import product
from bench.run import run
from bench.serving.command import serving
from bench.serving.fuzz import fuzz
from bench.shadow.command import shadow
from bench.speed.command import latency
from bench.taste.command import taste
from navigator.cli_tools import Tree, run_commands

COMMANDS: Tree = {
    "run": run,
    "assistant": assistant,
    "compare": compare,
    "appends": appends,
    "candidates": candidates,
    "cost": cost,
    "cutover": cutover,
    "encoder": encoder,
    "frontier": frontier,
    "fuzz": fuzz,
    "gold": {"make": make, "check": check, "run": run_gold},
    "graph": {"rank": rank, "scale": scale, "sampler": sampler},
    "language": language,
    "latency": latency,
    "load": load,
    "overhead": overhead,
    "page": page,
    "product": product,
    "serving": serving,
    "shadow": shadow,
    "taste": taste,
}


def main(argv: list[str] | None = None) -> int:
    """Console script; returns the exit code."""
    return run_commands("navigator-bench", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
