"""The command `navigator-bench assistant`: how well a conversation over HTTP finds, names and refuses."""

from pathlib import Path
from typing import Any, Literal

from navigator.contracts.errors import UserError


def assistant(
    url: str = "http://127.0.0.1:8000",
    catalog: Path = Path("runs/demo/catalog"),
    gold: Path | None = None,
    split: Literal["dev", "test", "all"] = "test",
    out: Path = Path("runs/assistant-report"),
    echo: Literal["items", "text"] = "items",
    mode: Literal["auto", "always", "never"] = "auto",
    max_tokens: int = 96,
    baselines: bool = True,
    timeout_s: float = 60.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Score the assistant behind a running server on 60 conversations over openclipart: NDCG@10, groundedness, refusals.

    Every conversation is replayed turn by turn with the server's own earlier answers in it; plain search answers the same turns
    beside it. Nothing of the server's process is used but POST /v1/chat/completions and POST /v1/search.

    Args:
        url: where the server listens, without a path. Headers, such as a key, come from the environment variable
            NAVIGATOR_LOAD_HEADERS, one "Name: value" a line; they are sent and never written down.
        catalog: the catalogue that the server serves: titles, keywords and boards are checked against it.
        gold: a gold set of your own, one conversation a line; default the one over openclipart that comes with the bench.
        split: conversations: test for figures to report, dev for tuning, or all.
        out: report folder to write; the server is asked anew every time.
        echo: what of an earlier answer goes back to the server: its words and its items as content parts, or its words alone,
            as a stock client sends it.
        mode: of retrieval: auto leaves it to the server whether to search, always, or never.
        max_tokens: of an answer.
        baselines: also score plain search on the last turn and on all turns of the user.
        timeout_s: seconds after which a request has failed.
        seed: of resampling.

    Returns:
        Where the report is, the figures of every system, and the tables as text. Exit code 1 when every request of the
        assistant failed.

    Raises:
        UserError: no server at the address, a missing catalogue, a gold set that is not of this catalogue.
    """
    for name, value in {"max_tokens": max_tokens, "timeout_s": timeout_s}.items():
        if value <= 0:
            raise UserError(f"{name} is {value}; allowed are numbers above 0")
    from bench.assistant.options import Options
    from bench.assistant.run import measure_assistant

    return measure_assistant(
        Options(url, catalog, gold, split, out, echo, mode, max_tokens, baselines, timeout_s, seed)
    )
