"""What `navigator-bench frontier` reports: report.json, versioned; every figure follows from the rows beside it.

    report.json       a FrontierReport
    requests.jsonl    a RequestRow a model and query, those that failed or were never sent among them
    answers.jsonl     everything that was sent and came back, see bench.frontier.journal

What was not measured is null, never 0.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from navigator.contracts.report import Interval, Latency, Provenance, Split

SCHEMA_VERSION: Literal[1] = 1
PROTOCOL = 1  # of what is asked and how it is read, part of the config: a report by an older one is made again


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CountedTokens(_Row):
    """As the endpoint counted them: thinking is within the output, cached tokens within the input; null where it is silent."""

    input: int
    output: int
    reasoning: int | None
    cached: int | None


class ByFormula(_Row):
    """Of one request: expected tokens and their price, and the most that can be billed (what is set aside)."""

    tokens_in: int
    tokens_out: int
    most_tokens_in: int
    most_tokens_out: int
    usd: float
    usd_at_most: float


class RequestRow(_Row):
    """One query put to one model.

    Attributes:
        sent: whether any attempt left; false where the money did not reach, or a picture broke off.
        status: HTTP status of the last attempt; null where no response came.
        error_kind, error: why there is no usable ranking.
        earlier: whether an earlier run had asked it.
        named: candidates that the answer names; the others follow in content's order.
        latency_ms: of the attempt that was answered with a usable ranking.
        total_ms: that, and all waiting and failed attempts before it.
        usd: of all attempts; null where any is not known.
        quality: ndcg@10, hr@10 and recall@10; 0 where a request was sent and gave no ranking, null where none was sent.
        content: the same of the order that content gave.
    """

    model: str
    query_id: str
    n_history: int
    n_candidates: int
    n_pictures: int
    sent: bool
    attempts: int
    earlier: bool
    status: int | None
    error_kind: str | None
    error: str | None
    named: int | None
    latency_ms: float | None
    total_ms: float | None
    tokens: CountedTokens | None
    formula: ByFormula | None
    usd: float | None
    quality: dict[str, float] | None
    content: dict[str, float]


class Scores(_Row):
    """The model and content on the same `n` queries, and the difference query by query."""

    n: int
    model: dict[str, Interval]
    content: dict[str, Interval]
    minus_content: dict[str, Interval]


class Tokens(_Row):
    """Means over the `n` answers whose usage the endpoint reported; null where it does not tell them apart."""

    n: int
    input: float
    output: float
    reasoning: float | None
    cached: float | None


class Formula(_Row):
    """By formula alone, means over all queries, whether sent or not.

    Attributes:
        tokens_in, tokens_out: expected, of an answer without thinking.
        most_tokens_in, most_tokens_out: what money is set aside for.
        measured_over_expected: tokens that the endpoint counted as input over those expected, where both are known.
    """

    tokens_in: float
    tokens_out: float
    most_tokens_in: float
    most_tokens_out: float
    usd_per_1000: float
    usd_per_1000_at_most: float
    measured_over_expected: float | None


class ModelRow(_Row):
    """One hosted model.

    Attributes:
        price: what its cost is counted with, in words; null without a price.
        sent, usable, failed, not_sent: queries; sent = usable + failed.
        unanswered: of those failed, the ones without a response of status 200; the next run asks them again.
        earlier: of those sent, how many an earlier run had asked.
        partial: usable answers that leave candidates out.
        scores: over all queries sent, a failed one as a miss; null where none was sent.
        scores_usable: over the usable answers alone.
        latency_ms, total_ms: of usable answers, see RequestRow.
        errors: why requests ended without a usable ranking, by kind, those never sent among them.
        attempts: sent in all; attempt_errors: what went wrong on the way, by kind, whether or not a retry helped.
        usd_per_1000: measured: mean over the answered requests whose every attempt's cost is known, times 1,000.
        usd_spent: known cost of what this report holds; usd_unknown: at most so much more, where nothing tells.
    """

    price: str | None
    sent: int
    usable: int
    failed: int
    not_sent: int
    unanswered: int
    earlier: int
    partial: int
    scores: Scores | None
    scores_usable: Scores | None
    latency_ms: Latency | None
    total_ms: Latency | None
    errors: dict[str, int]
    attempts: int
    attempt_errors: dict[str, int]
    tokens: Tokens | None
    formula: Formula | None
    usd_per_1000: float | None
    usd_spent: float | None
    usd_unknown: float | None


class FrontierReport(Provenance):
    """A whole run.

    Attributes:
        endpoint: where requests went; null where nothing was sent, and `unasked` then says why.
        content: content's own order on all queries drawn, asked or not.
        best_possible: a perfect order of the candidates: what no re-ranking can exceed.
        usd_journal: all that the answers file knows was spent, other runs included; null where nothing was sent.
        unreadable, bare: items shown without a picture because theirs is none; items shown with neither picture nor text.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    task: str
    split: Split
    n_queries: int
    n_items: int
    endpoint: str | None
    unasked: str | None
    content: dict[str, Interval]
    best_possible: dict[str, Interval]
    usd_journal: float | None
    unreadable: list[str]
    bare: list[str]
    models: dict[str, ModelRow]
