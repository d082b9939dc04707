"""/v1/search, /v1/recommend, /v1/rank, /v1/compare."""

from fastapi import APIRouter, Request, Response

from navigator.serve.compare import Side
from navigator.serve.engine import Engine
from navigator.serve.exchange import Asked, Found
from navigator.serve.http import REFUSALS, TimeoutMs, ask, read_body
from navigator.serve.schemas import (
    Because,
    CompareAnswer,
    Compared,
    CompareRequest,
    OnBoard,
    RankAnswer,
    RankRequest,
    RecommendAnswer,
    Recommended,
    RecommendRequest,
    SearchAnswer,
    SearchRequest,
    Shown,
)
from navigator.serve.shelf import picture_path

router = APIRouter(prefix="/v1", tags=["search and recommendation"], responses=REFUSALS)


@router.post("/search")
async def search(
    body: SearchRequest, request: Request, response: Response, timeout_ms: TimeoutMs = None
) -> SearchAnswer:
    """Items by words, by a picture, or like another item."""
    asked = await read_body(request, body, body.text or "", body.image)
    reply = await ask(request, response, "search", asked, timeout_ms)
    results = shown(reply.engine, reply.answer)
    return SearchAnswer(release=reply.release, results=results, timings_ms=reply.stages_ms)


@router.post("/recommend")
async def recommend(
    body: RecommendRequest, request: Request, response: Response, timeout_ms: TimeoutMs = None
) -> RecommendAnswer:
    """What goes with a history, a board's title, words or a picture, and why."""
    asked = await read_body(request, body, f"{body.title}\n{body.text}", body.image)
    reply = await ask(request, response, "recommend", asked, timeout_ms)
    results = [
        Recommended(
            item=one.item, title=one.title, score=one.score, picture=picture_path(one.item), sources=one.sources,
            ranking=one.ranking, because=None if one.because is None else Because(**vars(one.because)),
            board=None if one.board is None else OnBoard(**vars(one.board)),
        )
        for one in reply.answer.results
    ]  # fmt: skip
    return RecommendAnswer(
        release=reply.release, candidates=reply.answer.candidates, ranked=reply.answer.ranked, results=results,
        timings_ms=reply.stages_ms,
    )  # fmt: skip


@router.post("/rank")
async def rank(body: RankRequest, request: Request, response: Response, timeout_ms: TimeoutMs = None) -> RankAnswer:
    """The candidates in the order in which someone with this history would want them, all read in one pass."""
    asked = await read_body(request, body, body.title, None)
    reply = await ask(request, response, "rank", asked, timeout_ms)
    results = shown(reply.engine, reply.answer)
    return RankAnswer(release=reply.release, results=results, timings_ms=reply.stages_ms)


@router.post("/compare")
async def compare(
    body: CompareRequest, request: Request, response: Response, timeout_ms: TimeoutMs = None
) -> CompareAnswer:
    """The same ranking by the swapped and by the native model, one after the other, measured now."""
    reply = await ask(request, response, "compare", Asked(body), timeout_ms)
    engine, sides = reply.engine, reply.answer

    def told(side: Side) -> Compared:
        return Compared(
            latency_ms=side.latency_ms, usd_per_1000=side.usd_per_1000, tokens=side.tokens,
            results=shown(engine, side.found),
        )  # fmt: skip

    return CompareAnswer(
        release=reply.release, candidates=sides.candidates, swapped=told(sides.swapped),
        native=None if sides.native is None else told(sides.native), timings_ms=reply.stages_ms,
    )  # fmt: skip


def shown(engine: Engine, found: Found) -> list[Shown]:
    """With titles and where the pictures are."""
    return [
        Shown(item=item, title=engine.title(item), score=round(score, 6), picture=picture_path(item))
        for item, score in zip(found.items, found.scores, strict=True)
    ]
