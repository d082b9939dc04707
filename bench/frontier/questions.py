"""The bench's queries as requests: which are asked, what content finds for them, and how each is put to every model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.evaluate import choose_queries
from bench.frontier.items import Items
from bench.frontier.options import Options
from bench.frontier.request import Form, Request, build
from bench.inputs import World
from bench.systems.content import Content
from navigator.contracts.errors import UserError
from navigator.contracts.signals import Query


@dataclass(frozen=True)
class Asked:
    """What is put to every model.

    Attributes:
        queries: in the order they are asked, which is random: where the money ends, a random sample was asked.
        orders: per query its candidates as content orders them, by catalogue index.
        items: what requests show of items.
        requests: model -> a request a query.
    """

    queries: list[Query]
    orders: list[list[int]]
    items: Items
    requests: dict[str, list[Request]]


def put(options: Options, world: World, models: Sequence[str]) -> Asked:
    """Draw the queries, let content find candidates, and put every query to every model.

    Raises:
        UserError: a query has fewer than two candidates, so that there is nothing to order.
    """
    chance, last = np.random.default_rng(options.seed), options.max_history
    chosen = chance.permutation(choose_queries(len(world.queries), options.queries or None, options.seed))
    queries = [world.queries[i] for i in chosen]
    found, _ = Content("content", world.content, last).recommend(queries, options.candidates)
    orders = [[item for item in row if item >= 0] for row in found.tolist()]
    few = next((q.query_id for q, order in zip(queries, orders, strict=True) if len(order) < 2), None)
    if few is not None:
        raise UserError(f"query {few!r} has fewer than 2 candidates that have a vector and are not in its history")
    numbered = [chance.permutation(len(o)).tolist() if options.shuffle else list(range(len(o))) for o in orders]
    items = Items(world.catalog, options.picture_px if options.pictures else None)
    items.read([item for q, order in zip(queries, orders, strict=True) for item in (*q.history[-last:], *order)])
    form = Form(options.response_format, options.max_output_tokens, options.reasoning_effort, options.temperature)
    base_url = (options.base_url or "").rstrip("/")
    requests = {
        model: [
            build(
                model, base_url, query.query_id, items.show(query.history[-last:]), items.show(order),
                query.title if options.titles else "", form, shown,
            )
            for query, order, shown in zip(queries, orders, numbered, strict=True)
        ]
        for model in models
    }  # fmt: skip
    return Asked(queries, orders, items, requests)
