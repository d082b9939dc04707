"""What search, recommendation and ranking take and give over HTTP, with an example of each; unknown fields are refused."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_K = 100
MAX_IDS = 1000
ItemId = Annotated[str, Field(min_length=1, max_length=512)]
Ids = Annotated[list[ItemId], Field(max_length=MAX_IDS)]
Words = Annotated[str, Field(max_length=2000)]
Label = Annotated[str, Field(min_length=1, max_length=200)]
PictureUrl = Annotated[
    str, Field(description="a picture as data URL: data:image/png;base64,... (PNG, JPEG or WebP); nothing is fetched")
]
K = Annotated[int, Field(ge=1, le=MAX_K, strict=True, description="how many items")]


def example(**fields: Any) -> ConfigDict:
    """A strict model's settings with one example."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [fields]})


class SearchRequest(BaseModel):
    """Exactly one of text, image and item."""

    model_config = example(text="red flower", k=5)

    text: Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S")] | None = None
    image: PictureUrl | None = None
    item: ItemId | None = Field(None, description="its neighbours, itself left out")
    k: K = 10
    keyword: Label | None = Field(None, description="only items that carry it")
    board: ItemId | None = Field(None, description="only items of this board")
    exclude: Ids = Field([], description="item ids that must not be found")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.text, self.image, self.item)) != 1:
            raise ValueError("give exactly one of text, image and item")
        return self


class RecommendRequest(BaseModel):
    """Something to go by is needed: a history, a title, text or an image."""

    model_config = example(history=["animals-cat-01"], title="cats", k=5)

    history: Ids = Field([], description="item ids, oldest first")
    title: Words = Field("", description="a board's title; the model reads it beside the history")
    text: Words = Field("", description="words whose nearest items are a source of candidates")
    image: PictureUrl | None = None
    k: K = 10
    exclude: Ids = []
    include_seen: bool = Field(False, description="whether items of the history may come back")
    keyword: Label | None = None
    board: ItemId | None = None
    session: Label | None = Field(
        None,
        description="an unguessable name of one user's visit: what was read of the history is kept until they return",
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.history or self.title.strip() or self.text.strip() or self.image):
            raise ValueError("give a history, a title, text or an image")
        return self


class RankRequest(BaseModel):
    """Candidates to put in the order in which someone with this history would want them."""

    model_config = example(history=["animals-cat-01"], candidates=["animals-dog-02", "tools-hammer"])

    history: Ids = []
    title: Words = ""
    candidates: Annotated[list[ItemId], Field(min_length=1, max_length=500)]

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.history or self.title.strip()):
            raise ValueError("give a history or a title")
        if len(set(self.candidates)) < len(self.candidates):
            raise ValueError("a candidate is named twice")
        return self


class Shown(BaseModel):
    """An item of an answer; `picture` is the path of its picture on this server."""

    item: str
    title: str
    score: float
    picture: str


class Because(BaseModel):
    item: str
    title: str
    cosine: float


class OnBoard(BaseModel):
    board: str
    title: str
    shared: int


class Recommended(Shown):
    """With its reasons.

    Attributes:
        sources: its place, from 1, in the list of each source that found it.
        ranking: its place by the model; null where the model had no voice.
        because: the history item that it is nearest to. board: one that holds it and items of the history.
    """

    sources: dict[str, int]
    ranking: int | None
    because: Because | None
    board: OnBoard | None


class SearchAnswer(BaseModel):
    object: Literal["search"] = "search"
    release: str
    results: list[Shown]
    timings_ms: dict[str, float]


class RecommendAnswer(BaseModel):
    object: Literal["recommendations"] = "recommendations"
    release: str
    candidates: int
    ranked: bool
    results: list[Recommended]
    timings_ms: dict[str, float]


class RankAnswer(BaseModel):
    object: Literal["ranking"] = "ranking"
    release: str
    results: list[Shown]
    timings_ms: dict[str, float]


class Item(BaseModel):
    item: str
    title: str
    description: str
    keywords: list[str]


class Board(BaseModel):
    board: str
    title: str
    items: int


class BoardItem(BaseModel):
    item: str
    title: str
    picture: str


class BoardContent(BaseModel):
    board: str
    title: str
    items: list[BoardItem]
    more: int = Field(description="further items that are not listed")


class CompareRequest(BaseModel):
    """The same ranking by the swapped and by the native model, one after the other, measured."""

    model_config = example(history=["animals-cat-01"], k=5)

    history: Annotated[list[ItemId], Field(min_length=1, max_length=MAX_IDS)]
    candidates: Annotated[list[ItemId], Field(max_length=100)] = Field(
        [], description="by default what retrieval finds"
    )
    k: Annotated[int, Field(ge=1, le=50, strict=True)] = 10


class Compared(BaseModel):
    latency_ms: float
    usd_per_1000: float | None = Field(description="null where the machine's price was not given (--usd_per_hour)")
    tokens: int
    results: list[Shown]


class CompareAnswer(BaseModel):
    object: Literal["comparison"] = "comparison"
    release: str
    candidates: int
    swapped: Compared
    native: Compared | None
    timings_ms: dict[str, float]
