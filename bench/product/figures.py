"""What `navigator-bench product` reports: report.json, versioned. What was not measured is null, never 0."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from bench.encoder.figures import Figure
from navigator.contracts.report import Provenance

SCHEMA_VERSION: Literal[1] = 1
COUNTS = ("impression", "click", "save", "board_created", "user_day")
METRICS = {
    "saves_per_impression": ("save", "impression"),
    "clicks_per_impression": ("click", "impression"),
    "saves_per_user_day": ("save", "user_day"),
    "clicks_per_user_day": ("click", "user_day"),
    "boards_per_user_day": ("board_created", "user_day"),
    "impressions_per_user_day": ("impression", "user_day"),
}


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VersionRow(_Row):
    """One version of the system.

    Attributes:
        users: people with any event of it; days: distinct UTC days.
        counts: events by kind, and user-days (a user and a UTC day with any event).
        unseen_saves: saves of an item without an earlier impression of it to that user by that version; null where no save
            names its item. They count as saves all the same.
        figures: metric -> ratio of sums; null where the denominator is 0.
        minus, over: this version minus, and divided by, the baseline; null for the baseline itself.
    """

    users: int
    days: int
    counts: dict[str, int]
    unseen_saves: int | None
    figures: dict[str, Figure | None]
    minus: dict[str, Figure | None] | None
    over: dict[str, Figure | None] | None


class SampleRatio(_Row):
    """Whether users were split as they were meant to be (chi-square, users of several versions left out).

    Attributes:
        expected, observed: users by version.
        several: users with events of more than one version.
        p: chance of a split this far off; null with one version alone. mismatch: p below the limit.
    """

    expected: dict[str, float]
    observed: dict[str, int]
    several: int
    p: float | None
    mismatch: bool


class ProductReport(Provenance):
    """A whole log."""

    schema_version: Literal[1] = SCHEMA_VERSION
    baseline: str
    rows: int
    used: int
    refused: dict[str, int]
    first_at: float
    last_at: float
    users: int
    resampled_units: int
    sample_ratio: SampleRatio
    versions_of_system: dict[str, VersionRow]
