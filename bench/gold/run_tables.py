"""The report of `navigator-bench gold run` as words: a table a slice and a treatment of unjudged items."""

from collections.abc import Sequence

from bench.encoder.figures import Figure
from bench.gold.check_tables import SIMULATED
from bench.gold.figures import GoldReport, SliceRow
from bench.gold.metrics import JUDGED, METRICS, TREATMENTS
from bench.gold.scale import GRADES, RELEVANT
from bench.intervals import RESAMPLES
from bench.markdown import aligned, bullets, piped, provenance, stamp

_TITLES = {"unjudged_wrong": "unjudged counts as wrong", "condensed": "unjudged left out"}
_SHORT = ("ndcg@10", "sdcg@25", "precision@10", "recall@25", "judged@10")


def run_text(report: GoldReport) -> str:
    """For a terminal: everything that is asked, by both treatments, then NDCG@10 by stratum."""
    parts = [SIMULATED] if report.simulated else []
    parts.append(_summary(report))
    for name, row in list(report.slices.items())[:2]:
        if name.startswith("all"):
            parts += [_titled(f"{name}: {_sizes(row)}; {_TITLES[t]}", _rows(row, t, _SHORT)) for t in TREATMENTS]
    strata = {name: row for name, row in report.slices.items() if not name.startswith("all")}
    parts.append(_titled("NDCG@10 by stratum, unjudged counts as wrong", _by_stratum(strata)))
    return "\n\n".join([*parts, _outside(report), *_silent(report)])


def run_markdown(report: GoldReport, files: Sequence[str]) -> str:
    """report.md; `files` are names of the other files beside it."""
    parts = ["# Gold set: scores", f"**{SIMULATED}**" if report.simulated else "", _summary(report), *_silent(report)]
    for name, row in report.slices.items():
        parts += [f"## {name}: {_sizes(row)}"]
        parts += [f"### {_TITLES[t]}\n\n{piped(_rows(row, t, (*METRICS, *JUDGED)))}" for t in TREATMENTS]
    parts += [
        bullets("What the pool missed", [_outside(report)]), bullets("Systems", _systems(report)),
        bullets("Grades", [f"{g.number} {g.name}: {g.meaning}" for g in GRADES]), bullets("Protocol", report.protocol),
        bullets("Files", [f"[{name}]({name})" for name in files]), bullets("Provenance", provenance(report)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def run_protocol(resampled: str, seed: int) -> list[str]:
    """How the figures came about."""
    return [
        "Every system ranks the whole catalogue for each query; items of the query's history are taken out. A query without "
        "an answer scores 0.",
        "Gain = grade - 1, linear. NDCG@10: the ideal is the best order of the judged items. sDCG@25: the ideal is 25 items of "
        f"the highest grade. Precision@k and recall@k: relevant is a grade from {RELEVANT}; recall counts what is judged.",
        "Unjudged items count as wrong, or are left out of the list (condensed): the truth lies between. judged@k is the "
        "share of the first k items that is judged.",
        "NDCG is undefined for a query whose judged items are all wrong, recall for one without a relevant item: such "
        "queries are not in that mean, for any system.",
        "Weighted to the whole: each query counts with one over the probability with which it was drawn from its stratum, so "
        "that the mean is an estimate for all queries that could have been drawn.",
        f"Intervals: 95 % percentile bootstrap over {resampled}, {RESAMPLES:,} resamples, seed {seed}; differences are paired.",
    ]


def _rows(row: SliceRow, treatment: str, metrics: Sequence[str]) -> list[tuple[str, ...]]:
    own = [m for m in metrics if any(m in s.figures[treatment] for s in row.systems.values())]
    rivals = list(dict.fromkeys(rival for system in row.systems.values() for rival in system.minus))
    lines: list[tuple[str, ...]] = [("system", *own, *(f"ndcg@10 - {rival}" for rival in rivals))]
    for name, system in row.systems.items():
        minus = [_signed(system.minus[r][treatment]["ndcg@10"]) if r in system.minus else "-" for r in rivals]
        lines.append((name, *(_value(system.figures[treatment][m]) for m in own), *minus))
    return lines


def _by_stratum(slices: dict[str, SliceRow]) -> list[tuple[str, ...]]:
    systems = list(next(iter(slices.values())).systems)
    lines: list[tuple[str, ...]] = [("stratum", "queries", *systems)]
    for name, row in slices.items():
        figures = [_value(row.systems[s].figures[TREATMENTS[0]]["ndcg@10"]) for s in systems]
        lines.append((name, f"{row.n:,}", *figures))
    return lines


def _value(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return f"{figure.mean:.3f}" + (f" ({figure.ci95[0]:.3f}..{figure.ci95[1]:.3f})" if figure.ci95 else "")


def _signed(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return f"{figure.mean:+.3f}" + (f" [{figure.ci95[0]:+.3f}, {figure.ci95[1]:+.3f}]" if figure.ci95 else "")


def _sizes(row: SliceRow) -> str:
    units = f" of {row.clusters:,} owners" if row.clusters != row.n else ""
    return f"{row.n:,} queries{units}, {row.with_relevant:,} with a relevant item"


def _summary(report: GoldReport) -> str:
    grades = ", ".join(f"{n:,}" for n in report.grades)
    return (
        f"Gold set {report.gold}: {report.n_queries:,} queries, {report.n_judged:,} judgements (grades 1 to 5: {grades}); "
        f"{stamp(report)}."
    )


def _outside(report: GoldReport) -> str:
    own = report.outside
    if own.outside is None:
        return "No item outside the pool was judged: what the pool missed is unknown."
    return (
        f"Relevant items a query: {_value(own.in_pool)} in the pool; outside {_value(own.outside)}, estimated from "
        f"{own.relevant:,} relevant among {own.drawn:,} random items."
    )


def _silent(report: GoldReport) -> list[str]:
    """Who answers no query of a kind at all, and scores 0 there; often only the option --encoder is missing."""
    asked = {kind for own in report.systems.values() for kind in own.answered}
    silent = {
        kind: [name for name, own in report.systems.items() if not own.answered.get(kind)] for kind in sorted(asked)
    }
    return [
        f"CAREFUL: {', '.join(names)} answer no query of kind {kind} and score 0 there, in every mean above; compare by "
        "stratum, or give --encoder, with which stores and models answer titles and texts."
        for kind, names in silent.items()
        if names and len(names) < len(report.systems)
    ]


def _systems(report: GoldReport) -> list[str]:
    lines = []
    for name, own in report.systems.items():
        answered = ", ".join(f"{kind} {n:,}" for kind, n in own.answered.items())
        odd = [f"{own.left_out:,} items of histories taken out"] if own.left_out else []
        odd += [f"{own.foreign_queries:,} queries that the set does not ask"] if own.foreign_queries else []
        lines.append("; ".join([f"{name}: {own.source}; queries answered: {answered}", *odd]))
    return lines


def _titled(title: str, rows: list[tuple[str, ...]]) -> str:
    return "\n".join([title, *aligned(rows)])
