"""Which systems take part, and what each is made of."""

from pathlib import Path

import numpy as np

from bench.graph.stores import open_checked
from bench.inputs import fingerprint_of
from bench.systems.rows import CatalogVectors
from bench.taste.classic import CLASSIC, classic
from bench.taste.models import model_contender, model_folders, scores_contender
from bench.taste.neighbours import neighbours
from bench.taste.sequential import sasrec
from bench.taste.tune import Contender
from bench.taste.world import World
from navigator.contracts import ItemVectors
from navigator.contracts.manifest import file_digest


def contenders(world: World) -> list[Contender]:
    """Every system of the options, in their order: --systems, --vectors, --models, --scores.

    Raises:
        UserError: see the parts.
    """
    options = world.options
    found = [_system(name, world) for name in options.systems]
    if options.vectors:
        stores = {name: open_checked(name, Path(folder), world.graph) for name, folder in options.vectors.items()}
        for name, store in stores.items():
            aligned = CatalogVectors.align(store, world.catalog.item_ids, name)
            titles = title_vectors(world, store)
            source = options.vectors[name]
            found.append(neighbours(name, source, aligned, store.content_dim, titles, options.grids))
    found += [model_contender(name, folders, world) for name, folders in options.models.items()]
    return found + [scores_contender(name, Path(path), world) for name, path in options.scores.items()]


def input_fingerprints(world: World) -> dict[str, str]:
    """Input -> fingerprint, of everything that the figures depend on."""
    options = world.options
    found = {"catalog": world.catalog.fingerprint, "graph": world.graph}
    found |= {f"vectors {name}": fingerprint_of(name, Path(folder)) for name, folder in options.vectors.items()}
    if options.sasrec_vectors is not None:
        found["sasrec_vectors"] = fingerprint_of("sasrec_vectors", options.sasrec_vectors)
    for name, folders in options.models.items():
        model, vectors = model_folders(name, folders)
        found |= {f"model {name}": fingerprint_of(name, model), f"model {name} vectors": fingerprint_of(name, vectors)}
    return found | {f"scores {name}": file_digest(Path(path))[:16] for name, path in options.scores.items()}


def title_vectors(world: World, store: ItemVectors) -> dict[str, np.ndarray]:
    """Title -> (D,) text vector as the store holds it, for every title that is asked with; empty without --encoder.

    Raises:
        UserError: an encoder other than the store's.
    """
    options = world.options
    asking = [*world.final.queries, *world.known, *world.unseen] if options.titles and options.encoder else []
    texts = sorted({one.title for one in asking if one.title})
    if not texts:
        return {}
    from navigator.texts import text_vectors

    return dict(zip(texts, text_vectors(str(options.encoder), store)(texts), strict=True))


def _system(name: str, world: World) -> Contender:
    options = world.options
    if name in CLASSIC:
        return classic(name, options.grids)
    if name == "sasrec":
        return sasrec(name, options, None)
    assert options.sasrec_vectors is not None
    store = open_checked(name, options.sasrec_vectors, world.graph)
    return sasrec(name, options, CatalogVectors.align(store, world.catalog.item_ids, name))
