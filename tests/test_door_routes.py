"""Every route of the server has its line in the door's table: what has none would be refused by the door."""

import re

import pytest
from fastapi.routing import APIRoute

from navigator.serve import routes, routes_catalog, routes_chat, routes_events, routes_openai
from navigator.serve.door.places import place_of

ROUTES = [
    route.path
    for module in (routes, routes_catalog, routes_chat, routes_events, routes_openai)
    for route in module.router.routes
    if isinstance(route, APIRoute)
]
NEEDS = {"/healthz": "nothing", "/readyz": "nothing", "/metrics": "admin", "/v1/models": "any", "/v1/release": "any"}
NEEDS |= {"/v1/events": "events", "/v1/chat/completions": "chat", "/v1/admin/reload": "admin"}


@pytest.mark.parametrize("path", ROUTES)
def test_every_route_needs_what_the_contract_says(path: str):
    assert place_of(re.sub(r"\{[^}]*\}", "some/id", path)).needs == NEEDS.get(path, "search")


def test_there_are_routes():
    assert {"/v1/search", "/v1/embeddings", "/v1/events", "/metrics"} <= set(ROUTES)
