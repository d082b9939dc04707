"""Stage 3, ``accelerate launch -m train.prefer``: the model learns which of two items a user would rather have.

Direct preference optimisation (Rafailov et al. 2023, by TRL's loss) on what users saved over what they were shown, and on
graded items. It moves the model away from where it started only as far as the pairs demand, and keeps the best validated
weights, the starting ones among them:

    accelerate launch -m train.prefer --model runs/posttrain --vectors runs/vectors --catalog runs/catalog \\
        --graph runs/graph --out runs/preferred
"""

import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from navigator.contracts import UserError
from navigator.contracts.manifest import file_digest
from train.frame import answer, main
from train.loop import LoopConfig
from train.parts import learning_rates
from train.prefer.config import NEGATIVES, PreferConfig
from train.stage import fingerprints

RATES = {"tower": 1e-4, "heads": 1e-4, "start": 1e-3, "language": 5e-5}


def prefer(
    model: Path, vectors: Path, catalog: Path, graph: Path, out: Path, grades: Path | None = None,
    negatives: str = "auto", min_margin: float = 1.0, pairs_per_query: int = 8, max_pairs: int = 200_000,
    grades_valid: float = 0.2, strict: bool = False, encoder: str = "", language: str = "lora", lora_rank: int = 16,
    checkpointing: bool = False, valid_queries: int = 0, push_to_hub: str = "", objective: PreferConfig = PreferConfig(),  # noqa: B008 - frozen
    loop: LoopConfig = LoopConfig(learning_rates=RATES, eval_every=25),  # noqa: B008 - frozen
) -> dict[str, Any]:  # fmt: skip
    """Train a model on pairs of a preferred and a rejected item (needs TRL: pip install 'navigator[prefer]').

    Args:
        model: a post-trained (or any swapped) model folder; what it thinks now is the reference.
        vectors: the item vectors it was swapped for.
        catalog: the catalogue.
        graph: the taste graph of that catalogue; its validation queries choose the best step.
        out: where the trained model goes, an ordinary Hugging Face folder.
        grades: Parquet or CSV file of graded items: board_title, history (ids, joined by | in a CSV), item, grade (1 to 5).
        negatives: what saved items of the graph are preferred to: shown (impressions that were not saved), hard (hard
            negatives, a guess and no user's choice), none (the grades alone); auto is none with grades, else shown.
        min_margin: smallest difference of two grades that makes a pair; a pair is drawn in proportion to its margin.
        pairs_per_query: pairs of a graded request, or of a saved item, at most.
        max_pairs: about how many pairs of the graph at most, a seeded choice of saves; 0 is all.
        grades_valid: share of the graded requests that is held out and only measured.
        strict: stop at the first bad row of the grades instead of counting and naming it.
        encoder: the encoder that made the vectors' content; with it, requests also start from their titles (else a title is
            only read, and a request of a title alone starts from nothing).
        language: what learns of the language model: frozen, lora, qlora (LoRA over 4-bit weights; CUDA, bitsandbytes) or full.
        lora_rank: rank of the LoRA matrices.
        checkpointing: recompute activations in the backward pass: less memory, more time, the same results.
        valid_queries: validate on a seeded choice of that many queries, 0 is all.
        push_to_hub: ORG/NAME of a hub repository that gets the folder too, made private if it is new; empty is nowhere.
        objective: loss, beta, temperature, which score; --objective.beta and so on.
        loop: steps, pairs a step (batch_size), learning rates and the rest.
    """
    objective.check()
    negatives = _source(negatives, grades, min_margin, pairs_per_query)
    loop = replace(loop, learning_rates=learning_rates(RATES | loop.learning_rates))
    folders = {"model": model, "vectors": vectors, "catalog": catalog, "graph": graph}
    inputs = fingerprints(folders)
    if grades is not None:
        if not grades.is_file():
            raise UserError(f"grades file {grades} does not exist; give a Parquet, CSV or TSV file")
        inputs["grades"] = file_digest(grades)
    config = {
        "stage": "prefer", "negatives": negatives, "min_margin": min_margin, "pairs_per_query": pairs_per_query,
        "max_pairs": max_pairs, "grades_valid": grades_valid, "encoder": encoder, "language": language,
        "lora_rank": lora_rank, "checkpointing": checkpointing, "valid_queries": valid_queries,
        "objective": asdict(objective), "loop": asdict(loop),
    }  # fmt: skip

    def train() -> dict[str, Any]:
        from train.prefer.run import Run, train_and_publish

        return train_and_publish(Run.open(folders, grades, strict, config, objective, loop), out, inputs)

    return answer(out, "model", config, inputs, train, push_to_hub)


def _source(negatives: str, grades: Path | None, min_margin: float, pairs_per_query: int) -> str:
    """What "auto" means here; raises UserError for options that allow no pairs, or out of range."""
    if negatives not in NEGATIVES:
        raise UserError(f"negatives {negatives!r}; allowed are {', '.join(NEGATIVES)}")
    if negatives == "auto":
        negatives = "shown" if grades is None else "none"
    if negatives == "none" and grades is None:
        raise UserError(
            "negatives none leaves no pairs without --grades; give a grades file, or shown or hard negatives"
        )
    if min_margin <= 0 or pairs_per_query < 1:
        raise UserError(
            f"min_margin {min_margin:g}, pairs_per_query {pairs_per_query}: allowed are above 0, and 1 or more"
        )
    return negatives


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main("train.prefer", prefer))
