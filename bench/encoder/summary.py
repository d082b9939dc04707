"""Per-query values -> the rows of the report, with intervals and paired differences, and per_query.parquet."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.encoder.figures import Figure, Measure, Shrunk, Targets
from bench.encoder.intervals import intervals, ratio
from bench.encoder.measure import Key, Values
from bench.encoder.questions import Questions
from bench.encoder.seeds import recipes

MAIN = {"board-item": ("ndcg@10", "recall@50"), "text-item": ("r@10",)}  # measured again with smaller vectors
Answers = dict[str, dict[Key, Values]]


class Asked:
    """The queries of one question.

    Attributes:
        ids: of the queries, each once.
        owners: what is resampled; None: the queries.
        cold: (q,) bool; None where warm and cold are not told apart.
    """

    def __init__(self, questions: Questions, key: Key):
        self.owners: np.ndarray | None = None
        self.cold: np.ndarray | None = None
        if key.task in ("board-item", "item-mates"):
            boards = next(b for b in questions.boards if b.scope == key.scope)
            own = key.task == "board-item"
            self.ids = [q.query_id for q in (boards.boards if own else boards.mates)]
            self.owners = boards.owners if own else boards.mate_owners
            self.cold = boards.cold if own else boards.mate_cold
        else:
            rows = questions.text_items
            if key.task == "purity" and questions.labels is not None:
                rows = questions.held[questions.labels[questions.held] >= 0]
            self.ids = [questions.ids[row] for row in rows]

    def slices(self) -> Iterator[tuple[Targets, np.ndarray]]:
        """All queries, and the warm and the cold ones where there are both."""
        yield "all", np.ones(len(self.ids), bool)
        if self.cold is not None and self.cold.any() and not self.cold.all():
            yield "warm", ~self.cold
            yield "cold", self.cold


def measures(answers: Answers, single: Answers, questions: Questions, seed: int) -> list[Measure]:
    """One row a recipe, question and slice of full vectors; the first recipe is what the others are paired with.

    Args:
        answers: by recipe, see bench.encoder.seeds.
        single: by encoder.
        questions: what was asked.
        seed: of the resampling.
    """
    first, runs, rows = next(iter(answers)), recipes(single), []
    for key in next(iter(answers.values())):
        if key.dims or key.precision != "float32":
            continue
        asked = Asked(questions, key)
        for targets, kept in asked.slices():
            owners = None if asked.owners is None else asked.owners[kept]
            for name, own in ((name, own) for name, own in answers.items() if key in own):
                values = {metric: v[kept] for metric, v in own[key].items()}
                rival = {metric: v[kept] for metric, v in answers[first][key].items()}
                versus = _figures({m: v - rival[m] for m, v in values.items()}, owners, seed)
                rows.append(
                    Measure(
                        encoder=name, task=key.task, scope=key.scope, modality=key.modality, targets=targets,
                        n=int(kept.sum()), owners=None if owners is None else len(np.unique(owners)),
                        figures=_figures(values, owners, seed),
                        versus_first=None if name == first else versus,
                        by_run=_by_run([single[run][key] for run in runs[name]], kept),
                    )
                )  # fmt: skip
    return rows


def shrunk(answers: Answers, questions: Questions, seed: int) -> list[Shrunk]:
    """The main figures by prefix and precision, each also as a share of the full float32 figure."""
    rows = []
    for name, own in answers.items():
        for key, values in own.items():
            if not key.dims and key.precision == "float32":
                continue
            owners, full = Asked(questions, key).owners, own[Key(key.task, key.scope, key.modality)]
            for metric in MAIN[key.task]:
                rows.append(
                    Shrunk(
                        encoder=name, task=key.task, scope=key.scope, metric=metric, dims=key.dims,
                        precision=key.precision, value=intervals(values[metric][:, None], owners, seed)[0],
                        ratio=ratio(values[metric], full[metric], owners, seed),
                    )
                )  # fmt: skip
    return rows


def write_per_query(path: Path, answers: Answers, questions: Questions) -> None:
    """per_query.parquet: encoder, task, scope, modality, dims (0: all), precision, query_id, owner, cold, metric, value."""
    tables = []
    for name, own in answers.items():
        for key, values in own.items():
            asked = Asked(questions, key)
            n = len(asked.ids)
            for metric, value in values.items():
                same = {"encoder": name, "task": key.task, "scope": key.scope, "modality": key.modality}
                columns: dict[str, pa.Array] = {c: pa.array([v] * n, pa.string()) for c, v in same.items()}
                columns["dims"] = pa.array([key.dims] * n, pa.int32())
                columns["precision"] = pa.array([key.precision] * n, pa.string())
                columns["query_id"] = pa.array(asked.ids, pa.string())
                columns["owner"] = pa.array([None] * n if asked.owners is None else asked.owners.tolist(), pa.string())
                columns["cold"] = pa.array([None] * n if asked.cold is None else asked.cold.tolist(), pa.bool_())
                columns["metric"] = pa.array([metric] * n, pa.string())
                columns["value"] = pa.array(value, pa.float64())
                tables.append(pa.table(columns))
    pq.write_table(pa.concat_tables(tables), path)


def _by_run(runs: list[Values], kept: np.ndarray) -> dict[str, list[float]] | None:
    if len(runs) < 2:
        return None
    return {metric: [float(run[metric][kept].mean()) for run in runs] for metric in runs[0]}


def _figures(values: Values, owners: np.ndarray | None, seed: int) -> dict[str, Figure]:
    found = intervals(np.stack(list(values.values()), axis=1), owners, seed)
    return dict(zip(values, found, strict=True))
