"""Stage 1, ``accelerate launch -m train.align``: the language model is frozen, the tower learns to describe items.

After LLaVA's first stage: only what connects eyes to language learns, so that an item's tokens mean something before the
language model itself is touched.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from train.frame import main
from train.loop import LoopConfig
from train.objective import ObjectiveConfig
from train.stage import run_stage


def align(
    model: Path, vectors: Path, catalog: Path, out: Path, native: bool = False, checkpointing: bool = False,
    push_to_hub: str = "",
    loop: LoopConfig = LoopConfig(steps=120, batch_size=32, eval_every=0),  # noqa: B008 - frozen
) -> dict[str, Any]:  # fmt: skip
    """Teach a swapped model's tower to describe the catalogue's items; the language model stays frozen.

    Args:
        model: a swapped model folder (navigator swap).
        vectors: the item vectors it was swapped for.
        catalog: the catalogue whose texts are the answers.
        out: where the aligned model goes.
        native: the model has a runtime picture tower (the comparison).
        checkpointing: recompute activations in the backward pass: less memory, about a third more time, the same results.
        push_to_hub: ORG/NAME of a hub repository that gets the folder too, made private if it is new; empty is nowhere.
        loop: steps, batch size, learning rates and the rest; --loop.steps 50, or in the config file.
    """
    loop = replace(loop, eval_every=0)
    return run_stage(
        "align", model, vectors, catalog, None, out, native, ObjectiveConfig({"describe": 1.0}), "frozen", 0, 0, loop,
        checkpointing, push_to_hub,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main("train.align", align))
