"""The command `navigator-bench serving`: what a server of ours bears, by an independent generator."""

from pathlib import Path
from typing import Any

from bench.serving.options import LOADS, Options
from navigator.contracts.errors import UserError


def serving(
    url: str, catalog: Path, compare: str | None = None, out: Path = Path("runs/serving"), loads: list[str] | None = None,
    concurrency: list[int] | None = None, seconds: float = 5.0, rounds: int = 3, bar_clients: int = 16, bar: float = 3.0,
    timeout_s: float = 30.0, wrk: str = "wrk", seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Load a running `navigator serve` with wrk: throughput and P50/P95/P99 against the number of clients.

    With --compare a second server, started with --batching.batch_size 1, is measured in turns with the first, and the report
    says how much batching gives. What happens beyond the capacity is `navigator-bench load --url`'s part.

    Args:
        url: of the server, http://127.0.0.1:8000, started with --per_minute 0 or with keys that allow enough; headers, such
            as a key, come from the environment variable NAVIGATOR_LOAD_HEADERS, one "Name: value" a line.
        catalog: the catalogue that it serves; requests are drawn from its keywords and items.
        compare: of a server that answers one request at a time.
        out: report folder to write.
        loads: search (two or three keywords; none twice, so that no text is remembered), recommend (histories of 1 to 20
            items), recommend-short (of one item), chat (one turn of two or three keywords, 24 tokens). Default all.
        concurrency: numbers of clients, each of which sends its next request when its last is answered. Default
            1,2,4,8,16,32,64.
        seconds: of every measurement; as long a warm-up goes before a server's first.
        rounds: measurements of every point, in turns; the report gives their medians, and the lowest and highest.
        bar_clients: clients at which the gain of batching is judged.
        bar: gain that is wanted there.
        timeout_s: after which wrk counts a request as lost.
        wrk: the program.
        seed: of the drawn requests.

    Returns:
        Where the report is, the gain at each number of clients, and the tables as text.

    Raises:
        UserError: no wrk, no server there, an option out of range.
    """
    options = Options(
        url.rstrip("/"), catalog, compare and compare.rstrip("/"), out, list(LOADS if loads is None else loads),
        sorted(set([1, 2, 4, 8, 16, 32, 64] if concurrency is None else concurrency)), seconds, rounds, bar_clients, bar,
        timeout_s, wrk, seed,
    )  # fmt: skip
    _check(options)
    from bench.serving.run import measure_serving

    return measure_serving(options)


def _check(options: Options) -> None:
    unknown = next((load for load in options.loads if load not in LOADS), None)
    if unknown is not None or not options.loads:
        raise UserError(f"unknown load {unknown!r}; allowed are {', '.join(LOADS)}")
    for name in ("seconds", "rounds", "timeout_s", "bar_clients"):
        if getattr(options, name) <= 0:
            raise UserError(f"{name} is {getattr(options, name)}; allowed are numbers above 0")
    if not options.concurrency or min(options.concurrency) < 1:
        raise UserError(f"concurrency is {options.concurrency}; allowed are numbers from 1")
    for address in options.servers.values():
        if not address.startswith(("http://", "https://")):
            raise UserError(f"{address!r} is no URL of a server; give http://HOST:PORT")
