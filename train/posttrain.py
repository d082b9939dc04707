"""Stage 2, ``accelerate launch -m train.posttrain``: the model learns taste from who saved what with what.

A weighted mixture of taste-graph tasks trains tower, heads and, by LoRA, the language model. Queries start at the history's
mean vector with a correction that starts at zero, and the best validated weights are kept, the starting ones among them.
"""

import sys
from pathlib import Path
from typing import Any

from train.frame import main
from train.loop import LoopConfig
from train.objective import ObjectiveConfig
from train.stage import run_stage

MIXTURE = {
    "next-item": 0.6, "board-completion": 0.6, "board-title": 0.2, "ranking": 0.2, "text-query": 0.1, "describe": 0.1,
}  # fmt: skip


def posttrain(
    model: Path, vectors: Path, catalog: Path, graph: Path, out: Path, native: bool = False, language: str = "lora",
    lora_rank: int = 16, checkpointing: bool = False, valid_queries: int = 0, push_to_hub: str = "",
    encoder: str = "", language_check: bool = False, objective: ObjectiveConfig = ObjectiveConfig(MIXTURE),  # noqa: B008 - frozen
    loop: LoopConfig = LoopConfig(),  # noqa: B008 - frozen
) -> dict[str, Any]:  # fmt: skip
    """Post-train a swapped model on the taste graph's signals.

    Args:
        model: an aligned (or freshly swapped) model folder.
        vectors: the item vectors it was swapped for.
        catalog: the catalogue.
        graph: the taste graph of that catalogue (navigator graph build).
        out: where the trained model goes, an ordinary Hugging Face folder.
        native: the model has a runtime picture tower (the comparison).
        language: what learns of the language model: frozen, lora, qlora (LoRA over 4-bit weights; CUDA, bitsandbytes) or full.
        lora_rank: rank of the LoRA matrices.
        checkpointing: recompute activations in the backward pass: less memory, about a third more time, the same results.
        valid_queries: validate on a seeded choice of that many queries, 0 is all.
        push_to_hub: ORG/NAME of a hub repository that gets the folder too, made private if it is new; empty is nowhere.
        encoder: the encoder of the vectors' content: queries then start from titles and words too. Without it the tasks that
            ask by words (board-title, text-query) are left out.
        language_check: validations also log the perplexity of held-out descriptions and of plain text.
        objective: the task mixture and what each task shows; --objective.tasks, --objective.temperature and so on.
        loop: steps, batch size, learning rates and the rest.
    """
    return run_stage(
        "posttrain", model, vectors, catalog, graph, out, native, objective, language, lora_rank, valid_queries, loop,
        checkpointing, push_to_hub, encoder, language_check,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main("train.posttrain", posttrain))
