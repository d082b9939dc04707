"""Per-query values -> means, intervals, paired differences and ratios, all of a slice from the same resamples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.encoder.figures import Figure
from bench.encoder.intervals import resampled_means
from bench.encoder.seeds import recipes
from bench.taste.figures import Against, Measured, SliceRow
from bench.taste.tune import TUNED_BY
from navigator.contracts.signals import Query

Values = dict[str, np.ndarray]


class Resampled:
    """Means of every system and metric over a slice, and over each resample of it.

    Args:
        values: recipe -> metric -> (q,) values.
        clusters: (q,) what is resampled; None: the queries.
        seed: of the resampling.
    """

    def __init__(self, values: dict[str, Values], clusters: np.ndarray | None, seed: int):
        names = [(system, metric) for system, own in values.items() for metric in own]
        stacked = np.stack([values[system][metric] for system, metric in names], axis=1)
        self.column = {name: number for number, name in enumerate(names)}
        self.centre = stacked.mean(axis=0)
        self.units = len(stacked) if clusters is None else len(np.unique(clusters))
        self.means = resampled_means(stacked, clusters, seed) if self.units > 1 else None

    def figure(self, system: str, metric: str, minus: str | None = None) -> Figure:
        """A mean, or the difference from the mean of another system."""
        columns = [self.column[name, metric] for name in (system, minus) if name is not None]
        sign = np.array([1.0, -1.0])[: len(columns)]
        return self._around(self.centre[columns] @ sign, None if self.means is None else self.means[:, columns] @ sign)

    def times(self, system: str, rival: str, metric: str) -> Figure | None:
        """A ratio of means; None where the rival's mean is 0 or becomes 0 in a resample."""
        mine, theirs = self.column[system, metric], self.column[rival, metric]
        if self.centre[theirs] == 0 or (self.means is not None and (self.means[:, theirs] == 0).any()):
            return None
        ratios = None if self.means is None else self.means[:, mine] / self.means[:, theirs]
        return self._around(self.centre[mine] / self.centre[theirs], ratios)

    def _around(self, centre: float, means: np.ndarray | None) -> Figure:
        if means is None:
            return Figure(mean=float(centre))
        low, high = np.percentile(means, [2.5, 97.5])
        return Figure(mean=float(centre), ci95=(float(low), float(high)))


def slice_row(
    answers: dict[str, Values], keep: np.ndarray, clusters: np.ndarray | None, rivals: Sequence[str], seed: int
) -> SliceRow | None:
    """One slice; None when no query is in it.

    Args:
        answers: run -> metric -> (q,) values of all queries.
        keep: (q,) bool.
        clusters: (q,) see Resampled.
        rivals: recipes that every other is paired with.
        seed: of the resampling.
    """
    if not keep.any():
        return None
    runs = recipes(answers)
    values = {
        name: {m: np.mean([answers[run][m][keep] for run in own], axis=0) for m in answers[own[0]]}
        for name, own in runs.items()
    }
    found = Resampled(values, None if clusters is None else clusters[keep], seed)
    systems = {}
    for name, own in values.items():
        against = {
            rival: Against(
                minus={m: found.figure(name, m, minus=rival) for m in own}, times=found.times(name, rival, TUNED_BY)
            )
            for rival in rivals
            if rival != name
        }
        several = {m: [float(answers[run][m][keep].mean()) for run in runs[name]] for m in own}
        figures = {m: found.figure(name, m) for m in own}
        systems[name] = Measured(figures=figures, against=against, by_run=several if len(runs[name]) > 1 else None)
    return SliceRow(n=int(keep.sum()), clusters=found.units, systems=systems)


def write_per_query(
    path: Path, answers: dict[str, Values], queries: Sequence[Query], slices: dict[str, np.ndarray]
) -> None:
    """per_query.parquet: system (a run), owner, n_history, n_targets, a boolean a slice, and the metrics."""
    shared = {
        "owner": pa.array([q.query_id for q in queries], pa.string()),
        "n_history": pa.array([len(q.history) for q in queries], pa.int32()),
        "n_targets": pa.array([len(set(q.targets)) for q in queries], pa.int32()),
    } | {name: pa.array(keep) for name, keep in slices.items() if name != "all"}
    tables = [
        pa.table(
            {"system": pa.array([name] * len(queries), pa.string()).dictionary_encode()}
            | shared
            | {metric: pa.array(value, pa.float64()) for metric, value in values.items()}
        )
        for name, values in answers.items()
    ]
    pq.write_table(pa.concat_tables(tables).unify_dictionaries(), path, compression="zstd")
