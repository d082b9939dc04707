"""``accelerate launch -m train.gnn``: the taste graph becomes vectors of items, boards and users.

With content vectors an OmniSage-like transformer over sampled neighbours, which also serves items that nobody has saved;
for graphs of ids alone LightGCN. Sampled softmax with the logQ correction over in-batch, uniform and hard negatives. What
comes out are vector stores like any other.
"""

import os
import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from navigator.contracts import Catalog, ItemVectors, UserError, read_manifest
from train.frame import answer, is_first, main, published
from train.gnn.config import RATES, GnnConfig
from train.loop import LoopConfig

KIND = "taste-encoder"


def gnn(
    catalog: Path, graph: Path, out: Path, vectors: Path | None = None, valid_queries: int = 0,
    purpose: str = "train",
    objective: GnnConfig = GnnConfig(),  # noqa: B008 - frozen
    loop: LoopConfig = LoopConfig(steps=1000, batch_size=1024, warmup=20, eval_every=100, save_every=100, learning_rates=RATES),  # noqa: B008 - frozen
) -> dict[str, Any]:  # fmt: skip
    """Train a graph encoder and write the vectors of items, boards and users.

    Args:
        catalog: the catalogue.
        graph: the taste graph of that catalogue (navigator graph build).
        out: folder with items/, boards/ and users/, each a vector store.
        vectors: content vectors of the catalogue (navigator embed); needed by omnisage, laid beside lightgcn's.
        valid_queries: validate on a seeded choice of that many held-out saves, 0 is all.
        purpose: purpose of the graph's policy that this is done for.
        objective: encoder, negatives, neighbourhoods; --objective.encoder and so on.
        loop: steps, owners a step (batch_size), learning rates and the rest; --loop.steps and so on.
    """
    opened = Catalog.open(catalog)
    inputs = {"catalog": opened.fingerprint}
    inputs["graph"] = read_manifest(graph, "graph", f"navigator graph build {catalog} --out {graph}").fingerprint
    if vectors is not None:
        inputs["vectors"] = read_manifest(vectors, "vectors", f"navigator embed {catalog} --out {vectors}").fingerprint
    objective, loop = _settled(objective, loop, vectors)
    config = {"stage": "gnn", "valid_queries": valid_queries, "objective": asdict(objective), "loop": asdict(loop)}
    from graph.audit import audited
    from graph.store import TasteGraph

    parameters = {"encoder": objective.encoder}
    with audited(out, "train.gnn", purpose, parameters, also=graph) if is_first() else nullcontext() as entry:
        taste_graph = TasteGraph.open(graph, opened, purpose=purpose)
        taste_graph.purpose.check_single_owners("vectors of single users")
        if entry is not None:
            entry.artefacts |= inputs
        found = answer(
            out, KIND, config, inputs, lambda: _train(taste_graph, vectors, out, config, inputs, objective, loop)
        )
        if entry is not None:
            entry.artefacts[KIND] = read_manifest(out, KIND, "").fingerprint
    return found


def _train(
    taste_graph: Any, vectors: Path | None, out: Path, config: dict[str, Any], inputs: dict[str, str],
    objective: GnnConfig, loop: LoopConfig,
) -> dict[str, Any]:  # fmt: skip
    from train.gnn.run import Training
    from train.loop import make_accelerator

    accelerator = make_accelerator(loop)
    content = None if vectors is None else ItemVectors.open(vectors)
    with published(accelerator, out, KIND, config, inputs, loop.seed) as work:
        training = Training(accelerator, taste_graph, content, objective, loop, config["valid_queries"], work.path)
        work.metrics |= training.train()
        if accelerator.is_main_process:
            work.metrics |= training.export(config, inputs)
            if work.metrics.get("best_step") == 0:
                print(
                    "note: no step was better than the start, which is kept: the vectors are not trained",
                    file=sys.stderr,
                )
    return work.metrics


def _settled(objective: GnnConfig, loop: LoopConfig, vectors: Path | None) -> tuple[GnnConfig, LoopConfig]:
    """What "auto" means here, and learning rates by part.

    Raises:
        UserError: omnisage without vectors, or a value out of range.
    """
    encoder = objective.encoder
    if encoder == "auto":
        encoder = "lightgcn" if vectors is None else "omnisage"
    if encoder == "omnisage" and vectors is None:
        raise UserError("objective.encoder omnisage reads content; give --vectors (navigator embed), or use lightgcn")
    if encoder == "lightgcn":
        objective = replace(objective, folds=1)
    elif objective.neighbours == "none":
        objective = replace(objective, folds=1)
    objective.check(loop.save_every)
    if loop.batch_size < 1 or loop.steps < 0:
        raise UserError(f"loop.batch_size {loop.batch_size}, loop.steps {loop.steps}: allowed are 1 or more, 0 or more")
    unknown = sorted(set(loop.learning_rates) - set(RATES))
    if unknown:
        raise UserError(f"loop.learning_rates has {unknown[0]!r}; the parts are {', '.join(RATES)}")
    return replace(objective, encoder=encoder), replace(loop, learning_rates={**RATES, **loop.learning_rates})


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main("train.gnn", gnn))
