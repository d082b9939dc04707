"""The report of `navigator-bench product` as words."""

import datetime
from collections.abc import Sequence

from bench.encoder.figures import Figure
from bench.intervals import RESAMPLES
from bench.markdown import bullets, columns, piped, provenance, stamp
from bench.product.events import UNITS
from bench.product.figures import COUNTS, METRICS, ProductReport, SampleRatio
from bench.product.summary import LIMIT

_HEADS = ("impressions", "clicks", "saves", "new boards", "user-days")  # of COUNTS


def product_text(report: ProductReport) -> str:
    """For a terminal."""
    parts = [_summary(report), columns(_counts(report)), columns(_rows(report)), _ratio(report.sample_ratio)]
    return "\n\n".join([*parts, *(["\n".join(_refused(report))] if report.refused else [])])


def product_markdown(report: ProductReport, files: Sequence[str]) -> str:
    """report.md; `files` are names of the other files beside it."""
    parts = [
        "# Product metrics", _summary(report), piped(_counts(report)), piped(_rows(report)),
        bullets("Sample ratio", [_ratio(report.sample_ratio)]), bullets("Refused rows", _refused(report)),
        bullets("Protocol", report.protocol), bullets("Files", [f"[{name}]({name})" for name in files]),
        bullets("Provenance", provenance(report)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def protocol(seed: int) -> list[str]:
    """How the figures came about."""
    return [
        "A user-day is a user and a UTC day with any event of the version. Every metric is a ratio of sums over users.",
        "Saves, clicks and new boards count for the version that their row names; nothing is attributed here.",
        f"Intervals: 95 % percentile bootstrap over users, {RESAMPLES:,} resamples, seed {seed}; above {UNITS:,} users over so "
        "many groups of them, by a hash of their ids. A user of several versions is drawn with all of their events.",
        "Differences are not corrected for looking at several metrics or looking early; say beforehand which one decides.",
        f"Sample ratio: chi-square over users of one version alone; p below {LIMIT:g} means that something else than chance "
        "decides who sees what, and that no difference here can be trusted.",
    ]


def _summary(report: ProductReport) -> str:
    first, last = (
        datetime.datetime.fromtimestamp(at, datetime.UTC).date().isoformat() for at in (report.first_at, report.last_at)
    )
    return (
        f"{report.used:,} of {report.rows:,} events used, {report.users:,} users, {first} to {last}; baseline "
        f"{report.baseline}; {stamp(report)}."
    )


def _counts(report: ProductReport) -> list[tuple[str, ...]]:
    head = ("version", "users", "days", *_HEADS, "saves without impression")
    lines: list[tuple[str, ...]] = [head]
    for name, row in report.versions_of_system.items():
        unseen = "-" if row.unseen_saves is None else f"{row.unseen_saves:,}"
        lines.append((name, f"{row.users:,}", f"{row.days:,}", *(f"{row.counts[c]:,}" for c in COUNTS), unseen))
    return lines


def _rows(report: ProductReport) -> list[tuple[str, ...]]:
    base, others = report.versions_of_system[report.baseline], dict(report.versions_of_system)
    others.pop(report.baseline)
    head = ["metric", report.baseline]
    for name in others:
        head += [name, f"{name} - {report.baseline}", f"{name} / {report.baseline}"]
    lines: list[tuple[str, ...]] = [tuple(head)]
    for metric in METRICS:
        cells = [metric.replace("_", " "), _value(base.figures[metric])]
        for row in others.values():
            minus, over = (row.minus or {}).get(metric), (row.over or {}).get(metric)
            cells += [_value(row.figures[metric]), _value(minus, "+"), _value(over)]
        lines.append(tuple(cells))
    return lines


def _ratio(own: SampleRatio) -> str:
    if own.p is None:
        return "one version: no split to check"
    users = "; ".join(
        f"{name} {own.observed[name]:,} users, {own.expected[name]:,.0f} expected" for name in own.observed
    )
    verdict = (
        "MISMATCH: find out why before reading any difference" if own.mismatch else f"no mismatch (limit {LIMIT:g})"
    )
    return f"{users}; {own.several:,} users saw several versions and are left out here; p {own.p:.3g}: {verdict}"


def _refused(report: ProductReport) -> list[str]:
    return [f"refused, {reason}: {n:,} rows" for reason, n in report.refused.items()]


def _value(figure: Figure | None, sign: str = "") -> str:
    if figure is None:
        return "-"
    around = f" ({figure.ci95[0]:{sign}.4f}..{figure.ci95[1]:{sign}.4f})" if figure.ci95 else ""
    return f"{figure.mean:{sign}.4f}{around}"
