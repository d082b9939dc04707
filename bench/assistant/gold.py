"""The gold set: conversations, what each turn should bring, and which items were judged for it (README.md beside it).

One JSON object a line. A turn of the user expects items (graded 2 right, 1 acceptable, 0 wrong; what is not named was not
judged), a refusal (with the reason why the catalogue cannot serve it), talk, or nothing where its answer is given by the set.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from navigator.contracts import Catalog, UserError

GOLD = Path(__file__).with_name("gold.jsonl")
SPLITS = ("dev", "test")


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(_Row):
    type: Literal["text"]
    text: str


class Item(_Row):
    type: Literal["item"]
    item: str


class Picture(_Row):
    """A catalogue item's picture, changed so that it is not the item's own, done in this order."""

    type: Literal["picture"]
    item: str
    transform: Annotated[list[Literal["mirror", "grey", "rotate90"]], Field(min_length=1)]


class Shape(_Row):
    """Of a drawing of 256 x 256 pixels; points are x, y, x, y and so on; width is of a line."""

    kind: Literal["ellipse", "rectangle", "polygon", "line"]
    colour: str
    points: list[int]
    width: int = 1


class Drawing(_Row):
    type: Literal["drawing"]
    shapes: list[Shape]


Part = Annotated[Text | Item | Picture | Drawing, Field(discriminator="type")]


class Filters(_Row):
    """Sent with the request; exclude_seen: items that were shown before are not wanted again."""

    keyword: str | None = None
    board: str | None = None
    exclude_seen: bool = False


class Turn(_Row):
    """One message.

    Attributes:
        expect: what a turn of the user should bring; "given": the set answers it, nobody is asked. None for the assistant.
        grades: item -> grade of every judged item.
        never: items that the user has and asks for others than; showing them is wrong.
        why: what the catalogue has in place of what is asked for, where a refusal is expected.
    """

    role: Literal["user", "assistant"]
    content: str | list[Part]
    expect: Literal["items", "refuse", "talk", "given"] | None = None
    retrieval: Filters = Filters()
    grades: dict[str, Literal[0, 1, 2]] = {}
    never: list[str] = []
    why: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.role == "user") != (self.expect is not None):
            raise ValueError("every turn of the user, and no other, expects something")
        if (self.expect == "items") != (2 in self.grades.values()):
            raise ValueError("items are expected exactly where one is graded 2")
        if (self.expect == "refuse") != bool(self.why):
            raise ValueError("a refusal is expected exactly where `why` is said")
        if set(self.never) & set(self.grades):
            raise ValueError("an item must not be graded and forbidden")
        return self

    @property
    def parts(self) -> Sequence[Text | Item | Picture | Drawing]:
        """The content as parts."""
        return [Text(type="text", text=self.content)] if isinstance(self.content, str) else self.content

    @property
    def words(self) -> str:
        """The words alone."""
        return " ".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def items(self) -> list[str]:
        """Items that are parts of the message."""
        return [part.item for part in self.parts if isinstance(part, Item)]


class Conversation(_Row):
    """Turns in order; `stratum` is the kind of request."""

    id: str
    split: Literal["dev", "test"]
    stratum: str
    turns: Annotated[list[Turn], Field(min_length=2)]

    def asked(self) -> Iterator[tuple[int, Turn]]:
        """The turns that a system is asked, with their places."""
        return ((place, turn) for place, turn in enumerate(self.turns) if turn.expect not in (None, "given"))

    @property
    def last(self) -> int | None:
        """The place of the last turn that expects items."""
        return next((p for p, turn in reversed(list(self.asked())) if turn.expect == "items"), None)


def read_gold(path: Path) -> list[Conversation]:
    """All conversations.

    Raises:
        UserError: no such file, or a line that is no conversation.
    """
    if not path.is_file():
        raise UserError(
            f"gold set {path} does not exist; give a file with one conversation a line, or leave --gold out"
        )
    found: dict[str, Conversation] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            own = Conversation.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(f"{path}, line {number}, {where or 'the whole'}: {first['msg']}") from error
        if own.id in found:
            raise UserError(f"{path}, line {number}: a second conversation {own.id!r}; give every one its own id")
        found[own.id] = own
    return list(found.values())


def choose(conversations: Sequence[Conversation], split: str) -> list[Conversation]:
    """Those of a split, or of both.

    Raises:
        UserError: there is none.
    """
    chosen = [own for own in conversations if split in ("all", own.split)]
    if not chosen:
        raise UserError(f"the gold set has no conversation in split {split!r}; it has {len(conversations)} in all")
    return chosen


def check_catalog(conversations: Sequence[Conversation], catalog: Catalog) -> None:
    """Raises UserError where the set names what the catalogue has not: then it was made for another catalogue."""
    boards = set(catalog.table("boards", ["board_id"])["board_id"].to_pylist())
    for own in conversations:
        for turn in own.turns:
            pictures = [part.item for part in turn.parts if isinstance(part, Picture)]
            named = [*turn.items, *pictures, *turn.grades, *turn.never]
            missing = next((item for item in named if item not in catalog.item_index), None)
            board = turn.retrieval.board
            missing = board if missing is None and board is not None and board not in boards else missing
            if missing is not None:
                raise UserError(
                    f"conversation {own.id} names {missing!r}, which catalog {catalog.path} has not; give the catalogue that "
                    "the set was made for (--catalog), or a set of your own (--gold)"
                )
