"""OpenAI's embeddings, chat completions and model list as far as they are served; fields that mean nothing here are ignored.

The one addition is the content part {"type": "item", "item": ID}, and `retrieval` in a chat request.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from navigator.serve.schemas import ItemId, Label, Shown, example


class Tolerant(BaseModel):
    """OpenAI's clients send fields that this server has no use for."""

    model_config = ConfigDict(extra="ignore")


class TextPart(Tolerant):
    type: Literal["text"]
    text: Annotated[str, Field(max_length=20_000)]


class ImageUrl(Tolerant):
    url: str = Field(description="a data URL: data:image/png;base64,...; nothing is fetched")


class ImagePart(Tolerant):
    type: Literal["image_url"]
    image_url: ImageUrl


class ItemPart(Tolerant):
    type: Literal["item"]
    item: ItemId


Part = Annotated[TextPart | ImagePart | ItemPart, Field(discriminator="type")]
ModelName = Annotated[str, Field(max_length=200)]  # is repeated in the answer; a limit also keeps out half a surrogate
Input = Annotated[str, Field(min_length=1, max_length=20_000)]


class EmbeddingsRequest(Tolerant):
    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"model": "navigator", "input": ["a red flower", "a cat"]}]}
    )

    model: ModelName = "navigator"
    input: (
        Input
        | Annotated[list[Input], Field(min_length=1, max_length=256)]
        | Annotated[list[Part], Field(min_length=1, max_length=256)]
    )
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1, le=65536, strict=True)] | None = None


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    object: Literal["list"] = "list"
    model: str
    data: list[Embedding]
    usage: Usage
    release: str


class Message(Tolerant):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, Field(max_length=20_000)] | Annotated[list[Part], Field(max_length=64)]


class Retrieval(BaseModel):
    """How the assistant searches.

    Attributes:
        mode: auto leaves it to the model (see the README for which models decide by themselves), always, never.
    """

    model_config = example(keyword="animal", exclude_seen=True, k=6)

    keyword: Label | None = None
    board: ItemId | None = None
    exclude_seen: bool = True
    k: Annotated[int, Field(ge=1, le=20, strict=True)] = 6
    mode: Literal["auto", "always", "never"] = "auto"


class StreamOptions(Tolerant):
    include_usage: bool = False


class ChatRequest(Tolerant):
    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {"model": "navigator", "messages": [{"role": "user", "content": "I need pictures of a red flower"}]}
            ]
        },
    )

    model: ModelName = "navigator"
    messages: Annotated[list[Message], Field(min_length=1, max_length=200)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Literal[1] | None = None
    user: Annotated[str, Field(max_length=200)] | None = None
    retrieval: Retrieval = Retrieval()


class AssistantMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    index: int = 0
    message: AssistantMessage
    finish_reason: Literal["stop", "length"] = "stop"
    logprobs: None = None


class Grounding(BaseModel):
    """What lies behind an answer.

    Attributes:
        items: what was retrieved; the text names no other. removed: sentences that did and were taken out.
        refused: the catalogue has nothing that fits. templated: the text was made from the titles, not by the model.
    """

    release: str
    items: list[Shown]
    retrieved: bool
    refused: bool
    grounded: bool
    removed: int
    templated: bool
    timings_ms: dict[str, float]


class ChatAnswer(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    navigator: Grounding


class ModelCard(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "navigator"
    navigator: dict[str, Any]


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]
