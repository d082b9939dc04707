"""Everything that one release answers with, opened once: model, vectors, index, encoder, catalogue.

Its methods take several requests and ask the encoder, the model and the index once for all of them. What is wrong with one
request becomes that request's answer (an exception in its place), never another's. Nothing here knows HTTP or threads: each
method may be called by one thread at a time (navigator.serve.batching sees to that).
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encoders.load import Encoder
from navigator.ask import Ask
from navigator.contracts import UserError
from navigator.native import NativeRecommender
from navigator.options import Options
from navigator.pipeline import Pipeline
from navigator.refusal import Refusal
from navigator.retrieve import Wanted, content_part, lists_of, text_part
from navigator.serve.exchange import Advice, Asked, Done, Found, as_refusal, stage
from navigator.serve.reading import no_encoder, read_pictures, stacked
from navigator.serve.schemas import RankRequest, RecommendRequest, SearchRequest
from navigator.serve.shelf import Shelf


class Engine:
    """One opened release.

    Attributes:
        name: of the release.
        pipeline: model, index, vectors and catalogue.
        encoder: what reads words and pictures; None: only items can be asked by.
        native: the comparison model, or None.
    """

    def __init__(
        self, name: str, pipeline: Pipeline, encoder: Encoder | None = None, native: NativeRecommender | None = None
    ):
        self.name, self.pipeline, self.encoder, self.native = name, pipeline, encoder, native
        self.shelf, self.created = Shelf(pipeline.catalog), int(time.time())

    @classmethod
    def open(
        cls, name: str, model: Path, index: Path, vectors: Path, catalog: Path, encoder: str | None,
        native: Path | None = None, options: Options | None = None, device: str = "auto", dtype: str = "auto",
    ) -> "Engine":  # fmt: skip
        """Raises UserError where an artefact is missing, broken, or not of the others."""
        from encoders.load import load_encoder
        from navigator.encode_commands import resolve_encoder

        loaded = None if encoder is None else load_encoder(resolve_encoder(encoder))
        pipeline = Pipeline.open(model, vectors, index, catalog, loaded, options, device, dtype)
        shown = None if native is None else NativeRecommender.open(native, catalog, vectors, device, dtype)
        return cls(name, pipeline, loaded, shown)

    def title(self, item: str) -> str:
        return self.pipeline.titles.get(item, "")

    def search(self, asked: Sequence[Asked[SearchRequest]]) -> list[Done[Found] | Exception]:
        """The nearest items of each request's words, picture or item, by cosine."""
        spent: dict[str, float] = {}
        with stage("encode", spent):
            queries = self._queries(asked)
        with stage("retrieve", spent):
            wanted = [self._wanted(one.body, query) for one, query in zip(asked, queries, strict=True)]
            good = [one for one in wanted if isinstance(one, Wanted)]
            most = max((one.body.k for one in asked), default=1)
            lists = iter(lists_of(self.pipeline.store, self.pipeline.index, good, most))
            return [
                Done(self._found(one, next(lists), ask.body.k), self.name, spent) if isinstance(one, Wanted) else one
                for one, ask in zip(wanted, asked, strict=True)
            ]

    def recommend(self, asked: Sequence[Asked[RecommendRequest]]) -> list[Done[Advice] | Exception]:
        """See navigator.pipeline."""
        spent: dict[str, float] = {}
        with stage("encode", spent):
            pictures = read_pictures(self.encoder, self.pipeline.store.content_dim, [one.picture for one in asked])
        asks = [self._ask(one.body, picture) for one, picture in zip(asked, pictures, strict=True)]
        answers = iter(self.pipeline.answer([ask for ask in asks if isinstance(ask, Ask)]))
        done: list[Done[Advice] | Exception] = []
        for ask in asks:
            answer = next(answers) if isinstance(ask, Ask) else ask
            if isinstance(answer, Exception):
                done.append(as_refusal(answer))
            else:
                advice = Advice(answer.results, answer.candidates, answer.ranked)
                done.append(Done(advice, self.name, spent | answer.timings_ms))
        return done

    def rank(self, asked: Sequence[Asked[RankRequest]]) -> list[Done[Found] | Exception]:
        """The candidates by the model's scores."""
        return [self._ranked(one.body) for one in asked]

    def embed(self, asked: Sequence[Asked[Sequence[Any]]]) -> list[Done[np.ndarray] | Exception]:
        """Parts (str, bytes of a picture, or {"item": ID}) -> (n, E) unit vectors of the encoder's space."""
        spent: dict[str, float] = {}
        with stage("encode", spent):
            return [self._embedded(one.body, spent) for one in asked]

    def _ranked(self, body: RankRequest) -> Done[Found] | Exception:
        spent: dict[str, float] = {}
        recommender, store = self.pipeline.recommender, self.pipeline.store
        try:
            history, candidates = store.rows_of(body.history), store.rows_of(body.candidates)
            if not body.history and recommender.text_vectors is None:
                raise Refusal(400, "no_encoder", "a title alone needs an encoder, and this server has none", "title")
        except (UserError, Refusal) as error:
            return as_refusal(error)
        with stage("rank", spent):
            scores = recommender.rank(history.tolist(), candidates.tolist(), body.title)
        order = np.argsort(-scores, kind="stable")
        return Done(Found([body.candidates[n] for n in order], scores[order].tolist()), self.name, spent)

    def _queries(self, asked: Sequence[Asked[SearchRequest]]) -> list[dict[str, np.ndarray] | Exception]:
        """For each request its unit query, by the space it lies in (navigator.retrieve)."""
        store, recommender = self.pipeline.store, self.pipeline.recommender
        texts = [one.body.text for one in asked if one.body.text is not None]
        words: dict[str, np.ndarray] = {}
        if texts and recommender.text_vectors is not None:
            words = dict(zip(texts, text_part(recommender, texts), strict=True))
        queries: list[dict[str, np.ndarray] | Exception] = []
        pictures = read_pictures(self.encoder, store.content_dim, [one.picture for one in asked])
        for one, picture in zip(asked, pictures, strict=True):
            if isinstance(picture, Exception):
                queries.append(picture)
            elif picture is not None:
                queries.append({"picture": picture})
            elif one.body.text is not None:
                queries.append({"text": words[one.body.text]} if words else no_encoder("text"))
            elif one.body.item in store.index:
                queries.append({"item": store.float32(store.rows_of([one.body.item]))[0]})
            else:
                queries.append(Refusal(404, "item_not_found", "no such item has a vector; check the id", "item"))
        return queries

    def _wanted(self, body: SearchRequest, query: dict[str, np.ndarray] | Exception) -> Wanted | Exception:
        if isinstance(query, Exception):
            return query
        try:
            allowed = self.pipeline.allowed(body.keyword, body.board)
        except UserError as error:
            return as_refusal(error)
        own = [] if body.item is None else [body.item]
        rows = self.pipeline.store.index
        return Wanted(query, {rows[item] for item in [*body.exclude, *own] if item in rows}, allowed)

    def _found(self, wanted: Wanted, lists: dict[str, np.ndarray], k: int) -> Found:
        store, (name, rows) = self.pipeline.store, next(iter(lists.items()))
        rows = rows[:k]
        vectors = store.float32(rows) if name == "item" else content_part(store, rows)
        return Found([store.ids[row] for row in rows], (vectors @ wanted.queries[name]).tolist())

    def _ask(self, body: RecommendRequest, picture: np.ndarray | Exception | None) -> Ask | Exception:
        if isinstance(picture, Exception):
            return picture
        return Ask(
            body.history, body.k, body.title, body.text, picture, body.exclude, body.include_seen, body.keyword, body.board,
            body.session,
        )  # fmt: skip

    def picture_vectors(self, pictures: Sequence[bytes]) -> np.ndarray:
        """(n, E) of pictures in the content space; Refusal for the first that cannot be read."""
        return stacked(read_pictures(self.encoder, self.pipeline.store.content_dim, pictures))

    def _embedded(self, parts: Sequence[Any], spent: dict[str, float]) -> Done[np.ndarray] | Exception:
        store, recommender = self.pipeline.store, self.pipeline.recommender
        vectors: list[np.ndarray | Exception | None] = []
        for part in parts:
            if isinstance(part, bytes):
                vectors += read_pictures(self.encoder, store.content_dim, [part])
            elif isinstance(part, str):
                deaf = recommender.text_vectors is None
                vectors.append(no_encoder("input") if deaf else text_part(recommender, [part])[0])
            elif part["item"] in store.index:
                vectors.append(content_part(store, store.rows_of([part["item"]]))[0])
            else:
                vectors.append(Refusal(404, "item_not_found", "no such item has a vector; check the id", "input"))
        try:
            return Done(stacked(vectors), self.name, spent)
        except Refusal as wrong:
            return wrong
