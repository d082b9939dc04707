"""Item vectors as training sees them: by fold without the asker's own saves, and with what is learned of warm items."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from graph.crossfit import crossfitted_factors
from graph.factors import fuse
from navigator.contracts import ItemVectors, publish
from navigator.contracts.manifest import digest
from navigator.contracts.signals import TasteSequence
from navigator.contracts.vectors import normalise, write_vectors
from train.world import World

if TYPE_CHECKING:
    from train.objective import ObjectiveConfig

SERVED = -1


class Items(nn.Module):
    """The catalogue's vectors on the model's device.

    Args:
        served: (n, D) unit vectors that are served.
        folds: vectors of the same shape, one set a fold (graph.crossfit); none where owners see the served ones.
        warm: (n,) bool, items with training saves. Given, each of them has a residual that learns and starts at zero; an
            item that nobody has saved keeps its vector, which is all that a newcomer will ever have.
        device: where they are kept.
    """

    def __init__(
        self, served: np.ndarray, folds: Sequence[np.ndarray] = (), warm: np.ndarray | None = None,
        device: torch.device | str = "cpu",
    ):  # fmt: skip
        super().__init__()
        self.sets = [
            torch.from_numpy(np.require(part, requirements=["C", "W"])).to(device) for part in (*folds, served)
        ]  # served last
        self.warm = None if warm is None else torch.from_numpy(warm).to(device)
        self.residual = None if warm is None else nn.Parameter(torch.zeros_like(self.sets[-1]))

    @property
    def folds(self) -> int:
        """How many folds there are, 0 for none."""
        return len(self.sets) - 1

    def all(self, fold: int = SERVED) -> torch.Tensor:
        """(n, D) unit vectors as owners of a fold are trained on, or as they are served."""
        return self._at(slice(None), fold)

    def rows(self, rows: np.ndarray, fold: int = SERVED) -> torch.Tensor:
        """(len(rows), D) of them."""
        chosen = torch.from_numpy(np.asarray(rows, np.int64)).to(self.sets[-1].device)
        return self._at(chosen, fold)

    def _at(self, chosen: torch.Tensor | slice, fold: int) -> torch.Tensor:
        vectors = self.sets[fold][chosen]
        if self.residual is None or self.warm is None:
            return vectors
        learned = F.normalize(vectors + self.residual[chosen], dim=-1)
        return torch.where(self.warm[chosen, None], learned, vectors)


def fold_vectors(store: ItemVectors, sequences: Sequence[TasteSequence], folds: int) -> list[np.ndarray]:
    """A refined store's vectors once for each fold; none where the store has no graph factors of its own making.

    Args:
        store: item vectors in catalogue order.
        sequences: boards and users with their training saves.
        folds: how many; fewer than 2 are none.
    """
    recipe = store.manifest.config if store.manifest else {}
    if folds < 2 or store.content_dim == store.dim or "graph_weight" not in recipe:
        return []
    vectors = store.float32()
    content, factors = normalise(vectors[:, : store.content_dim]), normalise(vectors[:, store.content_dim :])
    return [fuse(content, own, recipe["graph_weight"]) for own in crossfitted_factors(sequences, factors, folds)]


def make_items(world: World, config: "ObjectiveConfig", learns_taste: bool) -> Items:
    """The vectors that a run trains on; folds and residuals only where tasks ask for items."""
    folds = fold_vectors(world.recommender.vectors, world.sequences, config.folds) if learns_taste else []
    warm = world.warm if config.residual and learns_taste else None
    return Items(world.matrix, folds, warm, world.recommender.device)


def own_vectors(folder: Path, world: World, items: Items, inputs: dict[str, str]) -> None:
    """Publish the items' learned vectors as the store FOLDER/vectors, and make the model theirs."""
    recommender = world.recommender
    given = recommender.vectors.manifest
    matrix = items.all().detach().cpu().numpy()
    encoder = digest([recommender.vectors.encoder, hashlib.sha256(matrix.tobytes()).hexdigest()])
    kept = {
        "content_encoder": recommender.vectors.encoder, "content_dim": recommender.vectors.dim,
        **({} if given is None else {k: v for k, v in given.config.items() if k in ("content_encoder", "content_dim")}),
    }  # fmt: skip
    with publish(folder / "vectors", "vectors", {"encoder": encoder, "normalised": True, **kept}, inputs) as work:
        write_vectors(work.path, recommender.vectors.ids, matrix.astype(np.float16))
        work.metrics = {
            "items": len(matrix),
            "dim": matrix.shape[1],
            "items_without_residual": int((~world.warm).sum()),
        }
    recommender.processor.encoder = encoder
    recommender.model.config.tower["encoder"] = encoder
