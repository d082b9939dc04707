"""How the figures of a shadow run came about, in sentences for its report."""

from collections.abc import Sequence

from bench.intervals import RESAMPLES
from bench.shadow.agreement import PERSISTENCE
from bench.shadow.compare import FAR, NEAR
from bench.shadow.options import Options
from bench.shadow.replay import WARM_UP
from bench.shadow.sides import Side
from bench.shadow.traffic import Traffic


def protocol(options: Options, traffic: Traffic, sides: Sequence[Side]) -> list[str]:
    """For a run with these options."""
    cold = (
        f"cold: every target has at most {options.cold_max} saves before, by boards and users together"
        if traffic.saves is not None
        else "cold is not known without --graph"
    )
    late = "" if options.timeout_ms is None else f" An answer after {options.timeout_ms:g} ms is a failure too."
    return [
        "Every request goes to both sides, one right after the other in one process; they take turns at going first. The "
        f"first {WARM_UP} requests are asked once before, unrecorded. Items of the history are never shown.",
        *(f"{side.words}." for side in sides),
        f"A request without an answer is a row with its error.{late} Its list is a miss in NDCG and recall, and takes no part "
        "in agreement; a request that both failed takes no part in either. Latencies are of answers, late ones among them.",
        f"overlap@k: share of the first k that both show. tau_b: Kendall's tau-b between both scores of the items that both "
        f"show, nothing where they share fewer than two. rbo: extrapolated rank-biased overlap, p = {PERSISTENCE:g}. Requests "
        f"for fewer than {NEAR} (or {FAR}) answers take no part in figures of that depth.",
        f"NDCG@{NEAR} has binary gains and the ideal cut at min(targets, {NEAR}); recall@{FAR} = hits / number of targets.",
        f"Coverage, never shown and concentration are of the first {NEAR} places of all answers together.",
        f"Slices: short: 1 to {options.short} items in the history; long: from {options.long}; text-only: none; {cold}.",
        f"Intervals: 95 % percentile bootstrap over {traffic.resampled}, {RESAMPLES:,} resamples, seed {options.seed}; "
        "differences are paired. The ratios of latencies are of requests that both answered, resampled by request.",
        "A rule whose value could not be measured stops the cut-over, unless it is optional.",
    ]
