"""What `navigator-bench shadow` reports: report.json, versioned, the verdict with what it was made of.

    report.json           a ShadowReport
    per_request.parquet   one row a request: both answers as they came, and what the figures are means of
    sheet.png             the requests whose answers changed most, old above new

What was not measured is null, never 0.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from bench.encoder.figures import Figure
from navigator.contracts.report import Latency, Provenance
from navigator.contracts.shadow import ShadowVerdict

SCHEMA_VERSION: Literal[1] = 1
PROTOCOL = 1  # of what is asked and compared, part of the config: a report by an older one is made again


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shown(_Row):
    """What the answered requests put in front of people, by their first ten places.

    Attributes:
        items: different items shown.
        coverage: of the catalogue, share that was shown at least once; `never_shown`: the rest.
        concentration: share of all places that the most shown 1 % of the catalogue's items took.
    """

    items: int
    coverage: float
    never_shown: float
    concentration: float


class Scores(_Row):
    """Means over answered requests of the score in first and in tenth place (null where nobody asked for ten)."""

    first: float
    tenth: float | None


class SideRow(_Row):
    """One of the two alone.

    Attributes:
        missing: items of the catalogue that it can never show; null where it cannot tell.
        failed: requests without an answer that could be shown; `errors` has their reasons, the most frequent ones.
        latency_ms: of the requests that were answered, in time or late.
    """

    missing: int | None
    failed: int
    error_rate: float
    errors: dict[str, int]
    latency_ms: Latency | None
    shown: Shown | None
    scores: Scores | None


class Counted(Figure):
    """A mean over `n` requests."""

    n: int


class Pair(_Row):
    """Old and new on the same `n` requests."""

    n: int
    old: Figure
    new: Figure
    difference: Figure


class SliceRow(_Row):
    """One kind of request.

    Attributes:
        requests: of this kind; `compared`: answered by both.
        agreement: overlap@10, overlap@50, tau_b, rbo.
        quality: ndcg@10, recall@50, of requests with targets.
    """

    requests: int
    compared: int
    agreement: dict[str, Counted | None]
    quality: dict[str, Pair | None]


class Shift(_Row):
    """New minus old score of the items that both showed for the same request."""

    n: int
    mean: float
    p5: float
    p50: float
    p95: float


class TrafficRow(_Row):
    """What was asked; `digest` is of every request."""

    described: str
    digest: str
    requests: int
    with_targets: int
    with_text: int
    without_history: int
    resampled: str
    left_out: dict[str, int]


class ShadowReport(Provenance):
    """A whole run.

    Attributes:
        verdict: what the rules make of `measured`.
        measured: every value that a rule may name (bench.shadow.measured).
        latency_ratio: p50 and p95, new over old, of requests that both answered.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    verdict: ShadowVerdict
    traffic: TrafficRow
    n_items: int
    sides: dict[str, SideRow]
    latency_ratio: dict[str, Figure] | None
    score_shift: Shift | None
    slices: dict[str, SliceRow]
    measured: dict[str, float | None]
