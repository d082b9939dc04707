"""The report as words: one comparison table, for the terminal and for report.md."""

import re
from collections.abc import Sequence

from navigator.contracts.report import BenchReport, Interval, Provenance, SystemReport

_NUMBER = r"[-+]?\$?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
FIGURE = re.compile(rf"({_NUMBER})(?:\.\.{_NUMBER})?(?: ?(?:%|[a-zA-Z/]{{1,6}}))?(\s+[\[(][^\])]*[\])])?")
"""A cell that is a number (group 1), maybe with a unit, and what stands in brackets after it (group 2)."""
NOT_MEASURED = ("", "-", "null")
_HEAD = (
    "system", "HR@10", "NDCG@10", "95 % interval", "recall@50", "NDCG - content", "P50 ms", "P95 ms", "P99 ms", "req/s",
    "tokens", "MB", "$/1000",
)  # fmt: skip


def table_rows(report: BenchReport) -> list[tuple[str, ...]]:
    """Head and one row a system, as strings; a dash means not measured."""
    return [_HEAD, *(_row(name, system) for name, system in report.systems.items())]


def comparison_table(report: BenchReport) -> str:
    """Plain text columns for a terminal, with a line that says what was asked and where."""
    return "\n".join([_summary(report), "", *aligned(table_rows(report), right=True), *_notes(report)])


def markdown(report: BenchReport, files: Sequence[str], pictures: Sequence[str], sheets: Sequence[str]) -> str:
    """report.md.

    Args:
        report: the figures.
        files: names of the other files beside report.md.
        pictures: names of the plots beside it.
        sheets: links to contact sheets, relative to report.md.
    """
    parts = [
        f"# Bench: {report.task}", _summary(report), piped(table_rows(report)),
        bullets("Notes", _notes(report)),
        _cold(report),
        bullets("Protocol", report.protocol),
        bullets("Cost assumptions", _assumptions(report)),
        "\n\n".join(f"![{name}]({name})" for name in pictures),
        bullets("Contact sheets", [f"[{sheet.rsplit('/', 1)[-1]}]({sheet})" for sheet in sheets]),
        bullets("Files", [f"[{name}]({name})" for name in files]),
        bullets("Provenance", [*provenance(report), f"queries: {report.split.queries} ({report.split.description})"]),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _row(name: str, system: SystemReport) -> tuple[str, ...]:
    quality, times = system.quality, system.latency_ms
    return (
        name,
        _figure(quality and quality.hr_10.mean, ".3f"), _figure(quality and quality.ndcg_10.mean, ".3f"),
        _interval(quality and quality.ndcg_10), _figure(quality and quality.recall_50.mean, ".3f"),
        _difference(system.paired and system.paired.ndcg_10),
        *(_figure(value, ".3g" if value and value < 100 else ".0f") for value in _times(times)),
        _figure(system.throughput_rps, ",.3g" if (system.throughput_rps or 0) < 1000 else ",.0f"),
        _figure(system.tokens_per_request, ",.0f"), _figure(system.peak_memory_mb, ",.0f"),
        _figure(system.cost_usd_per_1000, ".3g"),
    )  # fmt: skip


def _times(latency) -> tuple[float | None, float | None, float | None]:
    return (latency.p50, latency.p95, latency.p99) if latency else (None, None, None)


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _interval(value: Interval | None) -> str:
    return "-" if value is None else f"{value.ci95[0]:.3f}..{value.ci95[1]:.3f}"


def _difference(value: Interval | None) -> str:
    return "-" if value is None else f"{value.mean:+.3f} [{value.ci95[0]:+.3f}, {value.ci95[1]:+.3f}]"


def _summary(report: BenchReport) -> str:
    device = report.device
    where = device.accelerator or f"{device.cpu}, {device.cores} cores"
    return f"{report.task}: {report.n_queries:,} queries over {report.n_items:,} items; {where}; {stamp(report)}."


def _cold(report: BenchReport) -> str:
    rows = [(name, s.quality_cold) for name, s in report.systems.items() if s.quality_cold]
    if not rows:
        return "## Cold items\n\nNo query has cold targets only; nothing to report."
    lines: list[tuple[str, ...]] = [("system", "queries", "HR@10", "NDCG@10", "recall@50")]
    for name, cold in rows:
        values = (f"{cold.of(m).mean:.3f} ({_interval(cold.of(m))})" for m in ("hr@10", "ndcg@10", "recall@50"))
        lines.append((name, f"{cold.n:,}", *values))
    return "## Cold items\n\n" + piped(lines)


def _notes(report: BenchReport) -> list[str]:
    return _shared({name: system.note for name, system in report.systems.items()})


def _assumptions(report: BenchReport) -> list[str]:
    return _shared({name: "; ".join(system.cost_assumptions) for name, system in report.systems.items()})


def _shared(texts: dict[str, str]) -> list[str]:
    """Every non-empty text once, with the systems it holds for."""
    owners: dict[str, list[str]] = {}
    for name, text in texts.items():
        if text:
            owners.setdefault(text, []).append(name)
    return [f"{', '.join(names)}: {text}" for text, names in owners.items()]


def provenance(report: Provenance) -> list[str]:
    """Where a report's figures come from, a line each."""
    device = report.device.model_dump(exclude_none=True)
    return [
        f"command: `{report.command}`",
        f"device: {', '.join(f'{key} {value}' for key, value in device.items())}",
        f"date: {report.created_at}; commit: {report.commit or 'unknown'}; seed: {report.seed}",
        f"versions: {', '.join(f'{name} {version}' for name, version in report.versions.items())}",
        f"inputs: {', '.join(f'{name} {value}' for name, value in report.inputs.items())}",
    ]


def piped(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head, and columns of figures stand to the right."""
    head, *body = rows
    rule = ["---:" if numeric([row[i] for row in body]) else "---" for i in range(len(head))]
    return "\n".join(_pipe(row) for row in (head, rule, *body))


def numeric(cells: Sequence[str]) -> bool:
    """Whether a column holds figures (FIGURE) or dashes, and at least one figure."""
    found = [FIGURE.fullmatch(cell) is not None for cell in cells]
    return any(found) and all(own or cell in NOT_MEASURED for own, cell in zip(found, cells, strict=True))


def aligned(rows: Sequence[Sequence[str]], right: bool = False) -> list[str]:
    """Lines of a table for a terminal; the first row is its head, underlined. `right`: all but the first column end alike."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = [c.rjust(w) if right and i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "  ".join(cells).rstrip()

    head, *body = map(line, rows)
    return [head, "  ".join("-" * width for width in widths), *body]


def columns(rows: Sequence[Sequence[str]]) -> str:
    """`aligned` as one text."""
    return "\n".join(aligned(rows))


def bullets(title: str, lines: Sequence[str]) -> str:
    """A section of a report; nothing where there is nothing to list."""
    return f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def literal(text: str) -> str:
    """Text of a catalogue or a model for a report: on one line, and nothing in it is read as Markdown."""
    return re.sub(r"([\\`*_\[\]<>|!#&~])", r"\\\1", " ".join(text.split()))


def stamp(report: Provenance) -> str:
    """Day, commit and seed of a report, for the end of its first sentence."""
    return f"{report.created_at[:10]}, commit {report.commit or 'unknown'}, seed {report.seed}"


def _pipe(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
