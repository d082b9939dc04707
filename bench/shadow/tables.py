"""The report of `navigator-bench shadow` as words: the verdict first, then what it was made of."""

from collections.abc import Sequence

from bench.encoder.figures import Figure
from bench.markdown import aligned, bullets, piped, provenance, stamp
from bench.shadow.figures import ShadowReport, Shift, SideRow, SliceRow
from bench.shadow.measured import MEANING
from navigator.contracts.shadow import RuleResult

Table = list[tuple[str, ...]]


def compact(report: ShadowReport) -> str:
    """Plain text for a terminal."""
    tables = [rules(report), sides(report), *(slice_table(name, row) for name, row in report.slices.items())]
    return "\n\n".join([verdict(report), summary(report), *("\n".join(aligned(table)) for table in tables)])


def markdown(report: ShadowReport, files: Sequence[str], pictures: Sequence[str]) -> str:
    """report.md; `files` are names of the files beside it, `pictures` are shown."""
    parts = [
        "# Shadow: old against new", f"**{verdict(report)}**", summary(report),
        "## Rules", piped(rules(report, reasons=True)),
        "## Each alone", piped(sides(report)),
        *(part for name, row in report.slices.items() for part in _section(name, row)),
        bullets("Failures", [f"{label}: {n:,} x {e}" for label, s in report.sides.items() for e, n in s.errors.items()]),
        bullets("Left out of the traffic", [f"{n:,} {what}" for what, n in report.traffic.left_out.items()]),
        *(f"## What changed most\n\n![{name}]({name})" for name in pictures),
        bullets("Protocol", report.protocol),
        bullets("What the values mean", [f"{name}: {meaning}" for name, meaning in MEANING.items()]),
        bullets("Files", [f"[{name}]({name})" for name in files]),
        bullets("Provenance", [*provenance(report), f"traffic: {report.traffic.digest} ({report.traffic.described})"]),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict(report: ShadowReport) -> str:
    """The verdict in a sentence, with what stops it."""
    found = report.verdict
    stopped = [rule.metric + (" (not measured)" if rule.value is None else "") for rule in found.rules if rule.stops]
    why = f"; stopped by {', '.join(stopped)}" if stopped else f"; all {len(found.rules)} rules hold"
    return f"verdict: {found.verdict}{why}"


def summary(report: ShadowReport) -> str:
    """What was asked of whom, and where."""
    traffic, device = report.traffic, report.device
    both = report.verdict
    return (
        f"{traffic.requests:,} requests ({traffic.described}; {traffic.with_targets:,} with targets, {traffic.with_text:,} "
        f"with words, {traffic.without_history:,} without a history) over {report.n_items:,} items; old {both.old.source} "
        f"{_prints(both.old.fingerprints)}, new {both.new.source} {_prints(both.new.fingerprints)}; "
        f"{device.accelerator or f'{device.cpu}, {device.cores} cores'}; {stamp(report)}."
    )


def rules(report: ShadowReport, reasons: bool = False) -> Table:
    """A line a rule."""
    head = ("rule", "allowed", "measured", "verdict", *(("reason",) if reasons else ()))
    return [head, *((*_rule(rule), *((rule.reason,) if reasons else ())) for rule in report.verdict.rules)]


def sides(report: ShadowReport) -> Table:
    """A line a figure, old and new beside each other, with the ratio of latencies and its interval."""
    both = [report.sides["old"], report.sides["new"]]
    ratio = report.latency_ratio or {}
    lines: Table = [("", "old", "new", "new / old")]
    lines += [
        ("failed requests", *(f"{own.failed:,}" for own in both), ""),
        ("error rate", *(f"{own.error_rate:.4f}" for own in both), ""),
        ("items that can never be shown", *("-" if own.missing is None else f"{own.missing:,}" for own in both), ""),
    ]
    lines += [
        (f"{cut.upper()} ms", *(_latency(s, cut) for s in both), _figure(ratio.get(cut))) for cut in ("p50", "p95")
    ]
    lines += [
        (what, *("-" if own.shown is None else format(getattr(own.shown, name), ".4f") for own in both), "")
        for what, name in (
            ("coverage", "coverage"),
            ("never shown", "never_shown"),
            ("top 1 % of items", "concentration"),
        )
    ]
    lines.append(("score of the same item, new - old", "", "", _shift(report.score_shift)))
    lines += [
        (f"score in {place} place", *(_score(own, place) for own in both), "") for place in ("first", "tenth")
    ]  # fmt: skip
    return lines


def slice_table(name: str, row: SliceRow) -> Table:
    """Agreement and quality of one kind of request."""
    lines: Table = [(f"{name}: {row.requests:,} requests", "n", "old", "new", "new - old, or agreement")]
    lines += [(m, f"{f.n:,}" if f else "0", "", "", _figure(f)) for m, f in row.agreement.items()]
    for metric, pair in row.quality.items():
        cells = (f"{pair.n:,}", f"{pair.old.mean:.4f}", f"{pair.new.mean:.4f}") if pair else ("0", "-", "-")
        lines.append((metric, *cells, _figure(pair.difference if pair else None, "+")))
    return lines


def _section(name: str, row: SliceRow) -> list[str]:
    return [f"## Requests: {name}", piped(slice_table(name, row))]


def _rule(rule: RuleResult) -> tuple[str, str, str, str]:
    ends = ((">=", rule.at_least), ("<=", rule.at_most))
    limits = [f"{sign} {limit:g}" for sign, limit in ends if limit is not None]
    value = "-" if rule.value is None else f"{rule.value:.4g}"
    return (
        rule.metric,
        ", ".join(limits),
        value,
        rule.verdict + (" (optional)" if rule.optional and rule.value is None else ""),
    )


def _latency(side: SideRow, cut: str) -> str:
    return "-" if side.latency_ms is None else f"{getattr(side.latency_ms, cut):.3f}"


def _score(side: SideRow, place: str) -> str:
    value = None if side.scores is None else getattr(side.scores, place)
    return "-" if value is None else f"{value:.4f}"


def _shift(shift: Shift | None) -> str:
    return "-" if shift is None else f"{shift.mean:+.4f} (P5 {shift.p5:+.4f}, P95 {shift.p95:+.4f}; n {shift.n:,})"


def _figure(figure: Figure | None, sign: str = "") -> str:
    if figure is None:
        return "-"
    ends = "" if figure.ci95 is None else f" [{figure.ci95[0]:{sign}.4f}, {figure.ci95[1]:{sign}.4f}]"
    return f"{figure.mean:{sign}.4f}{ends}"


def _prints(fingerprints: dict[str, str]) -> str:
    return "(" + ", ".join(f"{part} {value}" for part, value in fingerprints.items()) + ")"
