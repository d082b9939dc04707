"""/v1/embeddings and /v1/models, as OpenAI's."""

import base64

import numpy as np
from fastapi import APIRouter, Request, Response

from navigator.contracts.vectors import normalise
from navigator.refusal import Refusal
from navigator.serve.exchange import Asked
from navigator.serve.http import REFUSALS, TimeoutMs, ask, engine_of, read_body, read_picture
from navigator.serve.openai_schemas import (
    Embedding,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    ImagePart,
    ItemPart,
    ModelCard,
    ModelList,
    Part,
    TextPart,
    Usage,
)

router = APIRouter(prefix="/v1", tags=["OpenAI"], responses=REFUSALS)


@router.post("/embeddings")
async def embeddings(
    body: EmbeddingsRequest, request: Request, response: Response, timeout_ms: TimeoutMs = None
) -> EmbeddingsAnswer:
    """Unit vectors of words, pictures and items in the encoder's space; `dimensions` cuts them short (Matryoshka)."""
    given = [body.input] if isinstance(body.input, str) else body.input
    texts = [part for part in given if isinstance(part, str)] + [
        part.text for part in given if isinstance(part, TextPart)
    ]
    await read_body(request, body, "\n".join(texts), None)
    parts = [await _content(request, part) for part in given]
    reply = await ask(request, response, "embed", Asked(parts), timeout_ms)
    vectors: np.ndarray = reply.answer
    if body.dimensions is not None:
        if body.dimensions > vectors.shape[1]:
            raise Refusal(400, "too_many_dimensions", f"allowed are 1 to {vectors.shape[1]} dimensions", "dimensions")
        vectors = normalise(vectors[:, : body.dimensions])
    tokenizer = reply.engine.pipeline.recommender.processor.tokenizer
    read = sum(len(tokenizer.encode(text, add_special_tokens=False)) for text in texts)
    return EmbeddingsAnswer(
        model=body.model, release=reply.release, usage=Usage(prompt_tokens=read, total_tokens=read),
        data=[Embedding(index=n, embedding=_written(row, body.encoding_format)) for n, row in enumerate(vectors)],
    )  # fmt: skip


@router.get("/models")
def models(request: Request) -> ModelList:
    """The one model that answers, by the name of its release."""
    engine = engine_of(request)
    recommender = engine.pipeline.recommender
    store = engine.pipeline.store
    told = {
        "items": len(store.ids), "dim": store.dim, "backbone": recommender.model.config.model_type,
        "tokens_per_item": recommender.tokens_per_item, "max_history": recommender.max_history,
    }  # fmt: skip
    return ModelList(data=[ModelCard(id=engine.name, created=engine.created, navigator=told)])


async def _content(request: Request, part: str | Part) -> object:
    """What Engine.embed takes."""
    if isinstance(part, ImagePart):
        return await read_picture(request, part.image_url.url, "input")
    if isinstance(part, ItemPart):
        return {"item": part.item}
    return part.text if isinstance(part, TextPart) else part


def _written(vector: np.ndarray, encoding: str) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(np.ascontiguousarray(vector, "<f4").tobytes()).decode()
    return vector.astype(float).tolist()
