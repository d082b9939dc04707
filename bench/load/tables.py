"""The report of `navigator-bench load` as words: a table of phases, the checks, the protocol."""

from collections.abc import Sequence

from bench.load.figures import Check, LoadReport, PhaseRow
from bench.load.options import Options
from bench.load.summary import IN_A_ROW, MAY_BE_SLOW
from bench.markdown import aligned, bullets, provenance, stamp
from navigator.contracts.report import Latency

_HEAD = (
    "phase", "offered/s", "answered/s", "requests", "ok", "429", "other", "P50 ms", "P95 ms", "P99 ms", "queue P95", "work P95",
    "late P99",
)  # fmt: skip


def compact_tables(report: LoadReport) -> str:
    """Plain text for a terminal."""
    lines = aligned([_HEAD, *(_cells(row) for row in report.phases)], right=True)
    return "\n".join([_summary(report), "", *lines, "", *_checks(report), *_flags(report)])


def markdown(report: LoadReport, files: Sequence[str], pictures: Sequence[str]) -> str:
    """report.md; `files` and `pictures` are names beside it."""
    body = [_HEAD, ("---", *["---:"] * (len(_HEAD) - 1)), *(_cells(row) for row in report.phases)]
    parts = [
        f"# Load: {report.target}", _summary(report),
        "\n".join("| " + " | ".join(line) + " |" for line in body),
        bullets("Checks", _checks(report)),
        bullets("Flags", _flags(report)),
        "\n\n".join(f"![{name}]({name})" for name in pictures),
        bullets("Server's own counts", [
            f"{name}: received {c.received:,}, refused {c.refused:,}, answered {c.answered:,}, failed {c.failed:,}, abandoned "
            f"{c.abandoned:,}: {'agrees' if c.agrees else 'DISAGREES'} with the rows" for name, c in report.server.items()
        ]),
        bullets("Protocol", report.protocol),
        bullets("Files", [f"[{name}]({name})" for name in files]),
        bullets("Provenance", provenance(report)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def protocol(options: Options) -> list[str]:
    """How the figures came about."""
    served = (
        f"Served by bench.load.served in a process of its own on the loopback interface: {options.workers} worker threads, at "
        f"most {options.waiting} requests waiting, more are refused. Generator and server share this machine's cores."
    )
    return [
        "Closed loop: a number of clients, each sending its next request when its last has ended. Unloaded is one client. "
        "Saturation is the most 2xx answers a second of any closed loop"
        + ("." if options.saturation is None else f"; here {options.saturation:g}/s was given."),
        "Open loop: a Poisson schedule made before the phase from the seed; requests are sent at their moments whether others "
        "have been answered or not. Response times count from the intended moment, so that waiting which a late or blocked "
        "generator would hide is in them (coordinated omission); service times from the actual sending are kept beside.",
        "Percentiles (linear interpolation) are of 2xx answers; everything else is counted by how it ended. Every scheduled "
        "request has one row, or the run stops.",
        "Queue and work are the server's own account of an answered request (header Server-Timing); the rest of its time is "
        "connection, HTTP and event loops. A dash: the server keeps none.",
        f"Calm, overload and calm after follow each other without a pause. Recovered is the first arrival after the overload "
        f"from which {IN_A_ROW} in a row are answered with at most {MAY_BE_SLOW} above the P95 of the calm before.",
        f"A phase is flagged, and proves nothing, where the generator's lateness exceeds {options.max_lateness_ms:g} ms at "
        "P99, where it used most of a core, or where our server counted other requests than the rows.",
        *([served] if options.url is None else []),
    ]


def _cells(row: PhaseRow) -> tuple[str, ...]:
    other = sum(n for name, n in row.outcomes.items() if name not in ("ok", "http_429"))
    share = "" if row.of_saturation is None else f" ({row.of_saturation:.0%})"
    offered = "-" if row.offered_rps is None else f"{row.offered_rps:.1f}{share}"
    times = ("-", "-", "-")
    if row.response_ms is not None:
        times = tuple(f"{value:.1f}" for value in (row.response_ms.p50, row.response_ms.p95, row.response_ms.p99))
    return (
        row.phase + (" !" if row.flags else ""), offered, f"{row.throughput_rps:.1f}", f"{row.requests:,}",
        f"{row.outcomes['ok']:,}", f"{row.outcomes['http_429']:,}", f"{other:,}", *times, _p95(row.queue_ms),
        _p95(row.work_ms), "-" if row.lateness_ms is None else f"{row.lateness_ms.p99:.1f}",
    )  # fmt: skip


def _p95(times: Latency | None) -> str:
    return "-" if times is None else f"{times.p95:.1f}"


def _summary(report: LoadReport) -> str:
    grown = report.still_growing
    still = f"; the last step of clients still added {grown:.0%}" if grown is not None and grown > 0.05 else ""
    return (
        f"{report.target}; saturation {report.saturation_rps:.2f}/s ({report.saturation_from}{still}); "
        f"{report.n_scheduled:,} requests scheduled, {report.n_rows:,} rows; {report.device.cpu}, {report.device.cores} cores; "
        f"{stamp(report)}."
    )


def _checks(report: LoadReport) -> list[str]:
    return [_check(check) for check in report.checks.values()]


def _check(check: Check) -> str:
    verdict = {True: "met", False: "NOT met", None: "not measured"}[check.met]
    value = "-" if check.value is None else f"{check.value:.3g}"
    return f"{check.what}: {value} (bar: {check.bar}): {verdict}" + (f" [{check.note}]" if check.note else "")


def _flags(report: LoadReport) -> list[str]:
    return [f"{row.phase} is flagged: {flag}" for row in report.phases for flag in row.flags]
