"""The report of `navigator-bench taste` as words: a table a slice."""

from collections.abc import Callable, Sequence
from typing import Any

from bench.encoder.figures import Figure
from bench.encoder.seeds import recipes
from bench.intervals import RESAMPLES
from bench.markdown import aligned, bullets, piped, provenance, stamp
from bench.taste.figures import Against, SliceRow, SystemRow, TasteReport
from bench.taste.tune import TUNED_BY

_HEADS = {"ndcg@10": "NDCG@10", "hr@10": "HR@10", "recall@10": "Recall@10", "recall@50": "Recall@50"}


def compact_tables(report: TasteReport) -> str:
    """Plain text for a terminal: a slice's figures, then models (and scores) against every rival."""
    parts = [_summary(report)]
    subjects = compared(report) or list(report.systems)
    for name, row in report.slices.items():
        parts.append("\n".join([slice_title(name, row), *aligned(_figures(row, ("ndcg@10",)))]))
        pairs = _pairs(row, subjects)
        if pairs:
            parts.append("\n".join(aligned([("system", "rival", "NDCG@10 - rival", "NDCG@10 / rival"), *pairs])))
    return "\n\n".join(parts)


def compared(report: TasteReport) -> list[str]:
    """What a run is about: recipes that came by --models and --scores and are no rivals; empty where there is none."""
    config = report.config
    given = recipes(word.partition("=")[0] for word in (*config["models"], *config["scores"]))
    return [name for name in given if name not in config["rivals"]]


def markdown(report: TasteReport, files: Sequence[str], picture: str) -> str:
    """report.md.

    Args:
        report: the figures.
        files: names of the other files beside it.
        picture: name of the plot beside it.
    """
    parts = [f"# Taste: {report.task}", _summary(report), f"![NDCG@10 by slice and system]({picture})"]
    for name, row in report.slices.items():
        parts += [f"## {slice_title(name, row)}", piped(_figures(row, tuple(_HEADS)))]
        rivals = list(dict.fromkeys(rival for own in row.systems.values() for rival in own.against))
        if rivals:
            parts += ["NDCG@10 minus a rival's:", piped(_matrix(row, rivals, _minus))]
            parts += ["NDCG@10 over a rival's:", piped(_matrix(row, rivals, _times))]
    parts += [
        bullets("Settings", [note for name, row in report.systems.items() for note in _settings(name, row)]),
        bullets("Runs", _runs(report)),
        bullets("Protocol", report.protocol),
        bullets("Files", [f"[{name}]({name})" for name in files]),
        bullets("Provenance", [*provenance(report), f"queries: {report.split.queries} ({report.split.description})"]),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def protocol(config: dict[str, Any], resampled: str, among_new: str) -> list[str]:
    """How the figures came about, for a run with these options.

    Args:
        config: of the run.
        resampled: what intervals draw.
        among_new: a line about queries that ask for new arrivals, empty where there are none.
    """
    part, show = config["part"], config["show"]
    known = "training and validation saves" if part == "test" and config["refit"] else "training saves"
    asked = (
        f"Asked: every unseen board of part {part}: {show} of its items, drawn by board, are shown (0: the title alone), "
        "all others are targets."
        if part.startswith("unseen")
        else f"Asked: every owner of task {config['task']} with a {part} target and a history."
    )
    return [
        f"{asked} All items of the catalogue are ranked, the shown ones excluded; ties to the smaller item index.",
        *([among_new] if among_new else []),
        "Settings: every system's grid is tried on validation queries, with what was saved before them, and the setting "
        f"with the highest {TUNED_BY} is taken; then the system is fitted again on all {known} and asked once.",
        "NDCG@10 has binary gains and the ideal cut at min(targets, 10); HR@10 is 1 when any target is found; recall@k = "
        "hits / number of targets. Means over queries; a query without an answer is a miss.",
        f"Slice cold: every target has at most {config['cold_max']} training or validation saves. Slice gap: more than "
        f"{config['gap']:g} s between a user's latest save and the first target.",
        f"Intervals: 95 % percentile bootstrap over {resampled}, {RESAMPLES:,} resamples, "
        f"seed {config['seed']}; differences and ratios are paired. Runs NAME@0, NAME@1, ... are averaged "
        "query by query first.",
    ]  # fmt: skip


def _figures(row: SliceRow, with_intervals: Sequence[str]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = [("system", *_HEADS.values())]
    for name, own in row.systems.items():
        cells = [_value(own.figures[m]) if m in with_intervals else f"{own.figures[m].mean:.4f}" for m in _HEADS]
        lines.append((name, *cells))
    return lines


def _matrix(row: SliceRow, rivals: Sequence[str], cell: Callable[[Against], str]) -> list[tuple[str, ...]]:
    """A row a system, a column a rival."""
    body = [
        (name, *(cell(own.against[rival]) if rival in own.against else "-" for rival in rivals))
        for name, own in row.systems.items()
    ]
    return [("system", *rivals), *body]


def _pairs(row: SliceRow, subjects: Sequence[str]) -> list[tuple[str, ...]]:
    return [
        (name, rival, _minus(own), _times(own))
        for name in subjects
        for rival, own in row.systems[name].against.items()
    ]  # fmt: skip


def _minus(own: Against) -> str:
    return _signed(own.minus[TUNED_BY])


def _times(own: Against) -> str:
    return "-" if own.times is None else _value(own.times, 2)


def _settings(name: str, row: SystemRow) -> list[str]:
    words = [
        f"{name}: {row.source}; {row.seconds:.0f} s" + (f"; {row.unanswered:,} unanswered" if row.unanswered else "")
    ]
    for run, tried in row.tried.items():
        if not tried[0].settings:
            continue
        label = "" if run == name else f"{run}: "
        chosen = ", ".join(f"{key} {value}" for key, value in tried[0].settings.items())
        valid = (
            "" if tried[0].valid is None else f" ({TUNED_BY} {tried[0].valid:.4f} on validation, of {len(tried)} tried)"
        )
        words.append(f"{label}{chosen}{valid}")
    return ["; ".join(words)]


def _runs(report: TasteReport) -> list[str]:
    every = report.slices["all"].systems
    return [
        f"{name}: " + "; ".join(f"{m} {', '.join(f'{v:.4f}' for v in values)}" for m, values in own.by_run.items())
        for name, own in every.items()
        if own.by_run
    ]


def _value(figure: Figure, digits: int = 4) -> str:
    around = "" if figure.ci95 is None else f" ({figure.ci95[0]:.{digits}f}..{figure.ci95[1]:.{digits}f})"
    return f"{figure.mean:.{digits}f}{around}"


def _signed(figure: Figure) -> str:
    around = "" if figure.ci95 is None else f" [{figure.ci95[0]:+.4f}, {figure.ci95[1]:+.4f}]"
    return f"{figure.mean:+.4f}{around}"


def slice_title(name: str, row: SliceRow) -> str:
    """Name of a slice and how many queries it has."""
    return f"{name}: {row.n:,} queries" + (f" of {row.clusters:,} owners" if row.clusters != row.n else "")


def _summary(report: TasteReport) -> str:
    tuned = "nothing tuned" if report.n_tuning is None else f"tuned on {report.n_tuning:,} validation queries"
    left = f", {report.unasked:,} boards too small to ask" if report.unasked else ""
    return (
        f"{report.task}, {report.split.part}: {report.n_queries:,} queries, {report.n_targets:,} targets, "
        f"{report.n_items:,} items{left}; {tuned}; {report.device.cpu}, {report.device.cores} cores; "
        f"{stamp(report)}."
    )
