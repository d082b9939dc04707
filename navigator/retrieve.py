"""Candidates from several sources: for each the list of the items nearest to its query.

    model          the model's own query: what it makes of the history and the title
    content-graph  the plain mean of the history's vectors, where the store has graph factors beside the content
    content        the same mean of their content parts alone (of a store without factors: of the vectors)
    text           words through the encoder

The last two ask in content space, and the index may hold content + graph vectors (`ItemIndex.search_content`).
"""

import numpy as np

from navigator.contracts import Catalog, ItemVectors, UserError
from navigator.contracts.vectors import normalise
from navigator.index import ItemIndex
from navigator.metrics import nearest
from navigator.recommend import Recommender, history_means

IN_CONTENT_SPACE = ("content", "text")


def source_queries(
    recommender: Recommender,
    weights: dict[str, float],
    seen: np.ndarray,
    title: str,
    text: str,
    session: str | None = None,
) -> dict[str, np.ndarray]:
    """The unit query of every source that has a weight and something to go by.

    Args:
        recommender: the model, the store, and what reads words, if anything does.
        weights: source -> weight.
        seen: (H,) rows of the history that the model reads, oldest first; may be empty.
        title: what the model reads beside the history, "" for nothing; without a history it must be told and encoded.
        text: words of the source "text".
        session: whose history it is, see Recommender.query_vectors.

    Returns:
        source -> (D,) in the item space, or for content and text (E,) in the encoder's.
    """
    store, queries, reads = recommender.vectors, {}, recommender.text_vectors
    if weights["model"] and model_can_start(recommender, seen, title):
        queries["model"] = recommender.query_vectors([seen.tolist()], [title], session=session)[0]
    if len(seen) and weights["content-graph"] and store.content_dim < store.dim:
        queries["content-graph"] = history_means(store.float32(seen), [len(seen)])[0]
    if len(seen) and weights["content"]:
        queries["content"] = history_means(content_part(store, seen), [len(seen)])[0]
    if text.strip() and weights["text"] and reads is not None:
        queries["text"] = normalise(reads([text])[0, : store.content_dim])
    return queries


def model_can_start(recommender: Recommender, seen: np.ndarray, title: str) -> bool:
    """Whether the model's query has a start: a history, or a title that an encoder reads (navigator.start)."""
    return len(seen) > 0 or (bool(title.strip()) and recommender.text_vectors is not None)


def lists_of(
    store: ItemVectors,
    index: ItemIndex,
    queries: dict[str, np.ndarray],
    k: int,
    skip: set[int],
    allowed: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Source -> its k nearest rows, best first; fewer where fewer are left or an approximate index finds fewer.

    Args:
        store: the vectors that the index was built from.
        index: over all of them.
        queries: see `source_queries`.
        k: how many.
        skip: rows to pass over.
        allowed: the only rows that count, all others are passed over as well. They are compared one by one, without the
            index, so a narrow filter loses nothing.
    """
    found: dict[str, np.ndarray] = {}
    for content in (False, True):
        names = [name for name in queries if (name in IN_CONTENT_SPACE) == content]
        if not names:
            continue
        asked = np.stack([queries[name] for name in names])
        if allowed is None:
            lists = _by_index(store, index, asked, k, skip, content)
        else:
            kept = allowed[~np.isin(allowed, list(skip))]
            lists = [kept[own[own >= 0]] for own in nearest(asked, vectors_in(store, kept, content), k)]
        found |= dict(zip(names, lists, strict=True))
    return {name: found[name] for name in queries}


def _by_index(
    store: ItemVectors, index: ItemIndex, asked: np.ndarray, k: int, skip: set[int], content: bool
) -> list[np.ndarray]:
    banned = [{store.ids[row] for row in skip}] * len(asked)
    found = index.search_content(asked, k, banned) if content else index.search(asked, k, banned)
    return [store.rows_of([item for item, _ in own]) for own in found]


def vectors_in(store: ItemVectors, rows: np.ndarray, content: bool) -> np.ndarray:
    """(n, D) vectors of the items, or with `content` (n, E) `content_part`."""
    return content_part(store, rows) if content else store.float32(rows)


def content_part(store: ItemVectors, rows: np.ndarray) -> np.ndarray:
    """(n, E) unit vectors of the items in the encoder's space, without what a graph laid beside them."""
    return normalise(store.float32(rows)[:, : store.content_dim])


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
