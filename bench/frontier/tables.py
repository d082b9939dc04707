"""The report of `navigator-bench frontier` as words: a row a model. No text that a model wrote is shown here."""

from collections.abc import Mapping, Sequence

from bench.frontier.figures import FrontierReport, ModelRow, Scores
from bench.frontier.options import Options
from bench.frontier.request import BYTES_PER_TOKEN, TEXT_CHARS
from bench.intervals import RESAMPLES
from bench.markdown import aligned, bullets, piped, provenance, stamp
from navigator.contracts.report import Interval, Latency

_HEAD = (
    "model", "usable", "NDCG@10", "HR@10", "NDCG@10 - content", "P50 ms", "P95 ms", "P99 ms", "tokens in", "out",
    "$/1000", "$/1000 by formula", "at most",
)  # fmt: skip


def comparison(report: FrontierReport) -> str:
    """Plain text for a terminal."""
    return "\n".join([_summary(report), "", *aligned(_rows(report)), "", *_notes(report)])


def markdown(report: FrontierReport, files: Sequence[str]) -> str:
    """report.md; `files` are names of the other files beside it."""
    prices = [f"{model}: {row.price or 'no price: its cost is null'}" for model, row in report.models.items()]
    parts = [
        "# Hosted models", _summary(report), piped(_rows(report)),
        bullets("Notes", _notes(report)), bullets("Prices", prices), bullets("Protocol", report.protocol),
        bullets("Files", [f"[{name}]({name})" for name in files]),
        bullets("Provenance", [*provenance(report), f"queries: {report.split.queries} ({report.split.description})"]),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def protocol(options: Options) -> list[str]:
    """How the figures came about, in sentences."""
    shown = f"pictures of at most {options.picture_px} px and texts" if options.pictures else "texts alone"
    order = "random order" if options.shuffle else "content's order, so that an answer 1, 2, 3, ... is content's"
    title = "The board's title is shown too, which content cannot read. " if options.titles else ""
    return [
        f"Content finds {options.candidates} candidates among all items, the history excluded; the model re-ranks them. It is "
        f"shown {shown} of the last {options.max_history} saved items and of the candidates, numbered in {order}. {title}Texts "
        f"are quoted, cut at {TEXT_CHARS} characters and declared to be data.",
        f"Queries are drawn with seed {options.seed} and asked in random order. A query that was sent and gave no usable "
        "ranking is a miss; one that was never sent (money) is in no mean. Usable: JSON of distinct candidate numbers, at "
        "least one; candidates left out follow in content's order; nothing is repaired.",
        f"Metrics are of the re-ranked list alone: binary NDCG@10 with the ideal cut at min(targets, 10). Intervals: 95 % "
        f"percentile bootstrap over queries, {RESAMPLES:,} resamples, paired by query against content's own order.",
        f"Latency: from sending to the whole response of the attempt that was usable, with up to {options.concurrency} "
        f"requests under way (a closed loop). At most {options.retries} retries on 408, 409, 429, 5xx, time-outs "
        f"({options.timeout_s:g} s) and lost connections; total_ms in report.json includes them and all waiting.",
        "US$ measured: tokens as the endpoint counted them, at list price without any discount; a response that reports an "
        "error is taken to cost nothing, an attempt without a response or without usage is counted apart, as up to what was "
        f"set aside. By formula: text at {BYTES_PER_TOKEN} bytes a token, pictures by the vendor's rule at the size they are "
        "sent, an answer without thinking. At most: a token a byte of text, and the longest answer.",
        "Money: what an attempt can cost at most is set aside before it is sent and settled after by the usage; with the "
        "answers file, all that earlier runs spent counts. A response of status 200 is never asked for again.",
    ]


def _rows(report: FrontierReport) -> list[tuple[str, ...]]:
    rows = [_HEAD, *((name, *_cells(row)) for name, row in report.models.items())]
    known = {"content": report.content, "best possible order": report.best_possible}
    return rows + [(name, f"all {report.n_queries:,}", *_quality(own), *["-"] * 9) for name, own in known.items()]


def _cells(row: ModelRow) -> tuple[str, ...]:
    tokens, formula = row.tokens, row.formula
    return (
        f"{row.usable:,} of {row.sent:,}" if row.sent else "not asked",
        *(_quality(row.scores.model) if row.scores else ("-", "-")), _difference(row.scores), *_times(row.latency_ms),
        *(_figure(value, ",.0f") for value in ((tokens.input, tokens.output) if tokens else (None, None))),
        _figure(row.usd_per_1000, ".3g"), _figure(formula and formula.usd_per_1000, ".3g"),
        _figure(formula and formula.usd_per_1000_at_most, ".3g"),
    )  # fmt: skip


def _quality(metrics: Mapping[str, Interval]) -> tuple[str, str]:
    ndcg, hr = (f"{m.mean:.3f} ({m.ci95[0]:.3f}..{m.ci95[1]:.3f})" for m in (metrics["ndcg@10"], metrics["hr@10"]))
    return ndcg, hr


def _difference(scores: Scores | None) -> str:
    if scores is None:
        return "-"
    value = scores.minus_content["ndcg@10"]
    return f"{value.mean:+.3f} [{value.ci95[0]:+.3f}, {value.ci95[1]:+.3f}]"


def _times(times: Latency | None) -> tuple[str, ...]:
    return tuple(f"{ms:,.0f}" for ms in (times.p50, times.p95, times.p99)) if times else ("-", "-", "-")


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _notes(report: FrontierReport) -> list[str]:
    notes = [f"{model}: {note}" for model, row in report.models.items() for note in _model_notes(row)]
    if report.unasked is not None:
        why = f"nothing was sent, because {report.unasked}: cost is by formula, everything else unknown"
        notes = [why, *notes]
    if report.usd_journal is not None:
        notes.append(f"the answers file knows of ${report.usd_journal:.4g} spent in all")
    if report.unreadable:
        notes.append(
            f"{len(report.unreadable)} items shown without their picture, which is none: {_some(report.unreadable)}"
        )
    if report.bare:
        notes.append(f"{len(report.bare)} items shown with neither picture nor text: {_some(report.bare)}")
    return notes


def _model_notes(row: ModelRow) -> list[str]:
    if not row.sent and set(row.errors) == {"not-asked"}:
        return []
    told = [
        (row.errors, f"without a usable ranking: {_counts(row.errors)}"),
        (row.attempt_errors, f"{row.attempts:,} attempts, of which went wrong: {_counts(row.attempt_errors)}"),
        (row.partial, f"{row.partial:,} usable answers leave candidates out"),
        (row.earlier, f"{row.earlier:,} of {row.sent:,} were asked by an earlier run"),
        (
            row.usd_unknown,
            f"up to ${row.usd_unknown or 0:.4g} more than the ${row.usd_spent or 0:.4g} known may be billed",
        ),
    ]
    usable = row.scores_usable
    if usable is not None and row.failed:
        told.append((usable, f"over the {usable.n:,} usable answers alone: NDCG@10 - content {_difference(usable)}"))
    if row.formula is not None and row.formula.measured_over_expected is not None:
        ratio = row.formula.measured_over_expected
        told.append((ratio, f"input tokens counted by the endpoint / by formula: {ratio:.3f}"))
    return [note for holds, note in told if holds]


def _counts(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in kinds.items())


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")


def _summary(report: FrontierReport) -> str:
    where = f"asked at {report.endpoint}" if report.endpoint else "NOT ASKED"
    return f"{report.task}: {report.n_queries:,} queries over {report.n_items:,} items, {where}; {stamp(report)}."
