"""The steps of a run, in order, each kept as a file when it is finished, so that an interrupted run goes on after the last.

A step is one stretch of sending: a warm-up, a closed loop, a Poisson phase, or calm, overload and calm in one go. What a step
sends may depend on the steps before it (rates are fractions of the saturation), and on nothing else.
"""

import datetime
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.load.client import Sent, closed_loop, open_loop
from bench.load.options import Options
from bench.load.rows import Row, check_complete, read_rows, write_rows
from bench.load.schedule import Segment, plan
from bench.load.target import Loaded
from navigator.admission import Counts
from navigator.contracts.errors import UserError

WARM_UP, UNLOADED = "warm-up", "closed-1"
CALM, OVERLOAD, AFTER = "calm", "overload", "calm-after"


@dataclass(frozen=True)
class Step:
    """A finished step.

    Attributes:
        name: of its file.
        segments: its phases; of a closed loop one, whose rate is 0.
        clients: of a closed loop, else 0.
        scheduled: requests that were to be sent.
        seconds: from the first moment to the last row's end.
        cpu_s: CPU seconds of the generator's process.
        begun_at: UTC.
        server: what our own server received during the step, None for a foreign one.
        rows: one a scheduled request.
    """

    name: str
    segments: list[Segment]
    clients: int
    scheduled: int
    seconds: float
    cpu_s: float
    begun_at: str
    server: Counts | None
    rows: list[Row]


def run_steps(options: Options, loaded: Loaded, folder: Path) -> list[Step]:
    """All steps; those that `folder` holds already are read. Each goes on in the bodies where the one before stopped, so that
    no step is answered from what a server remembers of another.

    Raises:
        UserError: the endpoint answers nothing, so that there is no saturation to go on from.
    """
    steps: list[Step] = []

    def run(name: str, segments: list[Segment], clients: int = 0) -> None:
        unsent = loaded.after(sum(step.scheduled for step in steps))
        steps.append(_step(unsent, folder, name, segments, clients, options.seed))

    run(WARM_UP, [Segment(WARM_UP, 0.0, options.warm_up)], 1)
    if any(row.outcome == "connection" for row in steps[0].rows) and not ok_per_second(steps[0]):
        raise _deaf(loaded, steps)  # nobody is there: no need to find out at every concurrency
    for clients in options.concurrency:
        run(f"closed-{clients}", [Segment(f"closed-{clients}", 0.0, options.seconds)], clients)
    saturation = options.saturation or saturation_rps(steps)
    if not saturation:
        raise _deaf(loaded, steps)
    for name, segments in _open(options, saturation):
        run(name, segments)
    return steps


def _deaf(loaded: Loaded, steps: list[Step]) -> UserError:
    errors = next((row.error for step in steps for row in step.rows if row.error), "no error was named")
    return UserError(
        f"{loaded.target.url} answered none of {sum(step.scheduled for step in steps):,} requests: {errors}"
    )


def saturation_rps(steps: Iterable[Step]) -> float:
    """The best throughput of the closed loops, 2xx answers a second."""
    return max(ok_per_second(step) for step in steps if step.clients and step.name != WARM_UP)


def ok_per_second(step: Step) -> float:
    """2xx answers a second of a closed loop, from its first moment to its last row's end."""
    return sum(row.outcome == "ok" for row in step.rows) / max(row.ended_s for row in step.rows)


def _open(options: Options, saturation: float) -> list[tuple[str, list[Segment]]]:
    """Names and segments of the steps with Poisson arrivals."""
    rates = {f"open-{fraction:g}": fraction * saturation for fraction in options.fractions}
    rates |= {f"rate-{rate:g}": rate for rate in options.rates}
    steps = [(name, [Segment(name, rate, options.seconds)]) for name, rate in rates.items()]
    if options.overload:
        parts = {CALM: options.calm, OVERLOAD: options.overload, AFTER: options.calm}
        steps.append((OVERLOAD, [Segment(n, share * saturation, options.seconds) for n, share in parts.items()]))
    return steps


def _step(loaded: Loaded, folder: Path, name: str, segments: list[Segment], clients: int, seed: int) -> Step:
    """Run a step and keep it, or read what was kept."""
    path = folder / f"{name}.parquet"
    if path.is_file():
        rows, note = read_rows(path)
        kept = json.loads(note)
        kept["segments"] = [Segment(**segment) for segment in kept["segments"]]
        return Step(**kept | {"server": kept["server"] and Counts(**kept["server"])}, rows=rows)
    before = _settled(loaded)
    begun_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    sent = _send(loaded, name, segments, clients, seed)
    check_complete(sent.rows, sent.scheduled, name)
    after = _settled(loaded)
    step = Step(
        name, segments, clients, sent.scheduled, sent.seconds, sent.cpu_s, begun_at,
        after.since(before) if after and before else None, sent.rows,
    )  # fmt: skip
    note = {key: value for key, value in vars(step).items() if key not in ("rows", "segments", "server")}
    note |= {"segments": [asdict(s) for s in segments], "server": step.server and asdict(step.server)}
    write_rows(path, step.rows, json.dumps(note))
    return step


def _send(loaded: Loaded, name: str, segments: list[Segment], clients: int, seed: int) -> Sent:
    if clients:
        return closed_loop(loaded.target, name, clients, segments[0].seconds, name)
    return open_loop(loaded.target, plan(segments, [seed, *name.encode()]), name)


def _settled(loaded: Loaded) -> Counts | None:
    """The counts of our own server once nothing is inside any more: no step begins with the work of the step before."""
    deadline = time.monotonic() + 2 * loaded.target.timeout_s
    while (counts := loaded.counts()) is not None and counts.inside and time.monotonic() < deadline:
        time.sleep(0.01)
    return counts
