"""What `navigator-bench taste` reports: report.json, versioned, every figure with its interval.

    report.json         a TasteReport
    per_query.parquet   one row a run and query: what the figures are means of, so that others can pair

What was not measured is null, never 0.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from bench.encoder.figures import Figure
from navigator.contracts.report import Provenance, Split

SCHEMA_VERSION: Literal[1] = 1
PROTOCOL = 2  # of what is asked and resampled, part of the config: a report by an older one is made again


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TriedRow(_Row):
    """One setting and its NDCG@10 on validation; null where there was nothing to choose."""

    settings: dict[str, Any]
    valid: float | None


class SystemRow(_Row):
    """One recipe: what it is made of and how its settings were found.

    Attributes:
        settings: the chosen ones, by run (runs of one recipe that is trained here share them).
        tried: every setting tried, best first, by run.
        unanswered: queries to which nothing could be recommended; they count as misses. Of the first run.
        seconds: to tune, fit and answer, all runs.
    """

    source: str
    runs: list[str]
    settings: dict[str, dict[str, Any]]
    tried: dict[str, list[TriedRow]]
    unanswered: int
    seconds: float


class Against(_Row):
    """A system against one rival, query by query.

    Attributes:
        minus: metric -> the difference.
        times: the system's mean NDCG@10 over the rival's; null where the rival's is 0 in any resample.
    """

    minus: dict[str, Figure]
    times: Figure | None


class Measured(_Row):
    """One system on one slice.

    Attributes:
        figures: ndcg@10, hr@10, recall@10, recall@50.
        against: rival -> the comparison; not with itself.
        by_run: metric -> the mean of every run, where there are several.
    """

    figures: dict[str, Figure]
    against: dict[str, Against]
    by_run: dict[str, list[float]] | None = None


class SliceRow(_Row):
    """The systems on one kind of query: `n` of them in `clusters` units of resampling, see the protocol."""

    n: int
    clusters: int
    systems: dict[str, Measured]


class TasteReport(Provenance):
    """A whole run: systems on the same queries."""

    schema_version: Literal[1] = SCHEMA_VERSION
    task: str
    split: Split
    n_queries: int
    n_targets: int
    n_items: int
    n_tuning: int | None
    unasked: int
    systems: dict[str, SystemRow]
    slices: dict[str, SliceRow]
