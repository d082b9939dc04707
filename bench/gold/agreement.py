"""How far two annotators agree: Cohen's kappa, plain and with quadratic weights, with intervals over queries.

J. Cohen, A Coefficient of Agreement for Nominal Scales (1960), and Weighted Kappa (1968). Pairs of one query are graded
together, so queries are what is resampled. Kappa is undefined where chance alone would agree in everything (both gave one
and the same grade throughout): then it is null.
"""

import numpy as np

from bench.encoder.figures import Figure
from bench.encoder.intervals import intervals, resampled_means
from bench.gold.figures import Agreement
from bench.gold.scale import HIGHEST, LOWEST

LEVELS = HIGHEST - LOWEST + 1
_STEP = np.arange(LEVELS)
QUADRATIC = (_STEP[:, None] - _STEP) ** 2.0
PLAIN = (_STEP[:, None] != _STEP) * 1.0


def agreement(
    names: tuple[str, str], first: np.ndarray, second: np.ndarray, queries: np.ndarray, seed: int
) -> Agreement:
    """All figures of one pair of annotators.

    Args:
        names: who they are.
        first, second: (n,) grades of the same pairs, n >= 1.
        queries: (n,) what each pair was graded for.
        seed: of resampling.
    """
    tables = confusion(first, second, queries)
    whole, apart = tables.sum(axis=0), np.abs(first - second)
    exact, within, bias = intervals(
        np.stack([apart == 0, apart <= 1, first - second], axis=1).astype(np.float64), queries, seed
    )
    return Agreement(
        annotators=names, pairs=len(first), queries=len(tables), kappa=_figure(tables, PLAIN, seed),
        kappa_quadratic=_figure(tables, QUADRATIC, seed), exact=exact, within_one=within, first_minus_second=bias,
        confusion=whole.astype(int).tolist(),
    )  # fmt: skip


def confusion(first: np.ndarray, second: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(q, 5, 5) counts by query: rows are the first annotator's grades, columns the second's."""
    codes = np.unique(queries, return_inverse=True)[1]
    tables = np.zeros((codes.max() + 1, LEVELS, LEVELS))
    np.add.at(tables, (codes, first - LOWEST, second - LOWEST), 1)
    return tables


def kappa(tables: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """(...,) kappa of (..., 5, 5) confusion tables, 1 - observed cost / cost by chance; nan where chance costs nothing."""
    total = tables.sum(axis=(-2, -1))
    chance = tables.sum(axis=-1)[..., :, None] * tables.sum(axis=-2)[..., None, :]
    observed = (tables * cost).sum(axis=(-2, -1)) * total
    expected = (chance * cost).sum(axis=(-2, -1))
    return 1 - np.divide(observed, expected, out=np.full(np.shape(total), np.nan), where=expected > 0)


def _figure(tables: np.ndarray, cost: np.ndarray, seed: int) -> Figure | None:
    """Resamples in which kappa is undefined count for nothing; with one query there is no interval."""
    value = float(kappa(tables.sum(axis=0), cost))
    if np.isnan(value):
        return None
    if len(tables) < 2:
        return Figure(mean=value)
    drawn = resampled_means(tables.reshape(len(tables), -1), None, seed).reshape(-1, LEVELS, LEVELS)
    low, high = np.nanpercentile(kappa(drawn, cost), [2.5, 97.5])
    return Figure(mean=value, ci95=(float(low), float(high)))
