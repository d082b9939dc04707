"""One recommendation from end to end, as a server asks for it: retrieve, rank, diversify, explain. Nothing is opened twice.

1. Retrieve: every source (navigator.retrieve) gives its nearest items by FAISS, reciprocal ranks fuse them
   (navigator.fuse), the best `retrieve` of them are the candidates.
2. Rank: the model scores all candidates in one pass: its query times the item, and the ranking head's say where that was
   trained. Its order is one voice, the fused retrieval the other, score = (1 - ranking) * fused + ranking / (60 + place).
   By default the model alone orders what all sources found; where it has nothing to read, the order is retrieval's.
3. Diversify: greedily, score x decay for every similar item above (navigator.diversify); these scores are positive.
4. Explain: the nearest history item and a board that holds both (navigator.explain).
"""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from navigator.answer_sheet import titles_of
from navigator.contracts import Catalog, UserError
from navigator.diversify import diversify
from navigator.explain import Because, Boards, OnBoard, reasons
from navigator.fuse import blend, fuse, places
from navigator.index import ItemIndex
from navigator.options import Options
from navigator.recommend import Recommender
from navigator.retrieve import check_index, content_part, lists_of, model_can_start, rows_by_keyword, source_queries


@dataclass(frozen=True)
class Recommendation:
    """One recommended item.

    Attributes:
        item, title: what it is.
        score: after diversification; comparable within one answer.
        sources: its place, from 1, in the list of each source that found it.
        ranking: its place by the model, from 1; None where the model had no voice.
        because, board: the explanation; None where there is none to give.
    """

    item: str
    title: str
    score: float
    sources: dict[str, int]
    ranking: int | None
    because: Because | None
    board: OnBoard | None


@dataclass(frozen=True)
class Answer:
    """Recommendations, best first, of so many candidates; whether the model ranked them; milliseconds by stage."""

    results: list[Recommendation]
    candidates: int
    ranked: bool
    timings_ms: dict[str, float]


