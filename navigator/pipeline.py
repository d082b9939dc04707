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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from navigator.answer_sheet import titles_of
from navigator.answers import Answer, Found, Opened, Recommendation
from navigator.ask import Ask
from navigator.contracts import Catalog, UnknownNameError, UserError
from navigator.diversify import diversify
from navigator.explain import Boards, OnBoard, reasons
from navigator.fuse import blend, fuse, places
from navigator.index import ItemIndex
from navigator.options import Options
from navigator.recommend import Recommender
from navigator.retrieve import (
    Wanted,
    check_index,
    content_part,
    lists_of,
    model_can_start,
    rows_by_keyword,
    source_queries,
)

if TYPE_CHECKING:
    from encoders.load import Encoder

_NOTHING = (
    "no source has anything to go by: give a history, or words and an encoder that reads them, and a weight above 0 to "
    "what is given"
)


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
        encoder: "str | Encoder | None" = None, options: Options | None = None, device: str = "auto", dtype: str = "auto",
    ) -> "Pipeline":  # fmt: skip
        """Open all artefacts.

        Args:
            model: a swapped model folder.
            vectors: the item vectors it reads.
            index: an index of these vectors.
            catalog: the catalogue, for titles, keywords and boards.
            encoder: what made the content of the vectors, to read words with (its name, or opened); None: a title is read
                by the model alone.
            options: see Options.
            device, dtype: see navigator.recommend.

        Raises:
            UserError: an artefact is missing, broken, or not of the others.
        """
        recommender = Recommender.open(model, vectors, device, dtype, encoder=encoder)
        found = ItemIndex.open(index, recommender.vectors.encoder)
        return cls(recommender, found, Catalog.open(catalog), options)

    def recommend(self, history: Sequence[str], k: int = 10, title: str = "", text: str = "", **more: Any) -> Answer:
        """Recommend k items; the arguments are those of Ask.

        Raises:
            UserError: k outside 1 to `retrieve` or the catalogue, an unknown item, keyword or board, or nothing to go by.
        """
        answer = self.answer([Ask(history, k, title, text, **more)])[0]
        if isinstance(answer, UserError):
            raise answer
        return answer

    def answer(self, asks: Sequence[Ask]) -> list[Answer | UserError]:
        """Answer several requests at once, each as if it had come alone: the encoder, the model and the index are asked once.

        Returns:
            For each request its answer, or what `recommend` would raise; `timings_ms` are those of all together.
        """
        answers: list[Answer | UserError] = []
        spent: dict[str, float] = {}
        with _stage("retrieve", spent):
            opened = [self._open(ask) for ask in asks]
            good = [one for one in opened if isinstance(one, Opened)]
            found = self._retrieve(good)
        with _stage("rank", spent):
            voices = [
                self._rank(one, own.candidates, own.queries.get("model")) for one, own in zip(good, found, strict=True)
            ]
        with _stage("diversify", spent):
            taken = [self._order(*parts) for parts in zip(good, found, voices, strict=True)]
        with _stage("explain", spent):
            told = [
                Answer(self._explain(one, own, place, *order), len(own.candidates), place is not None, spent)
                if own.queries else UserError(_NOTHING)
                for one, own, place, order in zip(good, found, voices, taken, strict=True)
            ]  # fmt: skip
        rest = iter(told)
        for one in opened:
            answers.append(next(rest) if isinstance(one, Opened) else one)
        return answers

    def _open(self, ask: Ask) -> Opened | UserError:
        try:
            self._check(ask.k)
            rows = self.store.rows_of(ask.history)
            allowed = self.allowed(ask.keyword, ask.board)
        except UserError as error:
            return error
        skip = {self.store.index[item] for item in ask.exclude if item in self.store.index}
        skip |= set() if ask.include_seen else set(rows.tolist())
        return Opened(ask, rows, rows[-self.recommender.max_history :], skip, allowed)

    def _retrieve(self, opened: Sequence[Opened]) -> list[Found]:
        weights = self.options.weights
        queries = source_queries(self.recommender, weights, [one.seen for one in opened], [one.ask for one in opened])
        wanted = [Wanted(own, one.skip, one.allowed) for own, one in zip(queries, opened, strict=True)]
        found = []
        for own, lists in zip(queries, lists_of(self.store, self.index, wanted, self.options.retrieve), strict=True):
            rows, scores = np.zeros(0, np.int64), np.zeros(0)
            if lists:
                rows, scores = fuse(list(lists.values()), [weights[name] for name in lists])
            found.append(Found(own, lists, rows[: self.options.retrieve], scores[: self.options.retrieve]))
        return found

    def _check(self, k: int) -> None:
        limit = min(self.options.retrieve, len(self.store.ids))
        if not 1 <= k <= limit:
            raise UserError(
                f"k is {k}; allowed are 1 to {limit}: of {len(self.store.ids):,} items {self.options.retrieve} are retrieved"
            )

    def allowed(self, keyword: str | None = None, board: str | None = None) -> np.ndarray | None:
        """Rows that carry the keyword and lie on the board; None for every row.

        Raises:
            UserError: no item carries it, or there is no such board.
        """
        rows = None
        if keyword is not None:
            rows = self.keywords.get(keyword.casefold())
            if rows is None:
                raise UnknownNameError(f"no item of the catalogue carries keyword {keyword!r}; check its spelling")
        if board is not None:
            own = self.boards.items(board)
            rows = own if rows is None else np.intersect1d(rows, own)
        return rows

    def _rank(self, one: Opened, candidates: np.ndarray, query: np.ndarray | None) -> np.ndarray | None:
        """(C,) places by the model, None where it has no voice; `query` is its own, if it was asked for one."""
        can = self.options.ranking > 0 and model_can_start(self.recommender, one.seen, one.ask.title)
        if not can or not len(candidates):
            return None
        if query is not None and not self.head_is_trained:  # a head of zeros adds nothing: no pass is needed
            return places(self.store.float32(candidates) @ query)
        return places(self.recommender.rank(one.seen.tolist(), candidates.tolist(), one.ask.title, one.ask.session))

    def _order(self, one: Opened, found: Found, place: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the items that are shown among the candidates, and their scores."""
        scores = found.scores if place is None else blend(found.scores, place, self.options.ranking)
        unit = content_part(self.store, found.candidates)
        return diversify(scores, unit, one.ask.k, self.options.decay, self.options.similar)

    def _explain(
        self, one: Opened, found: Found, ranked: np.ndarray | None, taken: np.ndarray, scores: np.ndarray
    ) -> list[Recommendation]:
        place = {name: {row: n for n, row in enumerate(rows.tolist(), 1)} for name, rows in found.lists.items()}
        chosen = found.candidates[taken]
        ranking = [None] * len(taken) if ranked is None else ranked[taken].tolist()
        rows, because = chosen.tolist(), reasons(self.store, chosen, one.seen, self.titles)
        boards = self.boards.shared(rows, one.rows.tolist())
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
