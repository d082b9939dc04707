"""The command `navigator-bench frontier`: hosted models asked the bench's queries, with a limit of money that holds."""

from pathlib import Path
from typing import Any

from bench.frontier.options import Options, ResponseFormat
from navigator.contracts.errors import UserError
from navigator.contracts.signals import Task


def frontier(
    catalog: Path,
    vectors: Path,
    graph: Path,
    out: Path = Path("runs/frontier-report"),
    model_name: list[str] | None = None,
    base_url: str | None = None,
    queries: int = 50,
    candidates: int = 20,
    task: Task = "board-completion",
    max_history: int = 20,
    titles: bool = True,
    pictures: bool = True,
    picture_px: int = 448,
    shuffle: bool = False,
    response_format: ResponseFormat = "json_schema",
    max_output_tokens: int = 2000,
    reasoning_effort: str | None = None,
    temperature: float | None = None,
    prices: Path | None = None,
    priced_as: dict[str, str] | None = None,
    max_usd: float = 5.0,
    answers: Path | None = None,
    timeout_s: float = 60.0,
    retries: int = 4,
    max_wait_s: float = 120.0,
    concurrency: int = 4,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Ask hosted models to re-rank what content finds: quality, latency, errors, tokens and US$, measured and by formula.

    Args:
        catalog: catalogue folder.
        vectors: store of the item vectors that content searches.
        graph: taste graph folder; its split gives the queries.
        out: report folder to write.
        model_name: models as the endpoint names them, asked one after the other; default are those the price file prices.
        base_url: an OpenAI-compatible endpoint, the part before /chat/completions, such as https://api.openai.com/v1. Its key
            is taken from the environment variable NAVIGATOR_FRONTIER_KEY (any word for a server that wants none). Without
            both nothing is sent: the cost is computed by the vendors' token rules, and what would be measured is null.
        queries: how many test queries are asked, drawn with the seed and in random order; 0 is all.
        candidates: how many of content's first items are to be re-ranked.
        task: board-completion or next-item.
        max_history: latest saved items that are shown, and that content reads.
        titles: whether the model may read the board's title (content cannot).
        pictures: whether pictures are sent; false sends the items' texts alone.
        picture_px: pictures are fitted into so many pixels a side, never enlarged.
        shuffle: number the candidates in random order; by default they are in the order that content gives them.
        response_format: json_schema, or json_object or text for endpoints that lack it; the answer is read as strictly.
        max_output_tokens: most tokens of an answer, thinking included; an answer that reaches it is an error.
        reasoning_effort: sent as it is, such as minimal or low, where the model knows it.
        temperature: sent where given; some models take none.
        prices: price file instead of bench/prices.json, of the same form.
        priced_as: name=entry, the entry of the price file for a model that the endpoint calls by another name.
        max_usd: US$ that may be spent in all, by this run and those before it that --answers knows of. What a request can
            cost at most is set aside before it is sent. inf is no limit, and the only choice for a model without a price.
        answers: file of everything sent and answered; default is OUT.answers.jsonl. What it holds is not asked again.
        timeout_s: seconds for a whole response.
        retries: attempts after the first, on 408, 409, 429, 5xx, time-outs and lost connections.
        max_wait_s: a request is given up when the endpoint asks to wait longer.
        concurrency: requests under way at once; latency is measured under this load.
        requests_per_minute: most attempts in any 60 seconds.
        tokens_per_minute: most tokens in any 60 seconds; until its usage is known a request counts with the expected input
            and the longest output (of a model without a price, the output alone).
        seed: of the drawn queries, the order of candidates, waiting and resampling.

    Returns:
        Where the report is, a row a model, what was spent, and the table as text.

    Raises:
        UserError: a missing or foreign input, a model without a price, an option out of range, no openai package.
    """
    options = Options(
        catalog, vectors, graph, out, list(dict.fromkeys(model_name or [])), base_url, queries, candidates, task, max_history,
        titles, pictures, picture_px, shuffle, response_format, max_output_tokens, reasoning_effort, temperature, prices,
        priced_as or {}, max_usd, answers, timeout_s, retries, max_wait_s, concurrency, requests_per_minute,
        tokens_per_minute, seed,
    )  # fmt: skip
    _check(options)
    from bench.frontier.run import ask_models

    return ask_models(options)


def _check(options: Options) -> None:
    least = {
        "queries": 0, "candidates": 2, "max_history": 1, "picture_px": 16, "max_output_tokens": 1, "max_usd": 0, "retries": 0,
        "max_wait_s": 0, "concurrency": 1,
    }  # fmt: skip
    low = next((name for name, limit in least.items() if not getattr(options, name) >= limit), None)
    if low is not None:
        raise UserError(f"{low} is {getattr(options, low)}; allowed are numbers from {least[low]}")
    above = ("timeout_s", "requests_per_minute", "tokens_per_minute")
    bad = next((name for name in above if (value := getattr(options, name)) is not None and not value > 0), None)
    if bad is not None:
        raise UserError(f"{bad} is {getattr(options, bad)}; allowed are numbers above 0")
