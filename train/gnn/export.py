"""Trained vectors as ordinary stores: OUT/items, OUT/boards, OUT/users, each an ItemVectors folder."""

from pathlib import Path
from typing import Any

import numpy as np

from navigator.contracts import publish
from navigator.contracts.manifest import digest
from navigator.contracts.signals import TASKS, TasteSequence
from navigator.contracts.vectors import normalise, write_vectors
from train.gnn.valid import owner_vectors
from train.gnn.world import NODE_OF, GnnWorld


def export(
    model: Any, world: GnnWorld, sequences: list[TasteSequence], item_ids: list[str], out: Path,
    config: dict[str, Any], inputs: dict[str, str], content_encoder: str | None, seed: int,
) -> dict[str, int]:  # fmt: skip
    """Write the stores into a work folder; returns how many vectors each has.

    Owners are encoded from their training and validation saves, as whoever serves a request would. Where content was
    given, every vector is [content, graph part] of unit length, and `content_dim` says where the graph part begins.
    """
    model.eval()
    gallery = model.everything(-1)
    beside = world.content is not None and config["objective"]["encoder"] == "lightgcn"  # ids alone, laid beside it
    recipe = {
        "encoder": digest([config, inputs]), "normalised": True, "trained_on": inputs["graph"], "stage": "gnn",
    }  # fmt: skip
    if world.content is not None:
        recipe |= {"content_encoder": content_encoder, "content_dim": world.content.shape[1]}
    counts = {}

    def store(name: str, ids: list[str], graph_part: np.ndarray, content: np.ndarray | None) -> None:
        weight = config["objective"]["graph_weight"]
        vectors = graph_part if content is None else normalise(np.concatenate([content, weight * graph_part], axis=1))
        with publish(out / name, "vectors", {**recipe, "of": name}, inputs, seed) as work:
            write_vectors(work.path, ids, vectors.astype(np.float16))
            work.metrics = {"vectors": len(ids), "dim": vectors.shape[1]}
        counts[name] = len(ids)

    store("items", item_ids, gallery.float().cpu().numpy(), world.content if beside else None)
    for task in TASKS:
        chosen = [s for s in sequences if s.task == task and s.items + s.valid]
        histories = [np.array((s.items + s.valid)[-config["objective"]["window"] :]) for s in chosen]
        if not histories:
            continue
        content = _means(world.content, histories) if beside and world.content is not None else None
        vectors = owner_vectors(model, gallery, histories).float().cpu().numpy()
        store(f"{NODE_OF[task]}s", [s.owner for s in chosen], vectors, content)
    return counts


def _means(content: np.ndarray, histories: list[np.ndarray]) -> np.ndarray:
    return normalise(np.stack([content[history].mean(0) for history in histories]))
