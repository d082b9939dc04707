"""`navigator-bench taste`: tune on validation, fit, ask once, average over seeds, put intervals around it, write."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.documents import DOCUMENTS, where, write_documents
from bench.encoder.seeds import recipes
from bench.inputs import queries_digest
from bench.provenance import came_about
from bench.taste.assemble import contenders, input_fingerprints
from bench.taste.figures import PROTOCOL, SCHEMA_VERSION, SystemRow, TasteReport, TriedRow
from bench.taste.options import Options
from bench.taste.summary import Values, slice_row, write_per_query
from bench.taste.tables import compact_tables, compared, markdown, protocol, slice_title
from bench.taste.tune import TUNED_BY, Contender, Tried, answer, measures, tune
from bench.taste.world import World, open_world
from navigator.contracts import UserError, is_current, publish
from navigator.contracts.report import Split

KIND = "taste-report"
PICTURE = "quality.png"


@dataclass
class Answers:
    """What the systems answered, by run.

    Attributes:
        values: run -> metric -> (q,).
        tried: run -> settings tried, the chosen one first.
        source, unanswered, seconds: by run.
    """

    values: dict[str, Values] = field(default_factory=dict)
    tried: dict[str, list[Tried]] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    unanswered: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def compare_taste(options: Options) -> dict[str, Any]:
    """Write the report, or find it current.

    Raises:
        UserError: see bench.taste.command.
    """
    world = open_world(options)
    inputs = input_fingerprints(world)
    config = options.config() | {"schema_version": SCHEMA_VERSION, "protocol": PROTOCOL}
    if is_current(options.out, KIND, config, inputs):
        return _summary(options, TasteReport.model_validate_json((options.out / "report.json").read_text()), True)
    systems = contenders(world)
    with publish(options.out, KIND, config, inputs, options.seed) as work:
        answers = Answers()
        for contender in systems:
            _ask(contender, world, answers)
        report = _report(world, answers, config, inputs)
        write_per_query(work.path / "per_query.parquet", answers.values, world.final.queries, world.slices)
        _draw(report, work.path / PICTURE)
        write_documents(work.path, report, markdown(report, [*DOCUMENTS, "per_query.parquet"], PICTURE))
        work.metrics = _means(report)
    return _summary(options, report, False)


def _ask(contender: Contender, world: World, answers: Answers) -> None:
    """Tune once, then one run a seed."""
    begun, queries = time.perf_counter(), world.final.queries
    tried = tune(contender, world)
    learned = replace(world.final, queries=[])  # what is asked is nothing to fit or to stop by
    for seed in contender.seeds:
        ranker, _ = contender.fit(learned, tried[0].settings, seed)
        ranked, name = answer(ranker, contender, queries, world.final.warm), contender.run_name(seed)
        answers.values[name] = measures(ranked, [q.targets for q in queries])
        answers.tried[name], answers.source[name] = tried, contender.source
        answers.unanswered[name] = int((ranked[:, 0] < 0).sum())
        answers.seconds[name] = time.perf_counter() - begun
        begun = time.perf_counter()


def _report(world: World, answers: Answers, config: dict[str, Any], inputs: dict[str, str]) -> TasteReport:
    options, queries = world.options, world.final.queries
    built = ", ".join(f"{n} {world.built[n]}" for n in ("user_split", "valid_fraction", "seed") if n in world.built)
    runs = recipes(answers.values)
    foreign = next((rival for rival in options.rivals if rival not in runs), None)
    if foreign is not None:
        raise UserError(f"rival {foreign!r} is none of the systems: {', '.join(runs)}")
    rivals = options.rivals or list(runs)[:1]
    rows = {
        name: slice_row(answers.values, keep, world.clusters, rivals, options.seed)
        for name, keep in world.slices.items()
    }
    tuned = any(tried[0].valid is not None for tried in answers.tried.values())
    return TasteReport(
        task=options.task, n_queries=len(queries), n_targets=sum(len(set(q.targets)) for q in queries),
        split=Split(description=f"graph split: {built}", part=options.part, queries=queries_digest(queries)),
        n_items=world.final.n_items, n_tuning=len(world.tuning.queries) if tuned else None, unasked=world.unasked,
        systems={name: _system_row(own, answers) for name, own in runs.items()},
        slices={name: row for name, row in rows.items() if row is not None},
        **came_about(
            options.seed, options.command_line(), config, inputs, protocol(config, world.resampled, among_new(world)),
            cuda=_on_cuda(options),
        ),
    )  # fmt: skip


def _system_row(runs: list[str], answers: Answers) -> SystemRow:
    tried = {run: answers.tried[run] for run in runs}
    if all(own is tried[runs[0]] for own in tried.values()):  # tuned once for all seeds
        tried = {runs[0].partition("@")[0]: tried[runs[0]]}
    return SystemRow(
        source=", ".join(dict.fromkeys(answers.source[run] for run in runs)), runs=runs,
        settings={run: own[0].settings for run, own in tried.items()},
        tried={run: [TriedRow(settings=t.settings, valid=t.valid) for t in own] for run, own in tried.items()},
        unanswered=answers.unanswered[runs[0]], seconds=round(sum(answers.seconds[run] for run in runs), 2),
    )  # fmt: skip


def among_new(world: World) -> str:
    """The protocol's line about queries that ask for new arrivals; empty where none does."""
    asking, warm = world.slices["new"], world.final.warm
    return (
        f"Slice new, {int(asking.sum()):,} of {asking.size:,} queries: training knows none of their items. They are asked "
        f"among the {int((~warm).sum()):,} of {warm.size:,} items that nobody saved in training, by every system, and on "
        "validation too."
        if asking.any()
        else ""
    )


def _draw(report: TasteReport, path: Path) -> None:
    from bench.interval_plot import interval_plot

    panels = {
        slice_title(name, row): {system: own.figures[TUNED_BY] for system, own in row.systems.items()}
        for name, row in report.slices.items()
    }
    interval_plot(panels, "NDCG@10, 95 % interval", path, compared(report))


def _on_cuda(options: Options) -> bool:
    if not (options.models or any(name.startswith("sasrec") for name in options.systems)):
        return False
    from navigator.recommend import pick_device

    return pick_device(options.device).type == "cuda"


def _means(report: TasteReport) -> dict[str, dict[str, dict[str, float]]]:
    return {
        slice_name: {name: {m: f.mean for m, f in own.figures.items()} for name, own in row.systems.items()}
        for slice_name, row in report.slices.items()
    }


def _summary(options: Options, report: TasteReport, unchanged: bool) -> dict[str, Any]:
    text = f"{compact_tables(report)}\n\n{where(options.out, unchanged)}"
    return {
        "out": str(options.out), "unchanged": unchanged, "queries": report.n_queries,
        "settings": {name: row.settings for name, row in report.systems.items()}, "slices": _means(report), "text": text,
    }  # fmt: skip
