"""What the report of `navigator-bench encoder` holds: report.json, versioned, every figure with its interval.

    report.json         an EncoderReport
    per_query.parquet   one row an encoder, query and metric: what the figures are means of, so that others can pair

What was not measured is absent or null, never 0.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from navigator.contracts.report import Provenance

SCHEMA_VERSION: Literal[1] = 1
Task = Literal["text-item", "board-item", "item-mates", "purity"]
Targets = Literal["all", "warm", "cold"]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Row):
    """A mean over queries and its 95 % bootstrap interval; null when there is one query (or one owner) alone."""

    mean: float
    ci95: tuple[float, float] | None = None


class EncoderRow(_Row):
    """An encoder that took part.

    Attributes:
        source: as it was named on the command line.
        dim: width of the joint space.
        fusion: "gate" (learned) or "fixed" weights.
        parts: what its item vectors are made of in modality both.
        holdout: the share of items it was tuned without; null when it was not tuned here.
        runs: how many encoders of this recipe (NAME@0, NAME@1, ...) the figures are means of, query by query.
    """

    source: str
    fingerprint: str
    dim: int
    fusion: Literal["gate", "fixed"]
    parts: list[str]
    holdout: float | None = None
    runs: int = 1


class Measure(_Row):
    """Means of one encoder over the queries of one task.

    Attributes:
        task: text-item, board-item, item-mates or purity (see EncoderReport.protocol).
        scope: held-out or catalogue (where is searched), seen or unseen (owners of the boards).
        modality: both, picture or text, what the item vectors are made of; text-item searches pictures.
        targets: all queries, or those whose target is warm (has a training save) or cold (has none).
        n: queries; `owners`: distinct owners of boards, which are what is resampled, null where queries are.
        figures: metric -> mean.
        versus_first: metric -> this encoder minus the first one, query by query; null for the first itself.
        by_run: metric -> the mean of every run, where there are several.
    """

    encoder: str
    task: Task
    scope: str
    modality: str
    targets: Targets
    n: int
    owners: int | None = None
    figures: dict[str, Figure]
    versus_first: dict[str, Figure] | None = None
    by_run: dict[str, list[float]] | None = None


class Shrunk(_Row):
    """A main figure with item vectors of fewer dimensions or lower precision.

    Attributes:
        dims: the first dims dimensions, normalised again.
        ratio: share of the full float32 figure that is left; null where that one is 0.
    """

    encoder: str
    task: Task
    scope: str
    metric: str
    dims: int
    precision: str
    value: Figure
    ratio: Figure | None


class Throughput(_Row):
    """Items a second, medians of the repeats: the model alone, and the whole of `navigator embed`.

    Attributes:
        batch_size: of `embed`; `bare_batch`: how many pictures a bare forward took at once (the faster way).
        ratio: embed / bare, the median over the repeats of the ratio within one.
        bare_runs, embed_runs: items a second of every repeat.
    """

    items: int
    batch_size: int
    bare_batch: int
    bare_items_per_s: float
    embed_items_per_s: float
    ratio: float
    bare_runs: list[float]
    embed_runs: list[float]


class HeldOut(_Row):
    """The items that no encoder was tuned on, and which of them ask.

    Attributes:
        fraction: share of the items by id.
        items: how many that is.
        picture_seen, text_seen: of these, left out because their very picture or text occurs among the other items.
        asked: left after that.
        without_picture_or_text: of the asked, those that cannot ask text -> item.
        text_queries: the rest.
        unlabelled: of the asked, those without a label; null without labels.
    """

    fraction: float
    items: int
    picture_seen: int
    text_seen: int
    asked: int
    without_picture_or_text: int
    text_queries: int
    unlabelled: int | None = None


class EncoderReport(Provenance):
    """A whole run: encoders on the same queries."""

    schema_version: Literal[1] = SCHEMA_VERSION
    n_items: int
    held_out: HeldOut
    encoders: dict[str, EncoderRow]
    measures: list[Measure]
    shrunk: list[Shrunk]
    throughput: dict[str, Throughput]
