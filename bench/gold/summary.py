"""Values by query -> means with intervals and paired differences, plain or weighted, all from the same resamples."""

from collections.abc import Mapping, Sequence

import numpy as np

from bench.encoder.figures import Figure
from bench.encoder.intervals import resampled_means
from bench.gold.figures import Measured, SliceRow
from bench.gold.metrics import JUDGED, METRICS, TREATMENTS

Values = Mapping[str, Mapping[str, np.ndarray]]  # treatment -> metric -> (q,), nan where undefined


class Resampled:
    """Means, weighted by `weights`, over the values that are defined, and the same over each resample.

    Args:
        values: (q, m), nan where undefined.
        weights: (q,) above 0.
        clusters: (q,) what is resampled; None: the queries.
        seed: of the resampling.
    """

    def __init__(self, values: np.ndarray, weights: np.ndarray, clusters: np.ndarray | None, seed: int):
        defined = ~np.isnan(values)
        parts = np.concatenate([np.where(defined, values, 0) * weights[:, None], defined * weights[:, None]], axis=1)
        self.centre = self._ratio(parts.mean(axis=0)[None])[0]
        self.units = len(values) if clusters is None else len(np.unique(clusters))
        self.means = self._ratio(resampled_means(parts, clusters, seed)) if self.units > 1 else None

    @staticmethod
    def _ratio(parts: np.ndarray) -> np.ndarray:
        top, below = np.split(parts, 2, axis=1)
        return np.divide(top, below, out=np.full(top.shape, np.nan), where=below > 0)

    def figure(self, column: int, minus: int | None = None) -> Figure | None:
        """A mean, or its difference from another column's; None where nothing is defined."""
        centre = self.centre[column] - (0 if minus is None else self.centre[minus])
        if np.isnan(centre):
            return None
        if self.means is None:
            return Figure(mean=float(centre))
        means = self.means[:, column] - (0 if minus is None else self.means[:, minus])
        low, high = np.nanpercentile(means, [2.5, 97.5])
        return Figure(mean=float(centre), ci95=(float(low), float(high)))


def slice_row(
    values: Mapping[str, Values], keep: np.ndarray, weights: np.ndarray, clusters: np.ndarray | None,
    rivals: Sequence[str], seed: int,
) -> SliceRow | None:  # fmt: skip
    """One slice; None when no query is in it.

    Args:
        values: system -> treatment -> metric -> (q,) of all queries.
        keep: (q,) bool.
        weights: (q,) of all queries.
        clusters: (q,) see Resampled.
        rivals: systems that every other is paired with.
        seed: of the resampling.
    """
    if not keep.any():
        return None
    names = [(s, t, m) for s, own in values.items() for t in TREATMENTS for m in own[t]]
    stacked = np.stack([values[s][t][m][keep] for s, t, m in names], axis=1)
    column = {name: number for number, name in enumerate(names)}
    found = Resampled(stacked, weights[keep], None if clusters is None else clusters[keep], seed)
    systems = {}
    for name, own in values.items():
        figures = {t: {m: found.figure(column[name, t, m]) for m in own[t]} for t in TREATMENTS}
        minus = {
            rival: {t: {m: found.figure(column[name, t, m], column[rival, t, m]) for m in METRICS} for t in TREATMENTS}
            for rival in rivals
            if rival != name
        }
        systems[name] = Measured(figures=figures, minus=minus)
    first = next(iter(values.values()))[TREATMENTS[0]]
    with_gain, with_relevant = (int((~np.isnan(first[m][keep])).sum()) for m in ("ndcg@10", "recall@10"))
    return SliceRow(
        n=int(keep.sum()), clusters=found.units, with_relevant=with_relevant, with_gain=with_gain, systems=systems
    )


def all_metrics() -> tuple[str, ...]:
    """Every column of per_query.parquet."""
    return METRICS + JUDGED
