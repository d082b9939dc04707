"""The frame of every training command: nothing to do where the output is current; one process publishes, answers, pushes."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from navigator.cli_tools import run_function
from navigator.contracts import is_current, publish, read_manifest
from navigator.contracts.manifest import Work
from train.hub import check_hub, push


def answer(
    out: Path, kind: str, config: dict[str, Any], inputs: dict[str, str], train: Callable[[], dict[str, Any]],
    push_to_hub: str = "",
) -> dict[str, Any]:  # fmt: skip
    """What the command answers: `train`'s metrics, or those of an `out` that is current and is not trained again.

    Args:
        push_to_hub: repository that gets `out` from the first process, current or not; empty is none.

    Raises:
        UserError: the repository would refuse, which is found out before any training.
    """
    if push_to_hub:
        check_hub(push_to_hub)
    unchanged = is_current(out, kind, config, inputs)
    metrics = read_manifest(out, kind, "").metrics if unchanged else train()
    found = {"out": str(out), "unchanged": unchanged, **metrics}
    if push_to_hub and is_first():
        found["pushed"] = push(out, push_to_hub)
    return found


@contextmanager
def published(
    accelerator: Accelerator, out: Path, kind: str, config: dict[str, Any], inputs: dict[str, str], seed: int
) -> Iterator[Work]:
    """Publish `out` from the first process; the others work beside it, in the same folder and from when it is there."""
    beside = nullcontext(Work(out.with_name(out.name + ".work"), True))
    with publish(out, kind, config, inputs, seed) if accelerator.is_main_process else beside as work:
        accelerator.wait_for_everyone()
        yield work


def main(prog: str, function: Callable[..., dict[str, Any]], argv: list[str] | None = None) -> int:
    """Run a training command; of several processes only the first one answers on stdout."""
    if not is_first():
        sys.stdout = sys.stderr
    return run_function(prog, function, sys.argv[1:] if argv is None else argv)


def is_first() -> bool:
    """Whether this is the first process of the launch, or the only one."""
    return os.environ.get("RANK", "0") == "0"
