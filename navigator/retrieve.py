"""Candidates from several sources: for each the list of the items nearest to its query.

    model          the model's own query: what it makes of the history and the title
    content-graph  the plain mean of the history's vectors, where the store has graph factors beside the content
    content        the same mean of their content parts alone (of a store without factors: of the vectors)
    text           words through the encoder
    picture        a picture through the encoder

The last three ask in content space, and the index may hold content + graph vectors (`ItemIndex.nearest_content`).
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from navigator.ask import Ask
from navigator.contracts import Catalog, ItemVectors, UserError
from navigator.contracts.vectors import normalise
from navigator.index import ItemIndex
from navigator.metrics import nearest
from navigator.recommend import Recommender, history_means

IN_CONTENT_SPACE = ("content", "text", "picture")


def source_queries(
    recommender: Recommender, weights: dict[str, float], seen: Sequence[np.ndarray], asks: Sequence[Ask]
) -> list[dict[str, np.ndarray]]:
    """For each request the unit query of every source that has a weight and something to go by.

    The model reads all requests in as few passes as their lengths allow; one with a session is read alone, because what was
    read of it before is kept.

    Args:
        recommender: the model, the store, and what reads words, if anything does.
        weights: source -> weight.
        seen: (H,) rows of the history that the model reads, oldest first, of each request; may be empty.
        asks: the requests: titles, texts, pictures and sessions.

    Returns:
        source -> (D,) in the item space, or for content, text and picture (E,) in the encoder's.
    """
    queries = [_plain_queries(recommender, weights, rows, ask) for rows, ask in zip(seen, asks, strict=True)]
    if weights["model"]:
        for n, query in _model_queries(recommender, seen, asks).items():
            queries[n]["model"] = query
    if weights["text"] and recommender.text_vectors is not None:
        told = [n for n, ask in enumerate(asks) if ask.text.strip()]
        if told:
            read = text_part(recommender, [asks[n].text for n in told])
            for n, query in zip(told, read, strict=True):
                queries[n]["text"] = query
    return [{name: own[name] for name in weights if name in own} for own in queries]


def _plain_queries(
    recommender: Recommender, weights: dict[str, float], seen: np.ndarray, ask: Ask
) -> dict[str, np.ndarray]:
    """Of the sources that no network has to be asked for."""
    store, queries = recommender.vectors, {}
    if len(seen) and weights["content-graph"] and store.content_dim < store.dim:
        queries["content-graph"] = history_means(store.float32(seen), [len(seen)])[0]
    if len(seen) and weights["content"]:
        queries["content"] = history_means(content_part(store, seen), [len(seen)])[0]
    if ask.picture is not None and weights["picture"]:
        queries["picture"] = ask.picture
    return queries


def _model_queries(recommender: Recommender, seen: Sequence[np.ndarray], asks: Sequence[Ask]) -> dict[int, np.ndarray]:
    """Number of the request -> (D,) the model's own query, where it was given or has a start."""
    found = {n: ask.query for n, ask in enumerate(asks) if ask.query is not None}
    able = [n for n, ask in enumerate(asks) if n not in found and model_can_start(recommender, seen[n], ask.title)]
    together = [n for n in able if asks[n].session is None]
    if together:
        read = recommender.query_vectors([seen[n].tolist() for n in together], [asks[n].title for n in together])
        found |= dict(zip(together, read, strict=True))
    for n in able:
        if asks[n].session is not None:
            found[n] = recommender.query_vectors([seen[n].tolist()], [asks[n].title], session=asks[n].session)[0]
    return found


def model_can_start(recommender: Recommender, seen: np.ndarray, title: str) -> bool:
    """Whether the model's query has a start: a history, or a title that an encoder reads (navigator.start)."""
    return len(seen) > 0 or (bool(title.strip()) and recommender.text_vectors is not None)


