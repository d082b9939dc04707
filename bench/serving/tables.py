"""The report of `navigator-bench serving` as words: a table for every load, the gains, the protocol."""

from collections.abc import Sequence

from bench.markdown import aligned, bullets, piped, provenance, stamp
from bench.serving.figures import Point, ServingReport
from bench.serving.options import Options

_HEAD = (
    "load", "server", "clients", "answers/s", "lowest", "highest", "P50 ms", "P95 ms", "P99 ms", "batch", "busy", "CPU ms",
    "refused", "lost",
)  # fmt: skip
_GAINS = ("load", "clients", "throughput", "lowest", "highest", "CPU")


def text_tables(report: ServingReport) -> str:
    """Plain text for a terminal."""
    tables = [[_HEAD, *(_cells(point) for point in report.points)], _gains(report)]
    return "\n\n".join([_summary(report), *("\n".join(aligned(table, right=True)) for table in tables if table)])


def markdown(report: ServingReport, files: Sequence[str], pictures: Sequence[str]) -> str:
    """report.md; `files` and `pictures` are names beside it."""
    gained = _gains(report)
    parts = [
        "# A server under load", _summary(report),
        "\n\n".join(f"![{name}]({name})" for name in pictures),
        piped([_HEAD, *(_cells(point) for point in report.points)]),
        "## What batching gives\n\n" + piped(gained) if gained else "",
        bullets("Protocol", report.protocol),
        bullets("Files", [f"[{name}]({name})" for name in files]),
        bullets("Provenance", provenance(report)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def protocol(options: Options) -> list[str]:
    """How the figures came about."""
    return [
        f"wrk, one thread, keep-alive connections over the address given, {options.seconds:g} s a measurement, "
        f"{options.rounds} rounds in turns (the two servers of a point directly one after the other); figures are medians "
        "of the rounds, lowest and highest are of their throughput.",
        "Closed loop: a client sends its next request when its last is answered, so waiting grows with clients and hides "
        "nothing of the server, but says nothing of arrivals that do not wait (navigator-bench load --url).",
        "No request is sent twice until all bodies were, so that the server cannot remember a text. Percentiles are of all "
        "answers, by wrk; answers/s count statuses below 400, the others are refused.",
        "batch, busy (share of the time that the worker of this kind was at work) and CPU (of the server's process, by "
        "answer) are the server's own account, /metrics before and after. Generator and server share this machine.",
    ]


def _cells(point: Point) -> tuple[str, ...]:
    own = point.median
    return (
        point.load, point.server, str(point.clients), f"{own.throughput_rps:.1f}", f"{point.lowest_rps:.1f}",
        f"{point.highest_rps:.1f}", _or_dash(own.p50_ms), _or_dash(own.p95_ms), _or_dash(own.p99_ms), _or_dash(own.batch_size),
        f"{own.busy:.0%}", _or_dash(own.cpu_ms), str(own.refused), str(own.lost),
    )  # fmt: skip


def _gains(report: ServingReport) -> list[tuple[str, ...]]:
    rows = [
        (
            gain.load, str(gain.clients), f"{gain.throughput:.2f}", f"{gain.lowest:.2f}", f"{gain.highest:.2f}",
            _or_dash(gain.cpu, 2),
        )
        for gain in report.gains
    ]  # fmt: skip
    return [_GAINS, *rows] if rows else []


def _summary(report: ServingReport) -> str:
    verdicts = [f"{load}: {'met' if met else 'NOT met'}" for load, met in report.met.items()]
    bar = (
        f" Batching gives {report.bar:g} times at {report.bar_clients} clients: {', '.join(verdicts)}."
        if verdicts
        else ""
    )
    return f"{report.generator}; {report.device.cpu}, {report.device.cores} cores; {stamp(report)}.{bar}"


def _or_dash(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
