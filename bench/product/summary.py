"""Sums by user -> ratios with intervals, differences from the baseline, and the sample-ratio check.

Users are the unit of resampling, because events of one user belong together; a user who saw several versions is drawn with
all of it, so that differences stay right. Where users are very many they are drawn in groups made by their ids: intervals
are the same but for chance. Sample-ratio mismatch: A. Fabijan et al., Diagnosing Sample Ratio Mismatch (KDD 2019).
"""

import numpy as np
from scipy.stats import chisquare

from bench.encoder.figures import Figure
from bench.encoder.intervals import resampled_means
from bench.product.events import Sums
from bench.product.figures import COUNTS, METRICS, SampleRatio, VersionRow
from navigator.contracts.errors import UserError

LIMIT = 0.001  # a split this unlikely is a broken experiment, not bad luck


def version_rows(sums: Sums, baseline: str, unseen: dict[str, int | None], seed: int) -> dict[str, VersionRow]:
    """Every version's row, the baseline's first."""
    units = len(sums.values)
    flat = sums.values.reshape(units, -1)
    centre = _ratios(flat.mean(axis=0).reshape(1, *sums.values.shape[1:]))[0]  # (versions, metrics)
    means = _ratios(resampled_means(flat, None, seed).reshape(-1, *sums.values.shape[1:])) if units > 1 else None
    base = sums.versions.index(baseline)
    rows = {}
    for name in [baseline, *(v for v in sums.versions if v != baseline)]:
        own = sums.versions.index(name)
        total = sums.values[:, own].sum(axis=0)
        pairs = [(centre[own], centre[base]), (None, None) if means is None else (means[:, own], means[:, base])]
        rows[name] = VersionRow(
            users=sums.users[name], days=sums.days[name], unseen_saves=unseen.get(name),
            counts={count: int(value) for count, value in zip(COUNTS, total, strict=True)},
            figures=_figures(centre[own], pairs[1][0]),
            minus=None if own == base else _figures(*(None if a is None else a - b for a, b in pairs)),
            over=None if own == base else _figures(*(None if a is None else _divide(a, b) for a, b in pairs)),
        )  # fmt: skip
    return rows


def sample_ratio(sums: Sums, split: dict[str, float]) -> SampleRatio:
    """Observed users by version against the intended shares (equal where none are given).

    Raises:
        UserError: shares of other versions than those of the log.
    """
    if split and set(split) != set(sums.versions):
        raise UserError(
            f"split names {', '.join(split)}, but the log has versions {', '.join(sums.versions)}; name these"
        )
    shares = split or {version: 1 / len(sums.versions) for version in sums.versions}
    total = sum(sums.only.values())
    expected = {version: shares[version] * total for version in sums.versions}
    p = None
    if len(sums.versions) > 1 and total:
        p = float(chisquare([sums.only[v] for v in sums.versions], [expected[v] for v in sums.versions]).pvalue)
    return SampleRatio(
        expected=expected, observed=sums.only, several=sums.several, p=p, mismatch=p is not None and p < LIMIT
    )


def _ratios(sums: np.ndarray) -> np.ndarray:
    """(..., 5) sums -> (..., metrics), nan where a denominator is 0."""
    place = {name: number for number, name in enumerate(COUNTS)}
    found = [_divide(sums[..., place[top]], sums[..., place[below]]) for top, below in METRICS.values()]
    return np.stack(found, axis=-1)


def _divide(top: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(top, below, out=np.full(np.shape(top), np.nan), where=np.asarray(below) > 0)


def _figures(centre: np.ndarray | None, means: np.ndarray | None) -> dict[str, Figure | None]:
    """By metric; no interval where a resample has no value, nothing where there is none at all."""
    assert centre is not None
    found: dict[str, Figure | None] = {}
    for number, name in enumerate(METRICS):
        if np.isnan(centre[number]):
            found[name] = None
        elif means is None or np.isnan(means[:, number]).any():
            found[name] = Figure(mean=float(centre[number]))
        else:
            low, high = np.percentile(means[:, number], [2.5, 97.5])
            found[name] = Figure(mean=float(centre[number]), ci95=(float(low), float(high)))
    return found