class Pipeline:
    """Everything that a request needs, opened once; requests change nothing in it but what is kept of sessions."""

    def __init__(self, recommender: Recommender, index: ItemIndex, catalog: Catalog, options: Options | None = None):
        self.recommender, self.index, self.catalog = recommender, index, catalog
        self.options, self.store = options or Options(), recommender.vectors
        check_index(index, self.store)
        self.boards = Boards.of(catalog, self.store.ids)
        self.titles, self.keywords = titles_of(catalog), rows_by_keyword(catalog, self.store)
        self.head_is_trained = bool(recommender.model.ranking_head.weight.any())

    @classmethod
    def open(
        cls, model: str | Path, vectors: str | Path, index: str | Path, catalog: str | Path,
        encoder: str | None = None, options: Options | None = None, device: str = "auto", dtype: str = "auto",
    ) -> "Pipeline":  # fmt: skip
        """Open all artefacts.

        Args:
            model: a swapped model folder.
            vectors: the item vectors it reads.
            index: an index of these vectors.
            catalog: the catalogue, for titles, keywords and boards.
            encoder: what made the content of the vectors, to read words with; None: a title is read by the model alone.
            options: see Options.
            device, dtype: see navigator.recommend.

        Raises:
            UserError: an artefact is missing, broken, or not of the others.
        """
        recommender = Recommender.open(model, vectors, device, dtype, encoder=encoder)
        found = ItemIndex.open(index, recommender.vectors.encoder)
        return cls(recommender, found, Catalog.open(catalog), options)

    def recommend(
        self, history: Sequence[str], k: int = 10, title: str = "", text: str = "", exclude: Collection[str] = (),
        include_seen: bool = False, keyword: str | None = None, session: str | None = None,
    ) -> Answer:  # fmt: skip
        """Recommend k items.

        Args:
            history: item ids, oldest first; empty for a request in words alone.
            k: how many; fewer come back where fewer are left.
            title: what the model reads beside the history: a board's title, or words that are asked for.
            text: words whose nearest items, by the encoder, are a source.
            exclude: item ids that must not be recommended.
            include_seen: whether items of the history may be recommended again.
            keyword: only items that carry this keyword.
            session: whose request it is; what the model has read of them is kept, and not read again when they come back
                with more (navigator.prefix). One thread at a time may ask with a session.

        Raises:
            UserError: k outside 1 to `retrieve` or the catalogue, an unknown item or keyword, or nothing to go by.
        """
        self._check(k)
        options, spent = self.options, {}
        with _stage("retrieve", spent):
            rows = self.store.rows_of(history)
            seen = rows[-self.recommender.max_history :]
            skip = {self.store.index[item] for item in exclude if item in self.store.index}
            skip |= set() if include_seen else set(rows.tolist())
            queries = source_queries(self.recommender, options.weights, seen, title, text, session)
            lists = self._lists(queries, skip, keyword)
            fused = fuse(list(lists.values()), [options.weights[name] for name in lists])
            candidates, scores = (part[: options.retrieve] for part in fused)
        with _stage("rank", spent):
            place = self._rank(seen, candidates, title, queries.get("model"), session)
            if place is not None:
                scores = blend(scores, place, options.ranking)
        with _stage("diversify", spent):
            unit = content_part(self.store, candidates)
            taken, final = diversify(scores, unit, k, options.decay, options.similar)
        with _stage("explain", spent):
            ranking = [None] * len(taken) if place is None else place[taken].tolist()
            results = self._explain(candidates[taken], final, lists, ranking, seen, rows)
        return Answer(results, len(candidates), place is not None, spent)

    def _check(self, k: int) -> None:
        limit = min(self.options.retrieve, len(self.store.ids))
        if not 1 <= k <= limit:
            raise UserError(
                f"k is {k}; allowed are 1 to {limit}: of {len(self.store.ids):,} items {self.options.retrieve} are retrieved"
            )

    def _lists(self, queries: dict[str, np.ndarray], skip: set[int], keyword: str | None) -> dict[str, np.ndarray]:
        if not queries:
            raise UserError(
                "no source has anything to go by: give a history, or words and an encoder that reads them, and a weight "
                "above 0 to what is given"
            )
        allowed = None
        if keyword is not None:
            allowed = self.keywords.get(keyword.casefold())
            if allowed is None:
                raise UserError(
                    f"no item of catalog {self.catalog.path} carries keyword {keyword!r}; check its spelling"
                )
        return lists_of(self.store, self.index, queries, self.options.retrieve, skip, allowed)

    def _rank(
        self, seen: np.ndarray, candidates: np.ndarray, title: str, query: np.ndarray | None, session: str | None
    ) -> np.ndarray | None:  # fmt: skip
        """(C,) places by the model, None where it has no voice; `query` is its own, if it was asked for one."""
        can = self.options.ranking > 0 and model_can_start(self.recommender, seen, title)
        if not can or not len(candidates):
            return None
        if query is not None and not self.head_is_trained:  # a head of zeros adds nothing: no pass is needed
            return places(self.store.float32(candidates) @ query)
        return places(self.recommender.rank(seen.tolist(), candidates.tolist(), title, session))

    def _explain(
        self, found: np.ndarray, scores: np.ndarray, lists: dict[str, np.ndarray], ranking: Sequence[int | None],
        seen: np.ndarray, history: np.ndarray,
    ) -> list[Recommendation]:  # fmt: skip
        place = {name: {row: n for n, row in enumerate(rows.tolist(), 1)} for name, rows in lists.items()}
        rows, because = found.tolist(), reasons(self.store, found, seen, self.titles)
        boards = self.boards.shared(rows, history.tolist())
        results = []
        for n, row in enumerate(rows):
            item, on = self.store.ids[row], boards[n]
            sources = {name: own[row] for name, own in place.items() if row in own}
            board = None if on is None else OnBoard(self.boards.ids[on[0]], self.boards.titles[on[0]], on[1])
            title, score = self.titles.get(item, ""), round(float(scores[n]), 6)
            results.append(Recommendation(item, title, score, sources, ranking[n], because[n], board))
        return results


@contextmanager
def _stage(name: str, spent_ms: dict[str, float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    spent_ms[name] = round((time.perf_counter() - started) * 1000, 3)
