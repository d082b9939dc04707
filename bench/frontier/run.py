"""`navigator-bench frontier`: find candidates, put the queries, ask or only count, write the report."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from bench.documents import DOCUMENTS, where, write_documents
from bench.frontier.ask import Asker, Manners, Outcome
from bench.frontier.client import KEY_VARIABLE, Endpoint, endpoint_at
from bench.frontier.figures import PROTOCOL, SCHEMA_VERSION, FrontierReport, ModelRow, RequestRow
from bench.frontier.journal import Journal
from bench.frontier.limits import Budget
from bench.frontier.options import Options
from bench.frontier.questions import Asked, put
from bench.frontier.summary import METRICS, intervals, model_row, row_of, score
from bench.frontier.tables import comparison, markdown, protocol
from bench.inputs import Paths, World, fingerprints, open_world, queries_digest
from bench.prices import SHIPPED, ModelPrice, Prices, load_prices
from bench.provenance import came_about
from navigator.contracts.errors import UserError
from navigator.contracts.manifest import digest, is_current, publish, write_text
from navigator.contracts.report import Split

KIND = "frontier-report"
NOT_ASKED = "not-asked"


def ask_models(options: Options) -> dict[str, Any]:
    """Write the report, or find it current (one with unanswered or unsent requests is not: they are asked again).

    Raises:
        UserError: see bench.frontier.command.
    """
    path = options.prices or SHIPPED
    prices = load_prices(path)
    models = options.model_name or prices.default
    endpoint, unasked = _endpoint(options)
    priced = _priced(options, prices, models, endpoint)
    paths = Paths(options.catalog, options.vectors, options.graph)
    world = open_world(paths, options.task, cold_max=0)
    inputs = fingerprints(paths) | {"prices": digest(prices.model_dump())}
    config = options.config() | {"schema_version": SCHEMA_VERSION, "protocol": PROTOCOL, "asked": endpoint is not None}
    if is_current(options.out, KIND, config, inputs):
        report = FrontierReport.model_validate_json((options.out / "report.json").read_text())
        if endpoint is None or not any(row.not_sent or row.unanswered for row in report.models.values()):
            return _answer(options, report, unchanged=True)
    asked = put(options, world, models)
    with publish(options.out, KIND, config, inputs, options.seed) as work:
        journal = Journal(options.journal()) if endpoint else None
        try:
            outcomes = _ask(options, asked, endpoint, priced, journal)
            rows = _rows(asked, outcomes, priced, prices.request.answer_tokens_per_candidate)
            found = {
                model: model_row(own, outcomes[model], _words(prices, priced.get(model)), options.seed)
                for model, own in rows.items()
            }
            report = _report(options, world, asked, found, endpoint, unasked, journal, config, inputs)
            if journal is not None:
                kept = journal.of([request.key for own in asked.requests.values() for request in own])
                write_text(work.path / "answers.jsonl", "".join(done.model_dump_json() + "\n" for done in kept))
        finally:
            if journal is not None:
                journal.close()
        every = "".join(row.model_dump_json() + "\n" for own in rows.values() for row in own)
        write_text(work.path / "requests.jsonl", every)
        files = [*DOCUMENTS, "requests.jsonl", *(["answers.jsonl"] if endpoint else [])]
        write_documents(work.path, report, markdown(report, files))
        work.metrics = _metrics(report)
    return _answer(options, report, unchanged=False)


def _endpoint(options: Options) -> tuple[Endpoint | None, str | None]:
    """Where to ask, or why nobody is asked."""
    if options.base_url is None:
        return None, f"no --base_url was given (and the key of the endpoint in {KEY_VARIABLE})"
    endpoint = endpoint_at(options.base_url, options.timeout_s)
    return endpoint, None if endpoint else f"the environment variable {KEY_VARIABLE} is not set"


def _priced(
    options: Options, prices: Prices, models: Sequence[str], endpoint: Endpoint | None
) -> dict[str, ModelPrice]:
    """Model -> its price; a model without one can be asked only where no limit of money is to hold."""
    entries = {name: options.priced_as.get(name, name) for name in models}
    foreign = next((name for name in options.priced_as if name not in entries), None)
    if foreign is not None:
        raise UserError(f"--priced_as names {foreign!r}, which is none of the models {', '.join(models)}")
    unlimited = endpoint is not None and not math.isfinite(options.max_usd)
    known = {name: entry for name, entry in entries.items() if not unlimited or entry in prices.models or entry != name}
    try:
        return {name: prices.model(entry, options.prices or SHIPPED) for name, entry in known.items()}
    except UserError as error:
        raise UserError(
            f"{error}; give --prices FILE, --priced_as NAME=ENTRY, or ask without a limit of money (--max_usd inf)"
        ) from error


def _ask(
    options: Options, asked: Asked, endpoint: Endpoint | None, priced: dict[str, ModelPrice], journal: Journal | None
) -> dict[str, list[Outcome]]:
    """Model -> outcomes; without an endpoint nothing is sent."""
    if endpoint is None or journal is None:
        return {model: [Outcome(r, [], kind=NOT_ASKED) for r in own] for model, own in asked.requests.items()}
    manners = Manners(
        options.retries, options.max_wait_s, options.concurrency, options.requests_per_minute, options.tokens_per_minute
    )
    limit = options.max_usd if math.isfinite(options.max_usd) else None
    budget = Budget(limit, journal.spent_usd())
    outcomes = {}
    for model, requests in asked.requests.items():
        asker = Asker(endpoint, priced, manners, budget, journal, options.seed)
        with tqdm(total=len(requests), desc=model, unit="request") as bar:
            outcomes[model] = asyncio.run(asker.ask_all(requests, lambda _, bar=bar: bar.update()))
    return outcomes


def _rows(
    asked: Asked, outcomes: dict[str, list[Outcome]], priced: dict[str, ModelPrice], tokens_per_candidate: int
) -> dict[str, list[RequestRow]]:
    return {
        model: [
            row_of(outcome, order, query.targets, priced.get(model), tokens_per_candidate * len(order))
            for outcome, order, query in zip(own, asked.orders, asked.queries, strict=True)
        ]
        for model, own in outcomes.items()
    }


def _report(
    options: Options, world: World, asked: Asked, models: dict[str, ModelRow], endpoint: Endpoint | None,
    unasked: str | None, journal: Journal | None, config: dict[str, Any], inputs: dict[str, str],
) -> FrontierReport:  # fmt: skip
    pairs = list(zip(asked.orders, [query.targets for query in asked.queries], strict=True))
    found = [score(order, targets) for order, targets in pairs]
    best = [score(sorted(order, key=lambda item, own=targets: item not in own), targets) for order, targets in pairs]
    return FrontierReport(
        task=options.task, n_queries=len(asked.queries), n_items=world.n_items,
        split=Split(description="test part of the taste graph's split", part="test", queries=queries_digest(asked.queries)),
        endpoint=endpoint and endpoint.base_url, unasked=unasked, content=intervals(found, options.seed),
        best_possible=intervals(best, options.seed), usd_journal=journal and journal.spent_usd(),
        unreadable=sorted(asked.items.unreadable), bare=sorted(asked.items.bare),
        models=models, **came_about(options.seed, options.command_line(), config, inputs, protocol(options)),
    )  # fmt: skip


def _words(prices: Prices, price: ModelPrice | None) -> str | None:
    return f"{prices.words(price)}; pictures by {price.picture.words()}" if price else None


def _metrics(report: FrontierReport) -> dict[str, Any]:
    return {
        model: {metric: row.scores.model[metric].mean for metric in METRICS} if row.scores else None
        for model, row in report.models.items()
    }


def _answer(options: Options, report: FrontierReport, unchanged: bool) -> dict[str, Any]:
    text = f"{comparison(report)}\n\n{where(options.out, unchanged)}"
    return {
        "out": str(options.out), "unchanged": unchanged, "queries": report.n_queries, "asked": report.endpoint is not None,
        "usd_journal": report.usd_journal, "answers": str(options.journal()) if report.endpoint else None,
        "models": {model: row.model_dump(mode="json") for model, row in report.models.items()}, "text": text,
    }  # fmt: skip
