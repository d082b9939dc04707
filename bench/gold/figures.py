"""What `navigator-bench gold check` and `run` report: report.json, versioned. What was not measured is null, never 0."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from bench.encoder.figures import Figure
from navigator.contracts.report import Provenance

SCHEMA_VERSION: Literal[1] = 1
Treatment = Literal["unjudged_wrong", "condensed"]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Agreement(_Row):
    """Two annotators on the pairs that both graded.

    Attributes:
        kappa, kappa_quadratic: Cohen's; null where undefined (see bench.gold.agreement).
        exact, within_one: shares of the pairs.
        first_minus_second: mean difference of the grades: above 0 the first is the kinder one.
        confusion: 5 rows (grades 1 to 5 of the first) of 5 counts (of the second).
    """

    annotators: tuple[str, str]
    pairs: int
    queries: int
    kappa: Figure | None
    kappa_quadratic: Figure | None
    exact: Figure
    within_one: Figure
    first_minus_second: Figure
    confusion: list[list[int]]


class Handed(_Row):
    """One annotator's file.

    Attributes:
        given: pairs they were given; graded and missing add up to it.
        bad: refused rows by reason.
        grades: how often each grade was given, 1 to 5.
    """

    given: int
    rows: int
    graded: int
    missing: int
    bad: dict[str, int]
    grades: list[int]


class Disagreement(_Row):
    """A pair that annotators see differently."""

    pair: str
    query_id: str
    item_id: str
    grades: dict[str, int]
    settled: int | None
    how: str


class CheckReport(Provenance):
    """What became of the annotators' files.

    Attributes:
        settled: pairs by how their grade came about: one grade, equal grades, mean, third person.
        open: pairs that a third person must decide; `missing`: pairs without any grade.
        fingerprint: of the frozen set, null where nothing was frozen.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    simulated: bool
    task: str
    pairs: int
    annotators: dict[str, Handed]
    third: Handed | None
    agreement: list[Agreement]
    settled: dict[str, int]
    open: int
    missing: int
    worst: list[Disagreement]
    fingerprint: str | None


class Measured(_Row):
    """One system on one slice.

    Attributes:
        figures: treatment of unjudged items -> metric -> mean; null where no query of the slice has one.
        minus: rival -> treatment -> metric -> the difference, query by query; not with itself.
    """

    figures: dict[str, dict[str, Figure | None]]
    minus: dict[str, dict[str, dict[str, Figure | None]]]


class SliceRow(_Row):
    """The systems on one kind of query.

    Attributes:
        n: queries; clusters: units of resampling among them.
        with_relevant: queries that have an item graded relevant; recall is a mean over these alone.
        with_gain: queries that have an item above the lowest grade; NDCG is a mean over these alone.
    """

    n: int
    clusters: int
    with_relevant: int
    with_gain: int
    systems: dict[str, Measured]


class RankedBy(_Row):
    """A system that was scored.

    Attributes:
        answered: queries with any answer, by kind; a query without one scores 0.
        left_out: items of its lists that were taken out because the query's history holds them.
        foreign_queries: queries of a run file that the set does not ask.
    """

    source: str
    answered: dict[str, int]
    left_out: int = 0
    foreign_queries: int = 0


class Outside(_Row):
    """What the pool missed, by the random items.

    Attributes:
        drawn: random items judged; relevant: those with a relevant grade.
        in_pool: relevant items a query in the pool; outside: an estimate of those outside of it, every random item counted
            with one over its probability.
    """

    drawn: int
    relevant: int
    in_pool: Figure
    outside: Figure | None


class GoldReport(Provenance):
    """A whole run: systems on the same frozen judgements."""

    schema_version: Literal[1] = SCHEMA_VERSION
    simulated: bool
    gold: str
    n_queries: int
    n_judged: int
    grades: list[int]
    systems: dict[str, RankedBy]
    slices: dict[str, SliceRow]
    outside: Outside
