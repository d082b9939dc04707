"""What `navigator-bench graph rank` reports: report.json, versioned, every figure with its interval.

    report.json         a RankReport
    per_owner.parquet   one row a system and owner: what the figures are means of, so that others can pair

What was not measured is null, never 0.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from bench.encoder.figures import Figure
from navigator.contracts.report import Provenance, Split

SCHEMA_VERSION: Literal[1] = 1


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Slice(_Row):
    """Recall@k among targets of one kind, a mean over the `owners` that have such a target."""

    owners: int
    targets: int
    recall: Figure


class SystemRow(_Row):
    """One system; NAME@0, NAME@1, ... are one, averaged owner by owner.

    Attributes:
        source: folder of its vectors, or what it is fitted on.
        asks_by: "history", "owner vector" or "mean of the history".
        runs: how many seeds the figures are means of.
        unanswered: owners to whom nothing could be recommended (no vector); they count as misses. Of the first run.
        figures: recall@k, ndcg@k, hr@k.
        versus_first: this system minus the first, owner by owner; null for the first itself.
        cold: among targets without a training save; null when no target is cold.
        by_run: metric -> the mean of every run, where there are several.
        seconds: to fit (or open) and to rank, all runs.
    """

    source: str
    asks_by: str
    runs: int
    unanswered: int
    figures: dict[str, Figure]
    versus_first: dict[str, Figure] | None = None
    cold: Slice | None = None
    by_run: dict[str, list[float]] | None = None
    seconds: float


class RankReport(Provenance):
    """A whole run: systems on the same owners and targets."""

    schema_version: Literal[1] = SCHEMA_VERSION
    task: str
    split: Split
    k: int
    n_owners: int
    n_targets: int
    n_items: int
    n_cold_items: int
    systems: dict[str, SystemRow]
