"""The rivals that know items by their number: popularity, item-kNN and EASE, with full and with short histories."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from bench.graph.baselines import LARGEST, ItemToItem, Ranker, co_saves, shrunk_cosines
from bench.systems.base import incidence
from bench.systems.ease import Ease
from bench.systems.popularity import Popularity
from bench.taste.options import Grids
from bench.taste.tune import Contender, Settings
from bench.taste.world import Fold
from navigator.contracts import UserError

CLASSIC = ("popularity", "item-knn", "item-knn-short", "ease", "ease-short")


def classic(name: str, grids: Grids) -> Contender:
    """One of CLASSIC; -short reads the latest items alone, the others the whole history (last 0)."""
    if name == "popularity":
        return Contender(name, "training saves", [{}], _popularity, without_history=True)
    last = grids.short if name.endswith("-short") else (0,)
    if name.startswith("ease"):
        grid = [{"lambda": value, "last": n} for value in grids.ease_lambda for n in last]
        return Contender(name, "training saves", grid, _ease)
    grid = [{"shrink": value, "last": n} for value in grids.shrink for n in last]
    return Contender(name, "training saves", grid, _item_knn)


def _popularity(fold: Fold, settings: Settings, seed: int) -> tuple[Ranker, Settings]:
    return Popularity.fit(fold.rows, fold.n_items), settings


def _ease(fold: Fold, settings: Settings, seed: int) -> tuple[Ranker, Settings]:
    return replace(_fitted_ease(fold, settings["lambda"]), last=settings["last"]), settings


def _item_knn(fold: Fold, settings: Settings, seed: int) -> tuple[Ranker, Settings]:
    return replace(_fitted_knn(fold, settings["shrink"]), last=settings["last"]), settings


@lru_cache(maxsize=1)  # settings that differ in the history alone come one after another
def _fitted_ease(fold: Fold, regularisation: float) -> Ease:
    return Ease.fit(fold.rows, fold.n_items, regularisation)


@lru_cache(maxsize=1)
def _fitted_knn(fold: Fold, shrink: float) -> ItemToItem:
    if fold.n_items > LARGEST:
        raise UserError(
            f"item-knn keeps {fold.n_items:,} x {fold.n_items:,} cosines here; allowed are {LARGEST:,} items: name the "
            "other systems with --systems"
        )
    return ItemToItem("item-knn", shrunk_cosines(_together(fold), shrink))


@lru_cache(maxsize=1)
def _together(fold: Fold) -> np.ndarray:
    return co_saves(incidence(fold.rows, fold.n_items))
