"""``accelerate launch -m train.clip``: a general encoder becomes the catalogue's own (PinCLIP, arXiv 2603.03544).

Picture-text and neighbour alignment with pairwise sigmoid losses, Matryoshka prefixes, hard negatives from walks, and a
learned fusion of picture and words. It starts exactly at the untuned encoder and keeps the best validated step, the start
among them.
"""

import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from navigator.contracts import Catalog, UserError, read_manifest
from train.clip.config import RATES, ClipConfig, TowerConfig, learning_rates
from train.frame import answer, main, published
from train.loop import LoopConfig

KIND = "encoder"


def clip(
    catalog: Path, out: Path, encoder: str = "embedded", graph: Path | None = None, holdout: float = 0.1,
    valid: float = 0.05, cache: Path | None = None,
    towers: TowerConfig = TowerConfig(),  # noqa: B008 - frozen
    objective: ClipConfig = ClipConfig(),  # noqa: B008 - frozen
    loop: LoopConfig = LoopConfig(steps=200, batch_size=512, warmup=20, eval_every=25, patience=4, learning_rates=RATES),  # noqa: B008 - frozen
) -> dict[str, Any]:  # fmt: skip
    """Tune an encoder on a catalogue and its taste graph.

    Args:
        catalog: the catalogue.
        out: folder of the tuned encoder: an open_clip checkpoint with its fusion part and a card.
        encoder: what to start from: "embedded", an open_clip folder, "hf-hub:ORG/NAME", MODEL or MODEL:PRETRAINED.
        graph: the taste graph of that catalogue (navigator graph build); without it only picture and text are aligned.
        holdout: share of the items, by a hash of their ids, that is never trained on; measure on them, then tune with 0.
        valid: share of the other items that chooses the best step where there is no graph.
        cache: folder for what is computed once (features of locked towers, decoded pictures); kept for the next run.
            Default: beside the output, removed at the end.
        towers: which layers learn and how pictures come in; --towers.picture_layers and so on.
        objective: losses and what they see; --objective.neighbours and so on.
        loop: steps, batch size, learning rates and the rest; --loop.steps and so on.
    """
    from encoders.load import folder_fingerprint, local_folder
    from navigator.encode_commands import resolve_encoder

    name = resolve_encoder(encoder)
    loop = replace(loop, learning_rates=learning_rates(loop.learning_rates))
    opened, folder = Catalog.open(catalog), local_folder(name)
    inputs = {"catalog": opened.fingerprint, "encoder": folder_fingerprint(folder) if folder else name}
    if graph is not None:
        inputs["graph"] = read_manifest(graph, "graph", f"navigator graph build {catalog} --out {graph}").fingerprint
    config = {
        "stage": "clip", "encoder_name": encoder, "holdout": holdout, "valid": valid, "towers": asdict(towers),
        "objective": asdict(objective), "loop": asdict(loop),
    }  # fmt: skip

    def train() -> dict[str, Any]:
        _check(towers, objective, loop, graph)
        from train.clip.run import Tuning  # torch and open_clip, only now
        from train.loop import make_accelerator

        accelerator = make_accelerator(loop)
        many = accelerator.num_processes
        if loop.batch_size % many:
            raise UserError(f"batch_size {loop.batch_size} must be a multiple of the {many} processes")
        with published(accelerator, out, KIND, config, inputs, loop.seed) as work:
            tuning = Tuning(accelerator, opened, graph, name, holdout, valid, cache, towers, objective, loop, work.path)
            work.metrics |= tuning.train()
            if accelerator.is_main_process:
                if work.metrics.get("best_step") == 0:
                    said = "note: no step was better than the start, which is kept: the encoder is not tuned"
                    print(said, file=sys.stderr)
                tuning.export(encoder, config, work.metrics)
        return work.metrics

    return answer(out, KIND, config, inputs, train)


def _check(towers: TowerConfig, objective: ClipConfig, loop: LoopConfig, graph: Path | None) -> None:
    if loop.batch_size < 1 or loop.steps < 0:
        raise UserError(f"loop.batch_size {loop.batch_size}, loop.steps {loop.steps}: allowed are 1 or more, 0 or more")
    if loop.accumulate != 1:
        raise UserError(
            f"loop.accumulate {loop.accumulate}: every anchor meets the whole batch here, so it cannot be split; lower "
            f"--loop.batch_size or use more processes"
        )
    if min(objective.picture_text, objective.neighbours) < 0 or not objective.picture_text + objective.neighbours:
        raise UserError("objective.picture_text and objective.neighbours: allowed are weights >= 0, not both 0")
    if graph is None and not objective.picture_text:
        raise UserError(
            "objective.neighbours needs a taste graph; give --graph, or a weight for --objective.picture_text"
        )
    if not (0 < towers.min_area <= 1 and 0 <= towers.flip <= 1):
        raise UserError(f"towers.min_area {towers.min_area}, towers.flip {towers.flip}: allowed are shares up to 1")
    shares = {name: getattr(objective, name) for name in ("drop_part", "drop_titles")}
    wrong = next((f"{name} {value}" for name, value in shares.items() if not 0 <= value <= 1), None)
    below = next((n for n in ("stay", "graded", "hard_negatives", "visit_power") if getattr(objective, n) < 0), None)
    if wrong or below:
        given = wrong or f"{below} {getattr(objective, below or '')}"
        raise UserError(
            f"objective.{given}: allowed are shares from 0 to 1 for what is dropped, and 0 or more for the rest"
        )
    if towers.workers < 0 or towers.image_size < 0:
        raise UserError(
            f"towers.workers {towers.workers}, towers.image_size {towers.image_size}: allowed are 0 or more"
        )


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main("train.clip", clip))
