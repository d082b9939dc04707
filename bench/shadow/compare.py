"""Old against new, request by request: arrays of one value a request, nan where a request says nothing about it."""

from collections.abc import Sequence

import numpy as np

from bench.shadow.agreement import overlap, rank_biased_overlap, tau_b
from bench.shadow.options import Options
from bench.shadow.replay import LABELS, Reply
from bench.shadow.traffic import Request, Traffic
from navigator.metrics import ranking_metrics

NEAR, FAR = 10, 50
AGREEMENT = (f"overlap@{NEAR}", f"overlap@{FAR}", "tau_b", "rbo")
QUALITY = (f"ndcg@{NEAR}", f"recall@{FAR}")
Values = dict[str, np.ndarray]
Replies = tuple[Sequence[Reply], Sequence[Reply]]


def answered(replies: Sequence[Reply]) -> np.ndarray:
    """(n,) bool, which requests got an answer."""
    return np.array([reply.error is None for reply in replies], bool)


def agreement(requests: Sequence[Request], replies: Replies) -> Values:
    """AGREEMENT -> (n,); a list is compared at a depth only where that many answers were asked for."""
    found: Values = {name: np.full(len(requests), np.nan) for name in AGREEMENT}
    for row, (request, old, new) in enumerate(zip(requests, *replies, strict=True)):
        for depth in (NEAR, FAR):
            if request.k >= depth:
                found[f"overlap@{depth}"][row] = overlap(old.items, new.items, depth)
        found["tau_b"][row] = tau_b(old.items, old.scores, new.items, new.scores)
        found["rbo"][row] = rank_biased_overlap(old.items, new.items)
    return found


def quality(requests: Sequence[Request], replies: Replies) -> tuple[Values, Values]:
    """QUALITY -> (n,) of old and of new.

    A failed request shows nothing and is a miss; one that both failed says nothing about the two and is nan, as is one
    without targets or that asked for fewer answers than the metric looks at.
    """
    targets = [request.query.targets for request in requests]
    told = np.array([len(own) > 0 for own in targets]) & (answered(replies[0]) | answered(replies[1]))
    sides = []
    for own in replies:
        values: Values = {}
        for metric, depth in zip(QUALITY, (NEAR, FAR), strict=True):
            values[metric] = np.full(len(requests), np.nan)
            kept = np.flatnonzero(told & np.array([request.k >= depth for request in requests])).tolist()
            if kept:
                ranked = padded([own[row] for row in kept], depth)
                values[metric][kept] = ranking_metrics(ranked, [targets[row] for row in kept], depth)[metric]
        sides.append(values)
    return sides[0], sides[1]


def padded(replies: Sequence[Reply], depth: int) -> np.ndarray:
    """(n, depth) items, -1 where a list is shorter."""
    ranked = np.full((len(replies), depth), -1, np.int64)
    for row, reply in enumerate(replies):
        shown = reply.items[:depth]
        ranked[row, : len(shown)] = shown
    return ranked


def slices(traffic: Traffic, options: Options) -> dict[str, np.ndarray]:
    """Kind of request -> (n,) bool; cold only where a graph says what is."""
    queries = [request.query for request in traffic.requests]
    lengths = np.array([len(query.history) for query in queries])
    found = {
        "all": np.ones(len(queries), bool),
        "short": (lengths > 0) & (lengths <= options.short),
        "long": lengths >= options.long,
        "text-only": lengths == 0,
    }
    if traffic.saves is not None:
        most = [max(traffic.saves[list(query.targets)], default=np.inf) for query in queries]
        found["cold"] = np.array(most) <= options.cold_max
    return found


def latencies(replies: Replies) -> np.ndarray:
    """(n, 2) milliseconds of old and new, nan where there is none."""
    pairs = zip(*replies, strict=True)
    return np.array([[np.nan if r.latency_ms is None else r.latency_ms for r in pair] for pair in pairs], np.float64)


def changed_most(values: Values, count: int) -> list[int]:
    """Positions of the `count` requests, answered by both, whose lists agree least by rank-biased overlap; ties in order."""
    known = np.flatnonzero(~np.isnan(values["rbo"]))
    return known[np.argsort(values["rbo"][known], kind="stable")][:count].tolist()


def by_label(values: Sequence[Values]) -> dict[str, np.ndarray]:
    """Values of both as columns METRIC_old, METRIC_new."""
    return {f"{name}_{label}": own[name] for label, own in zip(LABELS, values, strict=True) for name in own}
