"""Which systems take part, and how each is opened."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.cost import load_prices, model_price
from bench.frontier.client import KEY_VARIABLE, Endpoint, endpoint_at
from bench.inputs import Paths, World
from bench.systems.base import System
from bench.systems.content import Content
from bench.systems.ease import Ease
from bench.systems.frontier import Frontier
from bench.systems.item_knn import ItemKnn
from bench.systems.navigator_models import NavigatorSystem
from bench.systems.popularity import Popularity
from bench.systems.rows import CatalogVectors
from navigator.contracts.errors import UserError
from navigator.contracts.vectors import ItemVectors

SYSTEMS = ("swapped", "native", "content", "content-tuned", "content-graph", "popularity", "item-knn", "ease")
MODELS = ("swapped", "native")
FRONTIER = "frontier"
_NEEDS = {"swapped": "model", "native": "native", "content-tuned": "tuned", "content-graph": "refined"}


@dataclass(frozen=True)
class Settings:
    """How the systems are run; the same for all of them."""

    max_history: int
    titles: bool
    device: str
    dtype: str


def choose(asked: list[str] | None, frontier: list[str] | None, paths: Paths) -> tuple[list[str], list[str]]:
    """Names of the local systems and of the frontier models that take part.

    Without `asked`: every system whose inputs are given, and the frontier models named or the price table's default.

    Raises:
        UserError: an unknown name, or one whose input is missing (the message names the option).
    """
    given = paths.given()
    hosted = load_prices().default if frontier is None else frontier
    if asked is None:
        return [name for name in SYSTEMS if _NEEDS.get(name, "catalog") in given], hosted
    local = [name for name in asked if name.partition(":")[0] != FRONTIER]
    for name in local:
        if name not in SYSTEMS:
            raise UserError(f"unknown system {name!r}; allowed are {', '.join(SYSTEMS)}, frontier, frontier:NAME")
        if _NEEDS.get(name, "catalog") not in given:
            raise UserError(
                f"system {name!r} needs --{_NEEDS[name]}, which was not given; add it or leave the system out"
            )
    named = [name.partition(":")[2] for name in asked if name.startswith(f"{FRONTIER}:")]
    named += hosted if FRONTIER in asked else []
    return list(dict.fromkeys(local)), list(dict.fromkeys(named))


def open_endpoint(base_url: str | None, models: list[str]) -> Endpoint | None:
    """The endpoint for frontier requests; None without `base_url`, and then every model needs a price.

    Raises:
        UserError: a base_url without a key, or a model about which nothing could be said.
    """
    if base_url is None:
        for name in models:
            model_price(name)
        return None
    endpoint = endpoint_at(base_url)
    if endpoint is None:
        raise UserError(f"--frontier_base_url {base_url} needs a key: set the environment variable {KEY_VARIABLE}")
    return endpoint


def open_system(name: str, world: World, paths: Paths, settings: Settings) -> System:
    """Fit or load one of SYSTEMS."""
    if name == "popularity":
        return Popularity.fit(world.rows, world.n_items)
    if name == "item-knn":
        return ItemKnn.fit(world.rows, world.n_items)
    if name == "ease":
        return Ease.fit(world.rows, world.n_items)
    if name == "content":
        return Content(name, world.content, settings.max_history)
    if name in ("content-tuned", "content-graph"):
        store = ItemVectors.open(_path(paths, _NEEDS[name]))
        return Content(name, CatalogVectors.align(store, world.catalog.item_ids, _NEEDS[name]), settings.max_history)
    return _open_model(name, world, paths, settings)


def open_frontier(name: str, endpoint: Endpoint, world: World, settings: Settings) -> Frontier:
    """A hosted model that re-ranks what the content system finds."""
    return Frontier(name, endpoint, world.catalog, Content("content", world.content, settings.max_history))


def known_items(systems: list[System], n_items: int) -> np.ndarray:
    """Catalogue items that every system has a vector for: those that timed requests may be drawn from."""
    known = np.ones(n_items, dtype=bool)
    for system in systems:
        if isinstance(system, (Content, NavigatorSystem)):
            known &= system.vectors.row >= 0
    return np.flatnonzero(known)


def _open_model(name: str, world: World, paths: Paths, settings: Settings) -> NavigatorSystem:
    from navigator.native import NativeRecommender
    from navigator.recommend import Recommender

    folder, vectors = _path(paths, _NEEDS[name]), _path(paths, "model_vectors")
    options = {"device": settings.device, "dtype": settings.dtype, "max_history": settings.max_history}
    if name == "swapped":
        model = Recommender.open(folder, vectors, **options)
    else:
        model = NativeRecommender.open(folder, paths.catalog, vectors, **options)
    aligned = CatalogVectors.align(model.vectors, world.catalog.item_ids, name)
    return NavigatorSystem(name, model, aligned, settings.max_history, settings.titles)


def _path(paths: Paths, option: str) -> Path:
    return paths.given()[option]
