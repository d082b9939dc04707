"""A turn of the assistant: from a conversation to a plan, from what the model then says to an answer that names only finds.

    plan      the wish is read from all turns (wish.py), searched (finding.py), refused where the catalogue lacks it
              (stock.py), and what was found goes before the model as numbered item tokens (writing.py)
    generate  many plans at once (batch.py)
    answer    only sentences that name nothing else stay (grounding.py); a plain sentence names what was found, where the
              model did not

Nothing is kept of a conversation but a memory of plans, which only saves work: what an earlier turn showed is found again
by reading that turn again.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from navigator.assistant import writing
from navigator.assistant.conversation import Turn, check
from navigator.assistant.decide import Decider
from navigator.assistant.finding import Filters, Finder, Hits
from navigator.assistant.grounding import Found, Titles
from navigator.assistant.guide import BEGIN, Guide, opening_tokens
from navigator.assistant.requests import Prompt
from navigator.assistant.stock import Stock
from navigator.assistant.wish import Reader, Wish
from navigator.contracts.vectors import as_stored, normalise
from navigator.pipeline import Pipeline
from navigator.refusal import Refusal

PictureVectors = Callable[[Sequence[bytes]], np.ndarray]
REMEMBERED = 2048  # shown items of conversations, by what was said
Mode = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class Retrieval(Filters):
    """How a turn searches; `mode`: auto lets the model or the rule decide (see decide.py), always, never."""

    mode: Mode = "auto"


@dataclass(frozen=True)
class Plan:
    """What is to be said of a turn.

    Attributes:
        found: items with their titles, which the answer may name.
        scores: of them.
        retrieved: whether a search was made.
        refused: the catalogue has nothing that fits.
        wish: what was understood.
        prompt: what the model continues; None where `reply` is said as it is.
        reply: a plain answer: said where there is no prompt or the model's text is of no use.
        dropped_turns: oldest turns that did not fit into the context.
        prompt_tokens: tokens that the model reads.
        timings_ms: by stage.
    """

    found: Found
    scores: list[float]
    retrieved: bool
    refused: bool
    wish: Wish
    prompt: Prompt | None
    reply: str
    dropped_turns: int = 0
    prompt_tokens: int = 0
    timings_ms: dict[str, float] = field(default_factory=dict)


class Assistant:
    """Plans turns over an opened pipeline; may be called by several threads.

    Args:
        pipeline: model, vectors, index and catalogue.
        encode_pictures: bytes of n pictures -> (n, E) unit vectors of the content encoder; None: pictures are refused.
        context_tokens: how long a prompt may be; the oldest turns drop out first.
    """

    def __init__(self, pipeline: Pipeline, encode_pictures: PictureVectors | None = None, context_tokens: int = 1536):
        recommender = pipeline.recommender
        self.pipeline, self.store, self.processor = pipeline, pipeline.store, recommender.processor
        self.encode_pictures, self.context_tokens = encode_pictures, context_tokens
        self.stock = Stock.of(pipeline.catalog, self.store, recommender.text_vectors, self.processor.tokenizer)
        self.finder = Finder(pipeline, self.stock)
        self.decider = Decider(recommender)
        self._opening = opening_tokens(self.processor.tokenizer)
        self.titles = Titles(pipeline.titles.values())
        self._remembered: OrderedDict[tuple, tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def plan(self, turns: Sequence[Turn], retrieval: Retrieval | None = None) -> Plan:
        """What to say to the last turn.

        Args:
            turns: the conversation, oldest first, the last one the user's. What earlier turns of the assistant showed is
                taken from their item parts; where they have none, it is found again.
            retrieval: filters and mode.

        Raises:
            Refusal: an unknown item, keyword or board, a picture without an encoder, no question.
        """
        check(turns, self.store)
        retrieval, started = retrieval or Retrieval(), time.perf_counter()
        wish, seen = self._read(turns, retrieval)
        sought, query = self._seeks(turns, wish, retrieval)
        hits, refused = Hits([], [], None), False
        if sought:
            hits = self.finder.find(wish, self._picture(wish), retrieval, seen, query)
            refused = self._lacks(wish, hits, retrieval)
        items = list(wish.items) if wish.about and not sought else [] if refused else hits.items
        user = " ".join(turn.words for turn in turns if turn.role == "user")
        found = Found(tuple(items), tuple(self.pipeline.titles.get(item) or "" for item in items), user)
        searched = round((time.perf_counter() - started) * 1000, 3)
        scores = [] if refused or not sought else hits.scores
        made, dropped = (None, 0) if refused or (sought and not items) else self._prompt(turns, found, wish)
        self._remember(turns, retrieval, found.items)
        return Plan(
            found, scores, sought, refused, wish, made, self._reply(wish, found, sought, refused), dropped,
            len(made.ids) if made else 0, {"retrieve": searched},
        )  # fmt: skip

    def _read(self, turns: Sequence[Turn], retrieval: Retrieval) -> tuple[Wish, list[str]]:
        """The wish after all turns, and the items that were shown before the last one."""
        reader, seen, wish = Reader(self.finder.nearest_of), [], Wish()
        for n, turn in enumerate(turns):
            if turn.role == "user":
                if n and turns[n - 1].role == "assistant":
                    shown = turns[n - 1].items or self._shown(turns[: n - 1], retrieval)
                    reader.shown = shown or reader.shown
                    seen += shown
                wish = reader.read(turn)
        return wish, [*seen, *(item for turn in turns for item in turn.items)]

    def _shown(self, turns: Sequence[Turn], retrieval: Retrieval) -> list[str]:
        """What the answer to these turns showed."""
        if not turns or turns[-1].role != "user":
            return []
        with self._lock:
            known = self._remembered.get((tuple(turns), retrieval))
        return list(known if known is not None else self.plan(turns, retrieval).found.items)

    def _remember(self, turns: Sequence[Turn], retrieval: Retrieval, items: tuple[str, ...]) -> None:
        with self._lock:
            self._remembered[(tuple(turns), retrieval)] = items
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)

    def _seeks(self, turns: Sequence[Turn], wish: Wish, retrieval: Retrieval) -> tuple[bool, np.ndarray | None]:
        """Whether this turn searches, and with which query of the model. Without anything to go by nothing can be sought."""
        if retrieval.mode == "never" or wish.empty:
            return False, None
        return self.decider.decide(turns, wish, self._pictures, retrieval.mode == "always")

    def _lacks(self, wish: Wish, hits: Hits, retrieval: Retrieval) -> bool:
        """Only words are judged: what is near to an item or a picture is what was asked for."""
        if wish.nearest or wish.items or wish.pictures or hits.cosine is None:
            return False
        return self.stock.lacks(wish.named, wish.heads, hits.cosine)

    def _picture(self, wish: Wish) -> np.ndarray | None:
        if not wish.pictures:
            return None
        return normalise(self._encoded(wish.pictures)[:, : self.store.content_dim].mean(0))

    def _encoded(self, pictures: Sequence[bytes]) -> np.ndarray:
        if self.encode_pictures is None:
            raise Refusal(
                400, "no_encoder", "this server was started without an encoder; ask by words or items", "messages"
            )
        return np.asarray(self.encode_pictures(list(pictures)), np.float32)

    def _pictures(self, turns: Sequence[Turn]) -> np.ndarray:
        """(P, D) what the tower reads of these turns' pictures."""
        pictures = [picture for turn in turns for picture in turn.pictures]
        if not pictures:
            return np.zeros((0, self.store.dim), np.float32)
        return as_stored(self._encoded(pictures), self.store.content_dim, self.store.dim)

    def _prompt(self, turns: Sequence[Turn], found: Found, wish: Wish) -> tuple[Prompt, int]:
        read, most = self._pictures(turns), self.context_tokens
        prompt, dropped = writing.prompt(self.processor, self.store, turns, read, found, most)
        guide = self._guide(found) if found.items and not wish.about else None
        return replace(prompt, guide=guide), dropped

    def _guide(self, found: Found) -> Guide:
        return Guide(found, self.processor.tokenizer, self._opening, "" if self.decider.emits else BEGIN)

    def _reply(self, wish: Wish, found: Found, sought: bool, refused: bool) -> str:
        if refused:
            return writing.refusal(wish.text)
        if sought:
            return writing.listing(found, wish.nearest)
        if wish.about and found.items:
            return writing.about(found)
        return writing.THANKS if wish.small_talk == "thanks" else writing.GREETING
