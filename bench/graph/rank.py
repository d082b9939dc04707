"""`navigator-bench graph rank`: fit, rank, average over seeds, put intervals around it, write."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.documents import where
from bench.encoder.seeds import recipes
from bench.graph.baselines import fit
from bench.graph.figures import SCHEMA_VERSION, RankReport, Slice, SystemRow
from bench.graph.metrics import intervals, recall_among
from bench.graph.rank_files import write_rank
from bench.graph.stores import VectorRanker, open_store
from bench.graph.tables import compact_table, protocol
from bench.inputs import queries_digest
from bench.provenance import came_about, command_words
from navigator.contracts import Catalog, is_current, publish
from navigator.contracts.report import Split
from navigator.contracts.signals import Query, make_queries
from navigator.metrics import ranking_metrics

KIND = "graph-rank-report"


@dataclass(frozen=True)
class Options:
    """The options of `navigator-bench graph rank`; see bench.graph.commands."""

    catalog: Path
    graph: Path
    out: Path
    vectors: dict[str, str]
    task: Any
    part: Any
    k: int
    systems: list[str]
    ease_lambda: float
    seed: int
    max_history: int = 0

    def config(self) -> dict[str, Any]:
        """What decides the figures beside the inputs."""
        named = {name: value for name, value in vars(self).items() if name not in ("catalog", "graph", "out")}
        return named | {"vectors": [f"{n}={f}" for n, f in self.vectors.items()], "schema_version": SCHEMA_VERSION}

    def command_line(self) -> str:
        """The command that makes this report again."""
        return command_words(["navigator-bench", "graph", "rank"], vars(self))


@dataclass(frozen=True)
class World:
    """What is asked and what may be learned from.

    Attributes:
        queries: one an owner with something held out.
        rows: what the baselines are fitted on: every save of the task that is not asked for, per owner.
        cold: (n_items,) bool, items without a training save anywhere in the graph.
    """

    catalog: Catalog
    graph: str
    built: dict[str, Any]
    queries: list[Query]
    rows: list[tuple[int, ...]]
    cold: np.ndarray


@dataclass(frozen=True)
class Answer:
    """One run of one system: metric -> (q,) values, the positions and recalls of owners with a cold target."""

    source: str
    asks_by: str
    values: dict[str, np.ndarray]
    cold: tuple[np.ndarray, np.ndarray]
    unanswered: int
    seconds: float


def rank_systems(options: Options) -> dict[str, Any]:
    """Write the report, or find it current.

    Raises:
        UserError: see bench.graph.commands.
    """
    world = _open_world(options)
    stores = {
        name: open_store(name, Path(folder), world.catalog, world.graph, options.task, options.max_history)
        for name, folder in options.vectors.items()
    }
    inputs = {"catalog": world.catalog.fingerprint, "graph": world.graph}
    inputs |= {f"vectors {name}": store.fingerprint for name, store in stores.items()}
    config = options.config()
    if is_current(options.out, KIND, config, inputs):
        found = RankReport.model_validate_json((options.out / "report.json").read_text())
        return _summary(options.out, found, unchanged=True)
    with publish(options.out, KIND, config, inputs, options.seed) as work:
        answers = {name: _answer(name, options, world, stores) for name in (*options.systems, *stores)}
        report = _report(options, world, answers, inputs)
        write_rank(work.path, report, {name: (a.values, a.cold) for name, a in answers.items()}, world.queries)
        work.metrics = _means(report)
    return _summary(options.out, report, unchanged=False)


def _open_world(options: Options) -> World:
    from graph.store import TasteGraph

    catalog = Catalog.open(options.catalog)
    taste_graph = TasteGraph.open(options.graph, catalog, purpose="bench")
    sequences = taste_graph.sequences
    queries = make_queries(sequences, options.task, options.part)
    own = [s for s in sequences if s.task == options.task]
    rows = [s.items + s.valid if options.part == "test" else s.items for s in own]
    trained = np.zeros(len(catalog.item_ids), bool)
    trained[[item for s in sequences for item in s.items]] = True
    return World(catalog, taste_graph.fingerprint, taste_graph.manifest.config, queries, rows, ~trained)


def _answer(name: str, options: Options, world: World, stores: dict[str, VectorRanker]) -> Answer:
    begun, targets = time.perf_counter(), [q.targets for q in world.queries]
    ranker = stores.get(name) or fit(name, world.rows, len(world.cold), options.ease_lambda)
    ranked, _ = ranker.recommend(world.queries, options.k)
    return Answer(
        options.vectors.get(name, f"lambda {options.ease_lambda:g}" if name == "ease" else ""),
        ranker.asks_by if isinstance(ranker, VectorRanker) else "history",
        ranking_metrics(ranked, targets, options.k), recall_among(ranked, targets, world.cold, options.k),
        int((ranked[:, 0] < 0).sum()), time.perf_counter() - begun,
    )  # fmt: skip


def _report(options: Options, world: World, answers: dict[str, Answer], inputs: dict[str, str]) -> RankReport:
    targets = sum(len(set(q.targets)) for q in world.queries)
    built = ", ".join(f"{n} {world.built[n]}" for n in ("user_split", "valid_fraction", "seed") if n in world.built)
    split = Split(description=f"graph split: {built}", part=options.part, queries=queries_digest(world.queries))
    config = options.config()
    return RankReport(
        task=options.task, split=split, k=options.k, n_owners=len(world.queries), n_targets=targets,
        n_items=len(world.cold), n_cold_items=int(world.cold.sum()), systems=_rows(options, world, answers),
        **came_about(options.seed, options.command_line(), config, inputs, protocol(config)),
    )  # fmt: skip


def _rows(options: Options, world: World, answers: dict[str, Answer]) -> dict[str, SystemRow]:
    """Runs of a recipe averaged owner by owner, then every figure and difference from the same resamples."""
    runs = recipes(answers)
    metrics = list(next(iter(answers.values())).values)
    own = [
        np.stack([np.mean([answers[r].values[m] for r in names], axis=0) for m in metrics], 1)
        for names in runs.values()
    ]
    figures = intervals(np.hstack(own), options.seed)
    versus = intervals(np.hstack([values - own[0] for values in own]), options.seed)
    cold_targets = sum(bool(world.cold[item]) for q in world.queries for item in set(q.targets))
    rows = {}
    for number, (name, names) in enumerate(runs.items()):
        part, first = slice(number * len(metrics), (number + 1) * len(metrics)), answers[names[0]]
        cold = np.mean([answers[r].cold[1] for r in names], axis=0)
        several = {m: [float(answers[r].values[m].mean()) for r in names] for m in metrics} if len(names) > 1 else None
        rows[name] = SystemRow(
            source=", ".join(answers[r].source for r in names), asks_by=first.asks_by, runs=len(names),
            unanswered=first.unanswered, figures=dict(zip(metrics, figures[part], strict=True)),
            versus_first=dict(zip(metrics, versus[part], strict=True)) if number else None,
            cold=Slice(owners=len(cold), targets=cold_targets, recall=intervals(cold[:, None], options.seed)[0])
            if len(cold) else None,
            by_run=several, seconds=round(sum(answers[r].seconds for r in names), 2),
        )  # fmt: skip
    return rows


def _means(report: RankReport) -> dict[str, dict[str, float]]:
    return {name: {m: figure.mean for m, figure in row.figures.items()} for name, row in report.systems.items()}


def _summary(out: Path, report: RankReport, unchanged: bool) -> dict[str, Any]:
    text = f"{compact_table(report)}\n\n{where(out, unchanged)}"
    return {
        "out": str(out), "unchanged": unchanged, "owners": report.n_owners, "systems": _means(report), "text": text,
    }  # fmt: skip
