"""Rows of requests -> the report's figures with their intervals; pairs and ratios from the same resamples."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from bench.encoder.figures import Figure
from bench.encoder.intervals import intervals
from bench.intervals import RESAMPLES
from bench.latency import percentiles
from bench.shadow.compare import AGREEMENT, NEAR, QUALITY, Replies, Values, answered, latencies
from bench.shadow.figures import Counted, Pair, Scores, Shift, Shown, SideRow, SliceRow
from bench.shadow.replay import Reply

NAMED_ERRORS = 10
_BLOCK = 1 << 20  # drawn numbers held at once


def side_row(replies: Sequence[Reply], missing: int | None, n_items: int) -> SideRow:
    """One side alone; what nobody answered is null."""
    errors = Counter(reply.error for reply in replies if reply.error is not None)
    times = [reply.latency_ms for reply in replies if reply.latency_ms is not None]
    good = [reply for reply in replies if reply.error is None]
    return SideRow(
        missing=missing, failed=errors.total(), error_rate=errors.total() / len(replies),
        errors=dict(errors.most_common(NAMED_ERRORS)),
        latency_ms=percentiles(times),
        shown=_shown(good, n_items) if good else None, scores=_scores(good) if good else None,
    )  # fmt: skip


def _shown(replies: Sequence[Reply], n_items: int) -> Shown:
    counts = np.bincount(np.concatenate([reply.items[:NEAR] for reply in replies]), minlength=n_items)
    items = int((counts > 0).sum())
    most = np.sort(counts)[::-1][: max(1, round(n_items / 100))]
    return Shown(
        items=items, coverage=items / n_items, never_shown=1 - items / n_items,
        concentration=float(most.sum() / counts.sum()),
    )  # fmt: skip


def _scores(replies: Sequence[Reply]) -> Scores:
    tenth = [reply.scores[NEAR - 1] for reply in replies if len(reply.scores) >= NEAR]
    first = float(np.mean([reply.scores[0] for reply in replies]))
    return Scores(first=first, tenth=float(np.mean(tenth)) if tenth else None)


def slice_row(
    keep: np.ndarray, replies: Replies, agreement: Values, quality: tuple[Values, Values],
    clusters: np.ndarray | None, seed: int,
) -> SliceRow:  # fmt: skip
    """One kind of request.

    Args:
        keep: (n,) bool.
        replies: of old and new.
        agreement, quality: see bench.shadow.compare.
        clusters: (n,) what is resampled together, None: every request alone.
        seed: of the resampling.
    """

    def about(columns: list[np.ndarray]) -> tuple[int, list[Figure]]:
        known = keep & ~np.isnan(columns[0])
        if not known.any():
            return 0, []
        values = np.stack([column[known] for column in columns], axis=1)
        return len(values), intervals(values, None if clusters is None else clusters[known], seed)

    agreed: dict[str, Counted | None] = {}
    for name in AGREEMENT:
        n, found = about([agreement[name]])
        agreed[name] = Counted(n=n, **dict(found[0])) if found else None
    pairs: dict[str, Pair | None] = {}
    for name in QUALITY:
        old, new = quality[0][name], quality[1][name]
        n, found = about([old, new, new - old])
        pairs[name] = Pair(n=n, old=found[0], new=found[1], difference=found[2]) if found else None
    both = keep & answered(replies[0]) & answered(replies[1])
    return SliceRow(requests=int(keep.sum()), compared=int(both.sum()), agreement=agreed, quality=pairs)


def latency_ratio(replies: Replies, seed: int) -> dict[str, Figure] | None:
    """p50 and p95 of new over those of old, with 95 % intervals from resampled requests; None where no request has both."""
    times = latencies(replies)
    times = times[~np.isnan(times).any(axis=1)]
    if not len(times):
        return None
    cuts = (50, 95)
    old, new = np.percentile(times, cuts, axis=0).T
    ends = [None, None]
    if len(times) > 1:
        rng, step, drawn = np.random.default_rng(seed), max(1, _BLOCK // len(times)), []
        for start in range(0, RESAMPLES, step):
            picked = times[rng.integers(0, len(times), (min(step, RESAMPLES - start), len(times)))]
            found = np.percentile(picked, cuts, axis=1)  # (cuts, resamples, 2)
            drawn.append(found[..., 1] / found[..., 0])
        ends = np.percentile(np.concatenate(drawn, axis=1), [2.5, 97.5], axis=1).T.tolist()
    ratios = (new / old).tolist()
    return {f"p{cut}": Figure(mean=r, ci95=own) for cut, r, own in zip(cuts, ratios, ends, strict=True)}


def score_shift(replies: Replies) -> Shift | None:
    """How the score of an item moved that both showed for the same request; None where they never showed the same."""
    moved = []
    for old, new in zip(*replies, strict=True):
        _, mine, theirs = np.intersect1d(old.items, new.items, return_indices=True)
        moved.append(new.scores[theirs].astype(np.float64) - old.scores[mine])
    every = np.concatenate(moved)
    if not len(every):
        return None
    p5, p50, p95 = np.percentile(every, [5, 50, 95]).tolist()
    return Shift(n=len(every), mean=float(every.mean()), p5=p5, p50=p50, p95=p95)
