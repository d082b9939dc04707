"""What is scored: the assistant, and what an outsider would try first, plain search on the words of the user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from bench.assistant.client import Endpoint, Reply
from bench.assistant.gold import Drawing, Item, Picture, Text, Turn
from bench.assistant.pictures import data_url

ASSISTANT, LAST, ALL = "assistant", "search-last-turn", "search-all-turns"
SYSTEMS = (ASSISTANT, LAST, ALL)
ASKED_FOR = 10
Echo = Literal["items", "text"]


@dataclass(frozen=True)
class Said:
    """A message of the conversation so far: a turn of the set, or a system's own earlier reply."""

    role: str
    turn: Turn | None = None
    reply: Reply | None = None


class System(Protocol):
    """Answers the last message of a conversation."""

    name: str

    def answer(self, said: Sequence[Said], turn: Turn, seen: Sequence[str]) -> Reply:
        """`turn` is the last of `said`; `seen` are the items shown or given before, oldest first."""
        ...


class Assistant:
    """The chat endpoint: gets the whole conversation.

    Args:
        endpoint: where.
        images: pictures of catalogue items that messages show.
        echo: what of an earlier answer is sent back: its words and its items, or its words alone as a stock client does.
        mode: of retrieval: auto, always or never.
        max_tokens: of an answer.
    """

    name = ASSISTANT

    def __init__(self, endpoint: Endpoint, images: Mapping[str, bytes], echo: Echo, mode: str, max_tokens: int):
        self.endpoint, self.images, self.echo, self.mode, self.max_tokens = endpoint, images, echo, mode, max_tokens

    def answer(self, said: Sequence[Said], turn: Turn, seen: Sequence[str]) -> Reply:
        """See System; what was seen the server must find in the messages."""
        filters = turn.retrieval.model_dump(exclude_none=True)
        return self.endpoint.chat(
            {
                "model": "navigator", "messages": [self._message(own) for own in said], "temperature": 0,
                "max_tokens": self.max_tokens, "retrieval": {**filters, "k": ASKED_FOR, "mode": self.mode},
            }
        )  # fmt: skip

    def _message(self, said: Said) -> dict[str, Any]:
        if said.reply is not None:
            words, items = said.reply.text, said.reply.items
        else:
            assert said.turn is not None
            if said.role == "user":
                return {"role": "user", "content": [self._part(part) for part in said.turn.parts]}
            words, items = said.turn.words, said.turn.items
        if self.echo == "text" or not items:
            return {"role": "assistant", "content": words}
        return {"role": "assistant", "content": [{"type": "text", "text": words}, *map(_item, items)]}

    def _part(self, part: Text | Item | Picture | Drawing) -> dict[str, Any]:
        if isinstance(part, (Picture, Drawing)):
            return {"type": "image_url", "image_url": {"url": data_url(part, self.images)}}
        return part.model_dump()


class Search:
    """Plain search, which knows no conversation: the picture, else the item, else the words of the last turn; or the words of
    all turns of the user in a row. Items seen are excluded where the turn asks for it, as any shop can; it refuses only
    when it finds nothing.
    """

    def __init__(self, endpoint: Endpoint, images: Mapping[str, bytes], every_turn: bool):
        self.endpoint, self.images, self.every_turn = endpoint, images, every_turn
        self.name = ALL if every_turn else LAST

    def answer(self, said: Sequence[Said], turn: Turn, seen: Sequence[str]) -> Reply:
        """See System."""
        asked = self._words(said) if self.every_turn else self._best(turn)
        filters = turn.retrieval.model_dump(exclude_none=True, exclude={"exclude_seen"})
        exclude = list(dict.fromkeys(seen)) if turn.retrieval.exclude_seen else []
        return self.endpoint.search({**asked, **filters, "k": ASKED_FOR, "exclude": exclude})

    def _words(self, said: Sequence[Said]) -> dict[str, Any]:
        return {"text": " ".join(own.turn.words for own in said if own.role == "user" and own.turn)}

    def _best(self, turn: Turn) -> dict[str, Any]:
        drawn = next((part for part in turn.parts if isinstance(part, (Picture, Drawing))), None)
        if drawn is not None:
            return {"image": data_url(drawn, self.images)}
        return {"item": turn.items[0]} if turn.items else {"text": turn.words}


def _item(item: str) -> dict[str, str]:
    return {"type": "item", "item": item}
