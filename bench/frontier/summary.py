"""Outcomes -> rows, and rows -> the figures of a model; nothing here is read from anything but what was written down."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from bench.frontier.answer import Usage
from bench.frontier.ask import Outcome, most_usd
from bench.frontier.figures import ByFormula, CountedTokens, Formula, ModelRow, RequestRow, Scores, Tokens
from bench.frontier.journal import ANSWERED, Done
from bench.frontier.request import Request
from bench.intervals import bootstrap
from bench.latency import percentiles
from bench.prices import ModelPrice
from navigator.contracts.report import Interval
from navigator.metrics import ranking_metrics

METRICS = ("ndcg@10", "hr@10", "recall@10")


def row_of(
    outcome: Outcome, order: Sequence[int], targets: Sequence[int], price: ModelPrice | None, answer_tokens: int
) -> RequestRow:
    """One request as a row.

    Args:
        outcome: what came of it.
        order: the candidates as content ordered them.
        targets: what is to be found.
        price: of the model.
        answer_tokens: assumed of an answer.
    """
    request, done, ranking = outcome.request, outcome.done, outcome.ranking
    last, usage = done[-1] if done else None, outcome.usage
    missed: dict[str, float] | None = dict.fromkeys(METRICS, 0.0) if done else None
    return RequestRow(
        model=request.model, query_id=request.query_id, n_history=request.n_history, n_candidates=request.n_candidates,
        n_pictures=request.n_pictures, sent=bool(done), attempts=len(done), earlier=outcome.earlier,
        status=last and last.status, error_kind=outcome.kind, error=outcome.error,
        named=None if ranking is None else len(ranking),
        latency_ms=last.latency_ms if last and ranking is not None else None,
        total_ms=sum(d.waited_ms + d.latency_ms for d in done) if ranking is not None else None,
        tokens=usage and _counted(usage), formula=price and _by_formula(request, price, answer_tokens),
        usd=sum(d.usd for d in done if d.usd is not None) if done and all(d.usd_known for d in done) else None,
        quality=missed if ranking is None else score(reorder(order, request, ranking), targets),
        content=score(order, targets),
    )  # fmt: skip


def _counted(usage: Usage) -> CountedTokens:
    return CountedTokens(
        input=usage.prompt_tokens,
        output=usage.output_tokens,
        reasoning=usage.reasoning_tokens,
        cached=usage.cached_tokens,
    )


def _by_formula(request: Request, price: ModelPrice, answer_tokens: int) -> ByFormula:
    expected = request.tokens_in(price.picture)
    return ByFormula(
        tokens_in=expected, tokens_out=answer_tokens, most_tokens_in=request.most_tokens_in(price.picture),
        most_tokens_out=request.max_output_tokens, usd=price.usd(expected, answer_tokens), usd_at_most=most_usd(request, price),
    )  # fmt: skip


def reorder(order: Sequence[int], request: Request, ranking: Sequence[int]) -> list[int]:
    """The candidates that are named, then the others in content's order."""
    named = [order[request.numbered[position]] for position in ranking]
    return named + [item for item in order if item not in set(named)]


def score(order: Sequence[int], targets: Sequence[int]) -> dict[str, float]:
    """ndcg@10, hr@10 and recall@10 of one list."""
    found = ranking_metrics(np.array([order], np.int64), [targets], 10)
    return {metric: float(found[metric][0]) for metric in METRICS}


def intervals(values: Sequence[dict[str, float]], seed: int) -> dict[str, Interval]:
    """A mean and its interval a metric."""
    table = np.array([[own[metric] for metric in METRICS] for own in values])
    return dict(zip(METRICS, bootstrap(table, seed), strict=True))


def scores(rows: Sequence[RequestRow], seed: int) -> Scores | None:
    """Model and content on the rows that were sent; None where none was."""
    pairs = [(row.quality, row.content) for row in rows if row.quality is not None]
    if not pairs:
        return None
    differences = [{metric: mine[metric] - theirs[metric] for metric in METRICS} for mine, theirs in pairs]
    return Scores(
        n=len(pairs), model=intervals([mine for mine, _ in pairs], seed),
        content=intervals([theirs for _, theirs in pairs], seed), minus_content=intervals(differences, seed),
    )  # fmt: skip


def model_row(rows: Sequence[RequestRow], outcomes: Sequence[Outcome], price: str | None, seed: int) -> ModelRow:
    """The figures of one model."""
    usable, sent = [row for row in rows if row.named is not None], [row for row in rows if row.sent]
    done = [d for outcome in outcomes for d in outcome.done]
    return ModelRow(
        price=price, sent=len(sent), usable=len(usable), failed=len(sent) - len(usable), not_sent=len(rows) - len(sent),
        unanswered=sum(row.status != ANSWERED for row in sent), earlier=sum(row.earlier for row in rows),
        partial=sum(row.named != row.n_candidates for row in usable),
        scores=scores(rows, seed), scores_usable=scores(usable, seed),
        latency_ms=percentiles([row.latency_ms for row in usable if row.latency_ms is not None]),
        total_ms=percentiles([row.total_ms for row in usable if row.total_ms is not None]),
        errors=dict(Counter(row.error_kind for row in rows if row.error_kind is not None).most_common()),
        attempts=len(done), attempt_errors=dict(Counter(d.error_kind for d in done if d.error_kind).most_common()),
        tokens=_tokens([row.tokens for row in sent if row.tokens is not None]), formula=_formula(rows),
        **(_money(sent, done) if price and sent else dict.fromkeys(("usd_per_1000", "usd_spent", "usd_unknown"))),
    )  # fmt: skip


def _money(sent: Sequence[RequestRow], done: Sequence[Done]) -> dict[str, float | None]:
    known = [row.usd for row in sent if row.status == ANSWERED and row.usd is not None]
    return {
        "usd_per_1000": 1000 * float(np.mean(known)) if known else None,
        "usd_spent": sum(d.usd for d in done if d.usd is not None and d.usd_known),
        "usd_unknown": sum(d.usd for d in done if d.usd is not None and not d.usd_known),
    }


def _tokens(told: Sequence[CountedTokens]) -> Tokens | None:
    if not told:
        return None
    return Tokens(
        n=len(told), input=float(np.mean([own.input for own in told])), output=float(np.mean([own.output for own in told])),
        reasoning=_mean_of_all([own.reasoning for own in told]), cached=_mean_of_all([own.cached for own in told]),
    )  # fmt: skip


def _mean_of_all(values: Sequence[int | None]) -> float | None:
    """None where any is unknown: a mean over those that tell would look like a mean over all."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _formula(rows: Sequence[RequestRow]) -> Formula | None:
    own = [row.formula for row in rows if row.formula is not None]
    if not own:
        return None
    table = np.array([list(formula.model_dump().values()) for formula in own], np.float64)
    means = dict(zip(ByFormula.model_fields, table.mean(axis=0).tolist(), strict=True))
    both = [(row.tokens.input, row.formula.tokens_in) for row in rows if row.tokens and row.formula]
    return Formula(
        **{name: means[name] for name in means if not name.startswith("usd")},
        usd_per_1000=1000 * means["usd"], usd_per_1000_at_most=1000 * means["usd_at_most"],
        measured_over_expected=sum(counted for counted, _ in both) / sum(e for _, e in both) if both else None,
    )  # fmt: skip