@dataclass(frozen=True)
class Wanted:
    """What may be found for one request.

    Attributes:
        queries: see `source_queries`.
        skip: rows to pass over.
        allowed: the only rows that count, all others are passed over as well; None is every row. They are compared one by
            one, without the index, so a narrow filter loses nothing.
    """

    queries: dict[str, np.ndarray]
    skip: Set[int]
    allowed: np.ndarray | None


def lists_of(store: ItemVectors, index: ItemIndex, wanted: Sequence[Wanted], k: int) -> list[dict[str, np.ndarray]]:
    """For each request source -> its k nearest rows, best first; fewer where fewer are left or found.

    Args:
        store: the vectors that the index was built from.
        index: over all of them; asked once for each space, whatever the number of requests.
        wanted: the requests.
        k: how many.
    """
    found: list[dict[str, np.ndarray]] = [{} for _ in wanted]
    for content in (False, True):
        places = [
            (n, name) for n, own in enumerate(wanted) for name in own.queries if (name in IN_CONTENT_SPACE) == content
        ]
        free = [(n, name) for n, name in places if wanted[n].allowed is None]
        if free:
            asked = np.stack([wanted[n].queries[name] for n, name in free])
            ask = index.nearest_content if content else index.nearest  # rows of the index are rows of its store
            for (n, name), (rows, _) in zip(free, ask(asked, k, [wanted[n].skip for n, _ in free]), strict=True):
                found[n][name] = rows
        for n, name in places:
            allowed = wanted[n].allowed
            if allowed is not None:
                found[n][name] = _one_by_one(store, wanted[n], allowed, name, k)
    return [{name: rows[name] for name in own.queries} for own, rows in zip(wanted, found, strict=True)]


def _one_by_one(store: ItemVectors, wanted: Wanted, allowed: np.ndarray, name: str, k: int) -> np.ndarray:
    kept = allowed[~np.isin(allowed, list(wanted.skip))]
    if not len(kept):
        return kept
    own = nearest(wanted.queries[name][None], vectors_in(store, kept, name in IN_CONTENT_SPACE), k)[0]
    return kept[own[own >= 0]]


def vectors_in(store: ItemVectors, rows: np.ndarray, content: bool) -> np.ndarray:
    """(n, D) vectors of the items, or with `content` (n, E) `content_part`."""
    return content_part(store, rows) if content else store.float32(rows)


def content_part(store: ItemVectors, rows: np.ndarray) -> np.ndarray:
    """(n, E) unit vectors of the items in the encoder's space, without what a graph laid beside them."""
    return normalise(store.float32(rows)[:, : store.content_dim])


def text_part(recommender: Recommender, texts: Sequence[str]) -> np.ndarray:
    """(n, E) unit vectors of words in the encoder's space, for a recommender that reads words."""
    assert recommender.text_vectors is not None
    return normalise(recommender.text_vectors(texts)[:, : recommender.vectors.content_dim])


def rows_by_keyword(catalog: Catalog, store: ItemVectors) -> dict[str, np.ndarray]:
    """Keyword without capitals -> rows of the store whose items carry it."""
    items = catalog.table("items", ["item_id", "keywords"])
    found: dict[str, list[int]] = {}
    for item, keywords in zip(items["item_id"].to_pylist(), items["keywords"].to_pylist(), strict=True):
        if item in store.index:
            for keyword in {keyword.casefold() for keyword in keywords or ()}:
                found.setdefault(keyword, []).append(store.index[item])
    return {keyword: np.array(sorted(rows), np.int64) for keyword, rows in found.items()}


def check_index(index: ItemIndex, store: ItemVectors) -> None:
    """Raises UserError for an index that was not built from this very store."""
    built_from = index.manifest.inputs.get("vectors")
    if store.manifest is not None and built_from != store.manifest.fingerprint:
        raise UserError(
            f"index {index.path} was built from vectors {built_from}, these are {store.manifest.fingerprint}; build it "
            "from them with `navigator index`"
        )
