"""Metrics of one ranked list against graded judgements.

Gains are grade - 1: "wrong" gains nothing, "exactly right" 4, linear, as trec_eval takes qrels. NDCG@10 divides by the best
order of what is judged for the query; sDCG@25 by 25 items of the highest grade (arXiv 2509.03764; `ir_measures` SDCG), so
that it also says how much there is to find. precision@k = relevant / k, recall@k = relevant / all judged relevant, with
grades from 4. judged@k is the share of the first k items (or of as many as there are) that anybody graded.

What nobody graded is treated in two ways: as wrong ("unjudged_wrong", TREC's way, hard on systems outside the pool), and
left out of the list, the judged items moving up ("condensed": T. Sakai, Alternatives to Bpref, SIGIR 2007; kind to them).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from bench.gold.figures import Treatment
from bench.gold.scale import HIGHEST, LOWEST, RELEVANT

DEPTH = 100
TREATMENTS: tuple[Treatment, ...] = ("unjudged_wrong", "condensed")
METRICS = ("ndcg@10", "sdcg@25", "precision@10", "recall@10", "recall@25")
JUDGED = ("judged@10", "judged@25")
NAN = float("nan")


def measures(ranked: Sequence[str], grades: Mapping[str, int]) -> dict[Treatment, dict[str, float]]:
    """Treatment -> metric -> value; nan where it is undefined for the query.

    Args:
        ranked: item ids, best first, each once.
        grades: item id -> grade, of the query.
    """
    given = np.array([grades.get(item, 0) for item in ranked[:DEPTH]], np.int64)  # 0: nobody graded it
    every = np.sort(np.array(list(grades.values()), np.int64))[::-1]
    judged = {f"judged@{k}": float((given[:k] > 0).mean()) if len(given) else NAN for k in (10, 25)}
    whole = _measures(given, every)
    return {"unjudged_wrong": whole | judged, "condensed": _measures(given[given > 0], every)}


def dcg(gains: np.ndarray, k: int) -> float:
    """Sum of gain / log2(rank + 1) over the first k."""
    first = np.asarray(gains, np.float64)[:k]
    return float((first / np.log2(np.arange(2, len(first) + 2))).sum())


def _measures(given: np.ndarray, every: np.ndarray) -> dict[str, float]:
    gains, ideal = np.maximum(given - LOWEST, 0), dcg(every - LOWEST, 10)
    relevant, n_relevant = given >= RELEVANT, int((every >= RELEVANT).sum())
    best = dcg(np.full(25, HIGHEST - LOWEST), 25)
    found = {
        "ndcg@10": dcg(gains, 10) / ideal if ideal else NAN,
        "sdcg@25": dcg(gains, 25) / best,
        "precision@10": float(relevant[:10].sum()) / 10,
    }
    recalls = {f"recall@{k}": float(relevant[:k].sum()) / n_relevant if n_relevant else NAN for k in (10, 25)}
    return found | recalls
