"""The chat task's examples: conversations whose next word is `<|retrieve|>`, and conversations that need no search.

Wishes are made from the training part of the taste graph (a board's title and items) and from items' texts, through the lines
of chat_turns.yaml. A conversation that needs no search is answered in the model's own words from before training: they are
said once, at the start, and learned again (self-distillation), so that the model learns when to search and little else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from graph.crossfit import fold_of
from navigator.assistant.conversation import ItemPart, Turn
from navigator.assistant.grounding import Found
from navigator.assistant.turns import named
from navigator.assistant.writing import listing
from navigator.contracts.signals import TasteSequence
from train.tasks import Example, Shape, pool_of
from train.world import World

PARTS = ("train", "valid", "test")
# Of the wishes, by kind of line.
SHARES = {"search": 0.4, "like": 0.1, "like_words": 0.15, "again": 0.15, "refine": 0.2}
FOLLOW_UPS = ("again", "refine")  # come after an answer that listed items
TALKS = ("talk", "about_words", "about_item", "after")
WORDS = "{words}"
BY_TEXT = 0.5  # share of the wishes in words alone that take them from an item's text instead of a board's title
EARLIER = 0.25  # how often an exchange comes before a turn that needs none
POOL = 600  # conversations without a search that a run learns from
TITLE_WORDS = 5  # of an item's text, in wishes and in lists

Message = dict[str, Any]


@dataclass(frozen=True)
class ChatExample(Example):
    """A conversation; an ask, if it has one, is for what its last turn wishes, from the user's items (`wish_of`).

    Attributes:
        messages: the conversation, items as rows of the catalogue.
        answer: token ids of the answer's beginning; the retrieve token where the catalogue is to be searched, else the
            model's own words, () as long as it has not been asked.
    """

    messages: tuple[Message, ...] = ()
    answer: tuple[int, ...] = ()


def wish_of(messages: Sequence[Message]) -> tuple[str, list[int]]:
    """Words and items that a query starts from, see `named`."""
    words, items = named(turns_of(messages))
    return words, [int(item) for item in items]


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """Messages as the assistant reads them, items by their rows."""

    def part(own: dict[str, Any]) -> str | ItemPart:
        return ItemPart(str(own["item"])) if own["type"] == "item" else own["text"]

    return [Turn(message["role"], tuple(map(part, message["content"]))) for message in messages]


@cache
def turns(part: str) -> dict[str, list[str]]:
    """The lines of one part of chat_turns.yaml, by kind."""
    return yaml.safe_load((Path(__file__).parent / "chat_turns.yaml").read_text("utf-8"))[part]


def draw_chat(
    world: World, size: int, seed: int, step: int, shape: Shape, fold: int, pool: Sequence[ChatExample]
) -> list[ChatExample]:
    """A step's examples: wishes of owners of one fold (where there are folds), and as many conversations of `pool` in turn."""
    rng = np.random.default_rng([seed, step, 2])
    talks = [pool[(step * (size // 2) + n) % len(pool)] for n in range(size // 2)]
    return [*draw_searches(world, "train", size - len(talks), rng, shape, fold), *talks]


def draw_searches(
    world: World, part: str, size: int, rng: np.random.Generator, shape: Shape, fold: int = -1
) -> list[ChatExample]:
    """Conversations that end in a wish; half of the wishes in words alone take them from a board's title, half from a text."""
    boards = [s for s in pool_of(world, "chat") if fold < 0 or fold_of(s.owner, shape.folds) == fold]
    shares = SHARES if boards else {kind: SHARES[kind] for kind in ("search", *FOLLOW_UPS)}
    kinds = rng.choice(list(shares), size=size, p=np.array(list(shares.values())) / sum(shares.values()))
    return [_search(world, part, str(kind), _one(boards, rng) if boards else None, rng) for kind in kinds]


def talk_pool(world: World, part: str, size: int, seed: int) -> list[ChatExample]:
    """Conversations that need no search; every line of the part comes once before any comes again."""
    rng = np.random.default_rng([seed, PARTS.index(part), 7])
    lines = [(kind, line) for kind in TALKS for line in turns(part)[kind]]
    order = [lines[i] for _ in range(-(-size // len(lines))) for i in rng.permutation(len(lines))]
    return [_talk(world, part, kind, line, rng) for kind, line in order[:size]]


def wish(
    world: World, part: str, title: str, shown: Sequence[int], rng: np.random.Generator, targets: Sequence[int] = ()
) -> ChatExample:  # fmt: skip
    """A conversation about a board: its title in a line of `part`, with the items `shown` if there are some."""
    line = _one(turns(part)["like_words" if shown else "search"], rng).replace(WORDS, title)
    return _asking(world, [_user(line, shown)], targets, targets)


def _search(world: World, part: str, kind: str, board: TasteSequence | None, rng: np.random.Generator) -> ChatExample:
    line, spoken = _one(turns(part)[kind], rng), []
    before = _exchange(world, part, rng) if kind in FOLLOW_UPS or rng.random() < EARLIER else []
    if kind in FOLLOW_UPS and WORDS not in line:  # what is wished, only the list says: a search, but no query to learn
        return _asking(world, [*before, _user(line, [])], (), ())
    if board is None or (kind in ("search", *FOLLOW_UPS) and rng.random() < BY_TEXT):
        target = _item(world, part, rng)
        words, positives = title_of(world, target), world.twins.get(world.texts[target], (target,))
    else:
        items = [board.items[i] for i in rng.permutation(len(board.items))]
        spoken = items[1 : 1 + int(rng.integers(1, 4))] if kind in ("like", "like_words") else []
        target, words, positives = items[0], board.title, board.items
    return _asking(world, [*before, _user(line.replace(WORDS, words), spoken)], [target], positives)


def _talk(world: World, part: str, kind: str, line: str, rng: np.random.Generator) -> ChatExample:
    item = _item(world, part, rng)
    before = _exchange(world, part, rng) if kind == "after" or rng.random() < EARLIER else []
    spoken = line.replace(WORDS, title_of(world, _item(world, part, rng)))
    return ChatExample((), (), (), messages=(*before, _user(spoken, [item] if kind == "about_item" else [])))


def _exchange(world: World, part: str, rng: np.random.Generator) -> list[Message]:
    """A wish in words and the assistant's list of two items, the one wished for and another."""
    items = [_item(world, part, rng) for _ in range(2)]
    line = _one(turns(part)["search"], rng).replace(WORDS, title_of(world, items[0]))
    found = Found(tuple(map(str, items)), tuple(title_of(world, i) for i in items), line)
    return [_user(line, []), {"role": "assistant", "content": [{"type": "text", "text": listing(found)}]}]


def _asking(world: World, messages: list[Message], targets: Sequence[int], positives: Sequence[int]) -> ChatExample:
    """A conversation to be searched for; without targets no query is learned of it."""
    words, items = wish_of(messages)
    token, asks = world.recommender.processor.retrieve_token_id, (len(items),) if targets else ()
    return ChatExample(
        tuple(items), asks, tuple(targets[:1]), tuple(positives), words, messages=tuple(messages), answer=(token,)
    )


def _user(line: str, items: Sequence[int]) -> Message:
    parts = [{"type": "item", "item": int(item)} for item in items]
    return {"role": "user", "content": [*parts, {"type": "text", "text": line}]}


def title_of(world: World, item: int) -> str:
    """An item's text up to its first full stop, at most TITLE_WORDS words."""
    return " ".join(world.texts[item].split(". ")[0].split()[:TITLE_WORDS])


def _item(world: World, part: str, rng: np.random.Generator) -> int:
    """An item with words; outside train one of those that describe never shows, if there are any."""
    return int(_one(world.described if part == "train" or not len(world.spared) else world.spared, rng))


def _one(found: Sequence[Any] | np.ndarray, rng: np.random.Generator) -> Any:
    return found[int(rng.integers(len(found)))]
