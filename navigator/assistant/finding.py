"""From a wish to items: the pipeline's order and the catalogue's own words, without what is ruled out."""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from navigator.ask import Ask
from navigator.assistant.english import MODIFIERS, subjects
from navigator.assistant.stock import Stock
from navigator.assistant.wish import Wish
from navigator.contracts import UserError
from navigator.fuse import fuse
from navigator.options import Options
from navigator.pipeline import Pipeline
from navigator.refusal import Refusal
from navigator.retrieve import content_part, text_part

DEPTH = 60  # items that the pipeline gives for a wish, before the words have their say
CLEARLY = 0.1  # by which an item is nearer to what is ruled out than to what is wanted
# Words alone are best answered by the encoder's text and by the catalogue's own words; the model reads histories, and its
# query from a title, and its ranking by it, only cost (docs/LOG.md). With items or pictures the model has its say.
BY_WORDS = Options(retrieve=100, ranking=0.0, decay=1.0, weights={"model": 0.0})
# A query that the model emitted in the chat itself, and learned to, has its say beside the others (train.chat).
BY_QUERY = replace(BY_WORDS, weights={"model": 1.0})
BY_ITEMS = Options(retrieve=100, ranking=0.5, decay=1.0)
WORDS_ALONE, WORDS_BESIDE = 2.0, 0.5  # weight of the catalogue's own words against the pipeline's order


@dataclass(frozen=True)
class Filters:
    """Attributes:
    keyword, board: only items that carry it, that lie on it.
    exclude_seen: leave out what was shown in this conversation.
    k: how many are wanted.
    """

    keyword: str | None = None
    board: str | None = None
    exclude_seen: bool = True
    k: int = 6


@dataclass(frozen=True)
class Hits:
    """Items best first, their scores, and the cosine of what the wish names with the nearest item (None without words)."""

    items: list[str]
    scores: list[float]
    cosine: float | None


class Finder:
    """Searches a pipeline's catalogue.

    Args:
        pipeline: see navigator.pipeline; asked with BY_WORDS, BY_QUERY or BY_ITEMS instead of its own options.
        stock: the words of its catalogue.
    """

    def __init__(self, pipeline: Pipeline, stock: Stock):
        self.pipeline, self.stock, self.store = pipeline, stock, pipeline.store
        self._by_words, self._by_query, self._by_items = (copy.copy(pipeline) for _ in range(3))
        self._by_words.options, self._by_query.options, self._by_items.options = BY_WORDS, BY_QUERY, BY_ITEMS

    def find(
        self, wish: Wish, picture: np.ndarray | None, filters: Filters, seen: Collection[str],
        query: np.ndarray | None = None,
    ) -> Hits:  # fmt: skip
        """The items of a wish.

        Args:
            wish: what is wanted.
            picture: (E,) the unit mean of its pictures, or None.
            filters: what may be found.
            seen: items that were shown.
            query: (D,) what the model emitted of the chat, a source of its own; None where it does not emit.

        Raises:
            Refusal: an unknown keyword or board, or nothing to go by.
        """
        skip = {*wish.items, *(seen if filters.exclude_seen or wish.further else ())}
        wish = self._named(wish)
        try:
            allowed = self.pipeline.allowed(filters.keyword, filters.board)
        except UserError as error:
            raise Refusal(404, "not_found", str(error), "retrieval") from error
        if self.pipeline.recommender.text_vectors is not None and wish.words:
            named = " ".join(wish.named or wish.heads)
            self._read([wish.text, named or wish.text, *wish.ruled_out])  # all at once; they are remembered
        by_words = not wish.items and picture is None
        alone = self._by_words if query is None else self._by_query
        asked, title = (alone, "") if by_words else (self._by_items, wish.text)
        depth = min(DEPTH, asked.options.retrieve, len(self.store.ids))
        ask = Ask(
            wish.items, depth, title, wish.text, picture, skip, keyword=filters.keyword, board=filters.board, query=query
        )  # fmt: skip
        answer = asked.answer([ask])[0]
        if isinstance(answer, UserError):
            raise Refusal(400, "nothing_to_go_by", str(answer), "messages") from answer
        order = self.store.rows_of([result.item for result in answer.results])
        banned = {self.store.index[item] for item in skip}
        rows, scores = self._with_words(wish, order, allowed, banned)
        keep = ~np.isin(rows, self._ruled_out(wish, rows))
        rows, scores = rows[keep][: filters.k], scores[keep][: filters.k]
        return Hits([self.store.ids[row] for row in rows], scores.tolist(), self._cosine(wish))

    def _named(self, wish: Wish) -> Wish:
        """A wish for items in another colour or size says in words what they are."""
        if not wish.items or not wish.words or wish.heads:
            return wish
        titles = " ".join(self.pipeline.titles.get(item) or "" for item in wish.items)
        kinds = [word for word in subjects(titles) if word not in MODIFIERS]
        return replace(wish, words=(*wish.words, *dict.fromkeys(kinds)))

    def _with_words(
        self, wish: Wish, order: np.ndarray, allowed: np.ndarray | None, banned: Collection[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The pipeline's order fused with that of the items that have the words themselves."""
        said, share = self.stock.matches(wish.words)
        may = ~np.isin(said, list(banned)) & (np.isin(said, allowed) if allowed is not None else True)
        said, share = said[may], share[may]
        if not len(said):
            return fuse([order], [1.0])
        near = self._cosines(wish.text, said)
        said = said[np.lexsort((-near, -share.round(9)))][:DEPTH]
        alone = not wish.items and not wish.pictures
        return fuse([order, said], [1.0, WORDS_ALONE if alone else WORDS_BESIDE])

    def _ruled_out(self, wish: Wish, rows: np.ndarray) -> np.ndarray:
        """Those of the rows that have a word which is ruled out, or are nearer to it than to what is wanted."""
        if not wish.ruled_out:
            return rows[:0]
        out = self.stock.matches(wish.ruled_out)[0]
        if wish.text and self.pipeline.recommender.text_vectors is not None:
            against = np.max([self._cosines(word, rows) for word in wish.ruled_out], axis=0)
            out = np.concatenate([out, rows[against > self._cosines(wish.text, rows) + CLEARLY]])
        return out

    def _cosine(self, wish: Wish) -> float | None:
        heads = wish.named or wish.heads
        if not heads or self.pipeline.recommender.text_vectors is None:
            return None
        query = self._read([" ".join(heads)])
        return self.pipeline.index.search_content(query, 1)[0][0][1]

    def _cosines(self, text: str, rows: np.ndarray) -> np.ndarray:
        """(n,) cosines of the items' contents with a text; zeros where nothing reads words."""
        if self.pipeline.recommender.text_vectors is None:
            return np.zeros(len(rows))
        return content_part(self.store, rows) @ self._read([text])[0]

    def nearest_of(self, text: str, items: Sequence[str]) -> str:
        """The one of the items that is nearest to the words; that has most of them, where nothing reads words."""
        rows = self.store.rows_of(items)
        said, share = self.stock.matches([text])
        words = dict(zip(said.tolist(), share.tolist(), strict=True))
        scores = self._cosines(text, rows) + [words.get(row, 0.0) for row in rows.tolist()]
        return items[int(scores.argmax())]

    def _read(self, texts: list[str]) -> np.ndarray:
        return text_part(self.pipeline.recommender, texts)
