"""SASRec as a contender: tuned by early stopping on validation, trained again for as many epochs on what the test may know."""

from dataclasses import fields
from itertools import product

import numpy as np

from bench.graph.baselines import Ranker
from bench.systems.rows import CatalogVectors
from bench.systems.sasrec_train import Recipe, SasrecSystem, Saves, Stop, train_sasrec
from bench.taste.options import Options
from bench.taste.tune import TUNED_BY, Contender, K, Settings, rank
from bench.taste.world import Fold
from navigator.metrics import ranking_metrics

_NAMES = {f.name for f in fields(Recipe)}


def sasrec(name: str, options: Options, vectors: CatalogVectors | None) -> Contender:
    """`vectors` in place of a free item table: items without a save can be found, and others share what is learned."""
    source = "training saves" if vectors is None else f"training saves and {options.sasrec_vectors}"
    return Contender(
        name, source, sasrec_grid(options), _Fit(options, vectors), tuple(options.sasrec_seeds), finds=True
    )


def sasrec_grid(options: Options) -> list[Settings]:
    """Every combination of the values given."""
    grids = options.grids
    values = {
        "loss": grids.sasrec_loss, "dim": grids.sasrec_dim, "dropout": grids.sasrec_dropout,
        "length": grids.sasrec_length, "learning_rate": grids.sasrec_rate, "weight_decay": grids.sasrec_decay,
    }  # fmt: skip
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


class _Fit:
    """Trains; with "epochs" among the settings for exactly that many, else until validation stops improving."""

    def __init__(self, options: Options, vectors: CatalogVectors | None):
        self.options, self.vectors = options, vectors

    def __call__(self, fold: Fold, settings: Settings, seed: int) -> tuple[Ranker, Settings]:
        known = np.ones(fold.n_items, bool) if self.vectors is None else self.vectors.row >= 0
        saves = Saves(fold.rows, known, fold.ordered, None if self.vectors is None else self.vectors.unit)
        recipe = Recipe(**{key: value for key, value in settings.items() if key in _NAMES})
        options, targets = self.options, [q.targets for q in fold.queries]
        if "epochs" in settings:
            stop = Stop(settings["epochs"], np.inf)
            return train_sasrec(saves, recipe, seed, stop, device=options.device)[0], settings

        def valid(system: SasrecSystem) -> float:
            return float(ranking_metrics(rank(system, fold.queries, fold.warm, K), targets, K)[TUNED_BY].mean())

        stop = Stop(options.sasrec_epochs, options.sasrec_seconds, options.sasrec_patience)
        system, epochs = train_sasrec(saves, recipe, seed, stop, valid, options.device)
        return system, settings | {"epochs": epochs}
