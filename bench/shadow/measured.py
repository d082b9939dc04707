"""Every value that a rule of the thresholds file may name, from the report's figures; what was not measured is None."""

from bench.encoder.figures import Figure
from bench.shadow.compare import AGREEMENT, QUALITY
from bench.shadow.figures import Shift, SideRow, SliceRow

SLICES = ("cold", "short", "long", "text-only")
Measured = dict[str, float | None]

MEANING = {
    "requests": "requests that both were asked",
    "compared": "requests that both answered",
    "newly_failed": "requests that old answered and new did not",
    "failed_old": "requests that old did not answer",
    "failed_new": "requests that new did not answer",
    "error_rate_difference": "share of failed requests, new minus old",
    "missing_difference": "items of the catalogue that can never be shown, new minus old",
    "p50_ratio": "P50 latency, new / old",
    "p95_ratio": "P95 latency, new / old; p95_ratio_low and p95_ratio_high are the ends of its interval",
    "coverage_ratio": "share of the catalogue shown in first ten places, new / old",
    "never_shown_difference": "share of the catalogue never shown there, new minus old",
    "concentration_difference": "share of those places taken by the most shown 1 % of items, new minus old",
    "score_shift": "mean of new minus old score of items that both showed",
    "overlap@10": "mean share of the first ten answers that both show (overlap@50 alike)",
    "tau_b": "mean Kendall tau-b of the items that both show",
    "rbo": "mean rank-biased overlap",
    "ndcg@10_difference": "mean NDCG@10, new minus old (_low, _high: its interval; _old, _new: the two; recall@50 alike)",
}


def measured(
    newly_failed: int, sides: dict[str, SideRow], ratio: dict[str, Figure] | None, shift: Shift | None,
    slices: dict[str, SliceRow],
) -> Measured:  # fmt: skip
    """Name -> value; names of a slice begin with it, such as cold.overlap@10."""
    old, new, whole = sides["old"], sides["new"], slices["all"]
    p50, p95 = (ratio["p50"], ratio["p95"]) if ratio else (None, None)
    shown = (old.shown, new.shown) if old.shown and new.shown else None
    found: Measured = {
        "requests": whole.requests, "compared": whole.compared, "newly_failed": newly_failed,
        "failed_old": old.failed, "failed_new": new.failed, "error_rate_difference": new.error_rate - old.error_rate,
        "missing_difference": None if old.missing is None or new.missing is None else new.missing - old.missing,
        "p50_ratio": p50 and p50.mean, "p95_ratio": p95 and p95.mean, "p95_ratio_low": _end(p95, 0),
        "p95_ratio_high": _end(p95, 1),
        "coverage_ratio": shown and shown[1].coverage / shown[0].coverage,
        "never_shown_difference": shown and shown[1].never_shown - shown[0].never_shown,
        "concentration_difference": shown and shown[1].concentration - shown[0].concentration,
        "score_shift": shift and shift.mean,
    }  # fmt: skip
    found |= _of_slice(whole, "")
    for name in SLICES:
        found |= _of_slice(slices.get(name), f"{name}.")
    return found


def names() -> list[str]:
    """Every name that `measured` gives."""
    empty = SideRow(missing=None, failed=0, error_rate=0, errors={}, latency_ms=None, shown=None, scores=None)
    nothing = SliceRow(requests=0, compared=0, agreement={}, quality={})
    return list(measured(0, {"old": empty, "new": empty}, None, None, {"all": nothing}))


def _of_slice(row: SliceRow | None, lead: str) -> Measured:
    found: Measured = {}
    for name in AGREEMENT:
        figure = row.agreement.get(name) if row else None
        found[lead + name] = figure.mean if figure else None
    for name in QUALITY:
        pair = row.quality.get(name) if row else None
        difference = pair.difference if pair else None
        found |= {
            f"{lead}{name}_old": pair.old.mean if pair else None,
            f"{lead}{name}_new": pair.new.mean if pair else None,
            f"{lead}{name}_difference": difference.mean if difference else None,
            f"{lead}{name}_difference_low": _end(difference, 0),
            f"{lead}{name}_difference_high": _end(difference, 1),
        }
    return found


def _end(figure: Figure | None, end: int) -> float | None:
    return figure.ci95[end] if figure is not None and figure.ci95 is not None else None
