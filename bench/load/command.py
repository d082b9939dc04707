"""The command `navigator-bench load`: what users wait as requests come faster, and what happens when they come too fast."""

from pathlib import Path
from typing import Any

from bench.load.options import Options
from navigator.contracts.errors import UserError

SYSTEMS = ("swapped", "content", "sleep")


def load(
    url: str | None = None,
    bodies: Path | None = None,
    catalog: Path | None = None,
    system: str | None = None,
    model: Path | None = None,
    vectors: Path | None = None,
    out: Path = Path("runs/load"),
    seconds: float = 20.0,
    concurrency: list[int] | None = None,
    fractions: list[float] | None = None,
    rates: list[float] | None = None,
    saturation: float | None = None,
    overload: float = 1.5,
    calm: float = 0.5,
    timeout_s: float = 10.0,
    max_lateness_ms: float = 20.0,
    json_answers: bool = True,
    workers: int = 2,
    waiting: int = 8,
    work_ms: float = 50.0,
    spread: float = 0.0,
    max_history: int = 20,
    device: str = "auto",
    dtype: str = "auto",
    warm_up: float = 2.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Load an HTTP endpoint, or a system of ours behind one: latency against rate, overload, recovery; every request a row.

    First a closed loop with more and more clients measures the unloaded latency and the saturation throughput; then Poisson
    arrivals at fractions of it, which do not wait for answers; then calm, overload and calm again without a pause between.

    Args:
        url: endpoint to load, http(s). Headers, such as a key, come from the environment variable NAVIGATOR_LOAD_HEADERS, one
            "Name: value" a line; they are sent and never written down.
        bodies: file with one JSON body a line, sent by POST in an order drawn with the seed; each step goes on where the one
            before stopped, and after the last comes the first. Without it a url gets GET, and a system of ours drawn requests
            of 20 history items and 20 candidates.
        catalog: in place of bodies, where the url is /v1/search, /v1/recommend or /v1/chat/completions of `navigator serve`:
            the catalogue it serves, of which requests are drawn with the seed as `navigator-bench serving` draws them.
        system: in place of a url, serve one of ours: swapped (default with --model), content, or sleep, a stand-in that
            sleeps in place of a model. The server is minimal: a bounded queue, workers, one route, on the loopback interface.
        model: swapped model folder, for swapped.
        vectors: item vectors that the model or content reads.
        out: report folder to write. After an interruption the same command goes on after the last finished step.
        seconds: of every step of every sweep, and of calm, overload and calm.
        concurrency: clients of the closed-loop sweep; 1 is always measured. Default 1,2,4,8.
        fractions: offered rates of the open-loop sweep, as fractions of the saturation. Default 0.3,0.5,0.7,0.9.
        rates: further offered rates, requests a second.
        saturation: requests a second that count as saturation; by default the best of the closed-loop sweep.
        overload: offered rate of the overload, as a fraction of the saturation; 0 leaves overload and calm out.
        calm: offered rate before and after the overload, as a fraction of the saturation.
        timeout_s: seconds from sending to the last byte after which a request is a time-out.
        max_lateness_ms: a phase in which the generator itself was later than this at P99 is flagged and proves nothing.
        json_answers: whether a 2xx answer that is no JSON counts as malformed.
        workers: requests that our server works on at once.
        waiting: requests that may wait in our server; more are refused with 429 and Retry-After.
        work_ms: mean sleep of system sleep.
        spread: coefficient of variation of that sleep (gamma distributed); 0 is constant.
        max_history: latest history items that a system of ours reads.
        device: auto, cpu or cuda, for the model.
        dtype: auto, float32, bfloat16 or float16, for the model.
        warm_up: seconds of one client before anything is measured; its rows are kept as phase warm-up.
        seed: of arrivals, drawn bodies and sleeps.

    Returns:
        Where the report is, the checks, a row of figures a phase, and the tables as text.

    Raises:
        UserError: no target or two, a missing input, an option out of range, an endpoint that answers nothing.
    """
    options = Options(
        url, bodies, catalog, system or (None if url or not model else "swapped"), model, vectors, out, seconds,
        sorted({1, *([1, 2, 4, 8] if concurrency is None else concurrency)}),
        sorted(set([0.3, 0.5, 0.7, 0.9] if fractions is None else fractions)), sorted(set(rates or [])), saturation, overload,
        calm, timeout_s, max_lateness_ms, json_answers, workers, waiting, work_ms, spread, max_history, device, dtype, warm_up,
        seed,
    )  # fmt: skip
    _check_target(options)
    _check_ranges(options)
    from bench.load.run import measure_load

    return measure_load(options)


def _check_target(options: Options) -> None:
    if (options.url is None) == (options.system is None):
        given = "both" if options.url else "neither"
        raise UserError(f"give --url URL, or --system {'|'.join(SYSTEMS)} (--model means swapped); {given} was given")
    if options.url is not None:
        from bench.load.target import check_url

        if options.bodies is not None and options.catalog is not None:
            raise UserError(f"--bodies {options.bodies} and --catalog {options.catalog} were given; give one of them")
        return check_url(options.url)
    if options.catalog is not None:
        raise UserError("--catalog is for a --url of navigator serve; a system of ours draws from --vectors")
    if options.system not in SYSTEMS:
        raise UserError(f"unknown system {options.system!r}; allowed are {', '.join(SYSTEMS)}")
    if options.system == "swapped" and options.model is None:
        raise UserError("system 'swapped' needs --model FOLDER and --vectors FOLDER")
    if options.system != "sleep" and options.vectors is None:
        raise UserError(f"system {options.system!r} needs --vectors FOLDER, the item vectors it reads")


def _check_ranges(options: Options) -> None:
    above = ("seconds", "warm_up", "timeout_s", "max_lateness_ms", "workers", "max_history")
    bad = next((name for name in above if getattr(options, name) <= 0), None)
    if bad is not None:
        raise UserError(f"{bad} is {getattr(options, bad)}; allowed are numbers above 0")
    least = ("overload", "waiting", "work_ms", "spread")
    low = next((name for name in least if getattr(options, name) < 0), None)
    if low is not None:
        raise UserError(f"{low} is {getattr(options, low)}; allowed are numbers from 0")
    lists = {"concurrency": options.concurrency, "fractions": options.fractions, "rates": options.rates}
    lists |= {"saturation": [] if options.saturation is None else [options.saturation]}
    bad = next((name for name, values in lists.items() if any(value <= 0 for value in values)), None)
    if bad is not None:
        raise UserError(f"{bad} is {lists[bad]}; allowed are numbers above 0")
    if options.overload and not 0 < options.calm < 1 < options.overload:
        raise UserError(
            f"calm {options.calm}, overload {options.overload}: allowed are calm between 0 and 1, overload above 1 (0: none)"
        )
