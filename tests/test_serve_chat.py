"""Conversations over HTTP: OpenAI's shapes, whole and streamed; filters, refusals, a release that is replaced."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from navigator.serve.engine import Engine
from navigator.serve.service import Service
from serve_worlds import World, client_of, data_url, listening, service_of

openai = pytest.importorskip("openai", reason="the extra `dev` is not installed")
ASK = {"model": "navigator", "messages": [{"role": "user", "content": "show me a red thing"}], "max_tokens": 8}


@pytest.fixture(scope="module")
def service(engine: Engine) -> Service:
    return service_of(engine)


@pytest.fixture(scope="module")
def client(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with client_of(service, tmp_path_factory.mktemp("door")) as client:
        yield client


def always(**more: Any) -> dict[str, Any]:
    return ASK | {"retrieval": {"mode": "always", "k": 3, **more}}


def test_an_answer_names_what_was_found_and_the_release(client: TestClient, engine: Engine):
    answer = client.post("/v1/chat/completions", json=always())
    body = answer.json()
    assert answer.status_code == 200 and answer.headers["X-Navigator-Release"] == "v1"
    message, told = body["choices"][0]["message"], body["navigator"]
    assert message["role"] == "assistant" and message["content"] and body["object"] == "chat.completion"
    assert told["retrieved"] and told["grounded"] and told["release"] == "v1" and len(told["items"]) == 3
    assert [item["title"] for item in told["items"]] == [engine.title(item["item"]) for item in told["items"]]
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    assert {"queue", "retrieve"} <= set(told["timings_ms"])


def test_the_stream_says_what_the_whole_answer_says(client: TestClient):
    whole = client.post("/v1/chat/completions", json=always()).json()
    asked = always() | {"stream": True, "stream_options": {"include_usage": True}}
    with client.stream("POST", "/v1/chat/completions", json=asked) as streamed:
        assert streamed.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in streamed.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
    assert said == whole["choices"][0]["message"]["content"]
    last = [chunk for chunk in chunks if chunk["choices"]][-1]
    assert last["choices"][0]["finish_reason"] in ("stop", "length")
    assert last["navigator"]["items"] == whole["navigator"]["items"]
    assert chunks[-1]["usage"] == whole["usage"] and len({chunk["id"] for chunk in chunks}) == 1


def test_filters_hold(client: TestClient, engine: Engine):
    first = client.post("/v1/chat/completions", json=always()).json()["navigator"]["items"]
    on_board = {engine.pipeline.store.ids[row] for row in engine.pipeline.boards.items("b1")}
    found = client.post("/v1/chat/completions", json=always(board="b1")).json()["navigator"]["items"]
    assert found and {item["item"] for item in found} <= on_board
    shown = [{"type": "item", "item": item["item"]} for item in first]
    turns = [
        *ASK["messages"],
        {"role": "assistant", "content": shown},
        {"role": "user", "content": "others please, red thing"},
    ]
    again = client.post("/v1/chat/completions", json=always() | {"messages": turns}).json()["navigator"]["items"]
    assert again and not {item["item"] for item in again} & {item["item"] for item in first}


def test_pictures_and_items_are_parts(client: TestClient):
    parts = [
        {"type": "text", "text": "like this"}, {"type": "image_url", "image_url": {"url": data_url()}},
        {"type": "item", "item": "i05"},
    ]  # fmt: skip
    answer = client.post("/v1/chat/completions", json=always() | {"messages": [{"role": "user", "content": parts}]})
    assert answer.status_code == 200 and "i05" not in {i["item"] for i in answer.json()["navigator"]["items"]}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"messages": []}, 422, "invalid_field"),
        ({"messages": [{"role": "assistant", "content": "hm"}]}, 400, "no_question"),
        ({"messages": [{"role": "user", "content": [{"type": "item", "item": "nobody"}]}]}, 404, "item_not_found"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}]},
         400, "no_fetching"),
        ({"retrieval": {"keyword": "no such"}}, 404, "not_found"),
        ({"messages": [{"role": "user", "content": "free porn"}]}, 400, "content_blocked"),
        ({"stream": True, "messages": [{"role": "user", "content": "free porn"}]}, 400, "content_blocked"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_has_a_status_and_a_code(client: TestClient, change: dict, status: int, code: str):
    answer = client.post("/v1/chat/completions", json=always() | change)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


def test_the_filter_stops_what_would_be_said(engine: Engine, tmp_path, monkeypatch: pytest.MonkeyPatch):
    import navigator.serve.app as app

    monkeypatch.setattr(app, "load_filter", lambda _: lambda text: "no flags" if "flag" in text.casefold() else None)
    asked = always() | {"messages": [{"role": "user", "content": "show me red"}]}
    with client_of(service_of(engine), tmp_path) as client:
        body = client.post("/v1/chat/completions", json=asked).json()
    assert "flag" not in body["choices"][0]["message"]["content"].casefold()
    assert "left out" in body["choices"][0]["message"]["content"]


def test_turns_are_counted(client: TestClient):
    client.post("/v1/chat/completions", json=always())
    page = client.get("/metrics").text
    assert 'navigator_chat_total{outcome="answered"}' in page and 'navigator_tokens_total{kind="prompt"}' in page
    assert 'navigator_queue_depth{kind="chat"}' in page


def test_the_stock_client_chats_and_streams(service: Service, tmp_path):
    with (
        listening(service, tmp_path) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none is asked for", max_retries=0) as stock,
    ):
        extra = {"retrieval": {"mode": "always", "k": 2}}
        whole = stock.chat.completions.create(**ASK, extra_body=extra)
        assert whole.choices[0].message.content and len(whole.navigator["items"]) == 2
        pieces = list(stock.chat.completions.create(**ASK, extra_body=extra, stream=True))
        said = "".join(piece.choices[0].delta.content or "" for piece in pieces)
        assert said == whole.choices[0].message.content and pieces[-1].navigator["grounded"]
        with pytest.raises(openai.BadRequestError) as refused:
            stock.chat.completions.create(model="navigator", messages=[{"role": "assistant", "content": "x"}])
        assert refused.value.code == "no_question"


def test_a_replaced_release_says_what_it_began_and_ends(world: World, engine: Engine):
    service = service_of(engine)
    with service.talking() as old:
        service.use(world.engine("v2"))
        assert not old.enter() and old.batch._thread.is_alive()
        with service.talking() as new:
            assert new.engine.name == "v2" and new is not old
    old.batch._thread.join(10)
    assert not old.batch._thread.is_alive()
    service.drain(5)
