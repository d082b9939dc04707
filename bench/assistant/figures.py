"""What `navigator-bench assistant` reports: report.json, versioned. What was not measured is null, never 0."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from bench.encoder.figures import Figure
from navigator.contracts.report import Provenance

SCHEMA_VERSION: Literal[1] = 1


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Retrieval(_Row):
    """NDCG@10 over turns that expect items.

    Attributes:
        turns: how many; without: those whose relevant items had all been seen, which are in no figure.
        ndcg: what nobody judged is wrong; condensed: it is left out of the list; judged: share of what was shown.
        minus_search: ndcg minus that of plain search on the last turn, on the same turns; null for that one.
    """

    turns: int
    without: int
    ndcg: Figure | None
    condensed: Figure | None
    judged: Figure | None
    minus_search: Figure | None


class Refusals(_Row):
    """Of turns that expect items or a refusal: hits are rightly refused, wrong were refused though there are items."""

    hits: int
    wrong: int
    missed: int
    precision: Figure | None
    recall: Figure | None
    f1: Figure | None


class Groundedness(_Row):
    """Of answers in words.

    Attributes:
        answers: how many; naming: those that name any item at all.
        grounded: share that names no other item than it may, by our own reading of the text.
        elsewhere, invented: names of other items of the catalogue, and of none.
        flag_agrees: share where the server's own flag says the same; flag_too_kind: answers it calls grounded that are not.
    """

    answers: int
    naming: int
    grounded: Figure | None
    elsewhere: int
    invented: int
    flag_agrees: Figure | None
    flag_too_kind: int


class SystemRow(_Row):
    """One system.

    Attributes:
        waits: times that the server said 429 and when to come back, and was asked again then.
        last: the last turn of each conversation that expects items; all_turns: all of them.
        broken: filter -> shown items that break it; asked: turns that set it.
        talk_with_items, talk_refused: turns of small talk answered with items, or refused as if something was asked for; talk:
            all of them.
        latency_ms: p50 and p95 over answered requests; tokens: means over them.
        strata: NDCG@10 over all turns, by stratum.
    """

    requests: int
    failed: int
    waits: int
    errors: dict[str, int]
    last: Retrieval
    all_turns: Retrieval
    refusals: Refusals
    groundedness: Groundedness | None
    broken: dict[str, int]
    asked: dict[str, int]
    talk: int
    talk_with_items: int
    talk_refused: int
    latency_ms: dict[str, float] | None
    tokens: dict[str, float] | None
    releases: list[str]
    strata: dict[str, Retrieval]
    refusals_by_stratum: dict[str, Refusals]


class AssistantReport(Provenance):
    """A whole run."""

    schema_version: Literal[1] = SCHEMA_VERSION
    split: str
    conversations: int
    turns: dict[str, int]
    strata: dict[str, int]
    systems: dict[str, SystemRow]
