"""A conversation as the assistant reads it: turns of words, pictures and items, and what was shown in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from navigator.contracts import ItemVectors
from navigator.refusal import Refusal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class ItemPart:
    """An item of the catalogue, shown by its id."""

    item: str


@dataclass(frozen=True)
class Turn:
    """One message; a part is words, the bytes of a picture, or an item."""

    role: Role
    parts: tuple[str | bytes | ItemPart, ...]

    @property
    def words(self) -> str:
        return " ".join(part for part in self.parts if isinstance(part, str)).strip()

    @property
    def items(self) -> list[str]:
        return [part.item for part in self.parts if isinstance(part, ItemPart)]

    @property
    def pictures(self) -> list[bytes]:
        return [part for part in self.parts if isinstance(part, bytes)]


def check(turns: Sequence[Turn], store: ItemVectors) -> None:
    """Raises Refusal: nothing was asked, or an item that no vector is known of."""
    if not turns or turns[-1].role != "user":
        raise Refusal(400, "no_question", "the last message must be the user's; send what is asked", "messages")
    if not turns[-1].parts:
        raise Refusal(400, "no_question", "the last message is empty; say what is asked", "messages")
    for turn in turns:
        for item in turn.items:
            if item not in store.index:
                raise Refusal(404, "item_not_found", "no such item has a vector; check the id", "messages")
