"""The report of `navigator-bench graph rank` as words."""

from collections.abc import Sequence
from typing import Any

from bench.encoder.figures import Figure
from bench.graph.figures import RankReport, SystemRow
from bench.intervals import RESAMPLES
from bench.markdown import aligned, bullets, piped, provenance, stamp


def compact_table(report: RankReport) -> str:
    """Plain text columns for a terminal, with a line that says what was asked and where."""
    return "\n".join([_summary(report), "", *aligned(_table(report))])


def markdown(report: RankReport, files: Sequence[str], picture: str) -> str:
    """report.md.

    Args:
        report: the figures.
        files: names of the other files beside it.
        picture: name of the plot beside it.
    """
    notes = [
        f"{name}: " + "; ".join(words)
        for name, row in report.systems.items()
        if (words := _notes(row))
    ]  # fmt: skip
    parts = [
        f"# Ranking by the taste graph: {report.task}", _summary(report),
        f"![NDCG@{report.k} by system]({picture})", piped(_table(report)),
        bullets("Notes", notes), bullets("Protocol", report.protocol),
        bullets("Files", [f"[{name}]({name})" for name in files]),
        bullets("Provenance", [*provenance(report), f"queries: {report.split.queries} ({report.split.description})"]),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def protocol(config: dict[str, Any]) -> list[str]:
    """How the figures came about, for a run with these options."""
    k, part = config["k"], config["part"]
    known = "training and validation saves" if part == "test" else "training saves"
    return [
        f"Asked: every owner of task {config['task']} with a {part} target and a history; all items of the catalogue are "
        f"ranked, the owner's own {known} excluded; ties to the smaller item index.",
        f"Recall@{k} = hits / number of targets; NDCG@{k} has binary gains and the ideal cut at min(targets, {k}); HR@{k} is 1 "
        "when any target is found. Means over owners.",
        f"popularity, item-knn (cosine of 0/1 columns, all neighbours, zero diagonal) and ease (lambda "
        f"{config['ease_lambda']:g}) are fitted on those same {known} of all owners and score the whole history.",
        "Vectors with owner vectors score query . item as stored; others ask with the unit mean of the history's unit item "
        "vectors. An item without a vector is never recommended; an owner without one counts as a miss.",
        "Cold: targets without any training save in the graph; recall is among an owner's cold targets, a mean over the "
        "owners that have one.",
        f"Intervals: 95 % percentile bootstrap over owners, {RESAMPLES:,} resamples, seed {config['seed']}; differences are "
        "paired by owner. Runs NAME@0, NAME@1, ... are averaged owner by owner first.",
    ]  # fmt: skip


def _table(report: RankReport) -> list[tuple[str, ...]]:
    first, k = next(iter(report.systems)), report.k
    names = (f"recall@{k}", f"ndcg@{k}", f"hr@{k}")
    heads = (f"Recall@{k}", f"NDCG@{k}", f"HR@{k}")
    rows: list[tuple[str, ...]] = [
        ("system", "runs", *heads, f"Recall@{k} - {first}", f"NDCG@{k} - {first}", f"cold Recall@{k}", "seconds")
    ]
    for name, row in report.systems.items():
        versus = row.versus_first
        against = [_difference(versus[m]) if versus else "-" for m in names[:2]]
        cold = _value(row.cold.recall) if row.cold else "-"
        rows.append(
            (name, str(row.runs), *(_value(row.figures[m]) for m in names), *against, cold, f"{row.seconds:.1f}")
        )
    return rows


def _value(figure: Figure) -> str:
    around = "" if figure.ci95 is None else f" ({figure.ci95[0]:.4f}..{figure.ci95[1]:.4f})"
    return f"{figure.mean:.4f}{around}"


def _difference(figure: Figure) -> str:
    """A paired difference, such as +0.0144 [+0.0120, +0.0168]."""
    around = "" if figure.ci95 is None else f" [{figure.ci95[0]:+.4f}, {figure.ci95[1]:+.4f}]"
    return f"{figure.mean:+.4f}{around}"


def _notes(row: SystemRow) -> list[str]:
    words = [f"asks by {row.asks_by}"]
    words += [row.source] if row.source else []
    words += [f"{row.unanswered:,} owners without an answer"] if row.unanswered else []
    if row.by_run:
        words += [f"{m} by run {', '.join(f'{v:.4f}' for v in values)}" for m, values in row.by_run.items()]
    words += [f"{row.cold.targets:,} cold targets of {row.cold.owners:,} owners"] if row.cold else []
    return words


def _summary(report: RankReport) -> str:
    device = report.device
    return (
        f"{report.task}, {report.split.part}: {report.n_owners:,} owners, {report.n_targets:,} targets, "
        f"{report.n_items:,} items ({report.n_cold_items:,} cold); {device.cpu}, {device.cores} cores; "
        f"{stamp(report)}."
    )
