"""Conversations turn by turn, each with the system's own earlier answers in it: one row a request, whatever became of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tqdm import tqdm

from bench.assistant.client import Reply
from bench.assistant.gold import Conversation, Turn
from bench.assistant.systems import Said, System

NOT_ASKED = "not asked: an earlier turn of the conversation failed"


@dataclass(frozen=True)
class Asked:
    """One turn that one system was asked.

    Attributes:
        place: of the turn in the conversation.
        seen: items that were shown or given before, oldest first.
        given: items that the user gave, this turn included.
        said: the words of the user so far.
    """

    system: str
    conversation: Conversation
    place: int
    reply: Reply
    seen: tuple[str, ...]
    given: tuple[str, ...]
    said: str

    @property
    def turn(self) -> Turn:
        """What was asked."""
        return self.conversation.turns[self.place]


def replay(conversations: Sequence[Conversation], systems: Sequence[System]) -> list[Asked]:
    """Ask every system every turn; systems take turns conversation by conversation, so that a slow minute hits them alike."""
    rows = []
    for number, own in enumerate(tqdm(conversations, desc="conversations", unit="conv")):
        turn = number % max(len(systems), 1)
        for system in [*systems[turn:], *systems[:turn]]:
            rows += _one(own, system)
    return rows


def _one(conversation: Conversation, system: System) -> list[Asked]:
    rows: list[Asked] = []
    said: list[Said] = []
    seen: list[str] = []
    given: list[str] = []
    asked = dict(conversation.asked())
    failed = False
    for place, turn in enumerate(conversation.turns):
        said.append(Said(turn.role, turn))
        if place in asked:
            reply = Reply(error=NOT_ASKED) if failed else system.answer(said, turn, seen)
            failed = reply.error is not None
            words = " ".join(own.turn.words for own in said if own.role == "user" and own.turn)
            rows.append(Asked(system.name, conversation, place, reply, tuple(seen), (*given, *turn.items), words))
            said.append(Said("assistant", reply=reply))
            seen += reply.items
        seen += turn.items
        given += turn.items if turn.role == "user" else []
    return rows
