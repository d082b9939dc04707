"""Each route of the server over a tiny release: what it answers, with which headers."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from starlette.testclient import TestClient

from navigator.serve.engine import Engine
from serve_worlds import World, client_of, data_url, service_of


@pytest.fixture(scope="module")
def client(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with client_of(service_of(engine), tmp_path_factory.mktemp("door")) as client:
        yield client


def items_of(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [result["item"] for result in answer.json()["results"]]


def content(engine: Engine) -> np.ndarray:
    """(60, 16) unit content vectors, straight from the store."""
    values = engine.pipeline.store.float32()[:, :16]
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def nearest(engine: Engine, query: np.ndarray, gallery: np.ndarray, without: tuple[str, ...] = ()) -> list[str]:
    order = np.argsort(-(gallery @ query), kind="stable")
    return [item for item in (engine.pipeline.store.ids[row] for row in order) if item not in without]


def test_words_find_what_their_vector_is_nearest_to(client: TestClient, engine: Engine):
    answer = client.post("/v1/search", json={"text": "red things 3", "k": 7, "exclude": ["i03"]})
    assert engine.encoder is not None
    query = engine.encoder.encode_texts(["red things 3"])[0]
    assert items_of(answer) == nearest(engine, query, content(engine), ("i03",))[:7]
    body = answer.json()
    assert body["object"] == "search" and body["release"] == "v1"
    first, row = body["results"][0], engine.pipeline.store.index[body["results"][0]["item"]]
    assert first["title"] == engine.pipeline.titles[first["item"]]
    assert first["picture"] == f"/v1/items/{first['item']}/picture"
    assert first["score"] == pytest.approx(float(content(engine)[row] @ query), abs=1e-5)


def test_a_picture_finds_what_its_vector_is_nearest_to(client: TestClient, engine: Engine):
    import base64

    url = data_url((40, 60, 200))
    assert engine.encoder is not None
    query = engine.encoder.encode_pictures([base64.b64decode(url.split(",")[1])])[0]
    assert (
        items_of(client.post("/v1/search", json={"image": url, "k": 5})) == nearest(engine, query, content(engine))[:5]
    )


def test_an_item_finds_its_neighbours_in_the_item_space_and_not_itself(client: TestClient, engine: Engine):
    whole = engine.pipeline.store.float32()
    want = nearest(engine, whole[7], whole, ("i07",))[:5]
    assert items_of(client.post("/v1/search", json={"item": "i07", "k": 5})) == want


def test_a_search_within_a_board_finds_its_items_alone(client: TestClient):
    held = {f"i{n:02}" for n in range(4, 10)}  # board b1, see conftest.tiny_tables
    assert set(items_of(client.post("/v1/search", json={"text": "blue cat", "board": "b1", "k": 20}))) == held


def test_requests_of_one_batch_are_answered_as_each_alone(engine: Engine):
    from navigator.refusal import Refusal
    from navigator.serve.exchange import Asked, Done
    from navigator.serve.schemas import SearchRequest

    bodies = [{"text": "red"}, {"item": "i05", "k": 3}, {"item": "nobody"}, {"text": "a blue thing", "k": 30}]
    asked = [Asked(SearchRequest.model_validate(body)) for body in bodies]
    together, alone = engine.search(asked), [engine.search([one])[0] for one in asked]
    assert isinstance(together[2], Refusal) and together[2].status == 404
    for one, other in zip(together, alone, strict=True):
        if isinstance(one, Done) and isinstance(other, Done):
            assert one.answer.items == other.answer.items
            np.testing.assert_allclose(one.answer.scores, other.answer.scores, atol=1e-5)


def test_a_recommendation_is_the_pipelines_with_its_reasons(client: TestClient, engine: Engine):
    answer = client.post("/v1/recommend", json={"history": ["i00", "i01", "i02"], "k": 6, "title": "red cat"})
    want = engine.pipeline.recommend(["i00", "i01", "i02"], 6, "red cat")
    body = answer.json()
    assert items_of(answer) == [one.item for one in want.results]
    assert not {"i00", "i01", "i02"} & set(items_of(answer))
    assert body["ranked"] is True and body["candidates"] == want.candidates
    assert {result["because"]["item"] for result in body["results"]} <= {"i00", "i01", "i02"}
    on_board = client.post("/v1/recommend", json={"history": ["i05", "i06"], "k": 4, "board": "b1"}).json()["results"]
    assert {result["item"] for result in on_board} == {"i04", "i07", "i08", "i09"}
    assert all(result["board"]["shared"] == 2 for result in on_board)  # b1 holds them all, another board may as well


def test_a_picture_alone_is_enough_for_a_recommendation(client: TestClient):
    body = client.post("/v1/recommend", json={"image": data_url(), "k": 4}).json()
    assert len(body["results"]) == 4 and body["ranked"] is False
    assert all(list(result["sources"]) == ["picture"] and result["because"] is None for result in body["results"])


def test_ranking_orders_all_candidates_by_the_models_scores(client: TestClient, engine: Engine):
    names = [f"i{n:02}" for n in (9, 30, 12, 44)]
    answer = client.post("/v1/rank", json={"history": ["i01", "i02"], "candidates": names})
    rows = engine.pipeline.store.rows_of(names)
    scores = engine.pipeline.recommender.rank([1, 2], rows.tolist())
    assert items_of(answer) == [names[n] for n in np.argsort(-scores, kind="stable")]
    reversed_answer = client.post("/v1/rank", json={"history": ["i01", "i02"], "candidates": names[::-1]})
    assert items_of(reversed_answer) == items_of(answer)


def test_embeddings_of_words_items_and_pictures(client: TestClient, engine: Engine):
    parts = [
        {"type": "text", "text": "red thing"}, {"type": "item", "item": "i07"},
        {"type": "image_url", "image_url": {"url": data_url()}},
    ]  # fmt: skip
    rows = [
        row["embedding"] for row in client.post("/v1/embeddings", json={"model": "v1", "input": parts}).json()["data"]
    ]
    assert engine.encoder is not None
    np.testing.assert_allclose(rows[0], engine.encoder.encode_texts(["red thing"])[0], atol=1e-6)
    np.testing.assert_allclose(rows[1], content(engine)[7], atol=1e-6)
    assert len(rows) == 3 and all(math.isclose(np.linalg.norm(row), 1, abs_tol=1e-5) for row in rows)
    cut = client.post("/v1/embeddings", json={"input": "red thing", "dimensions": 4}).json()["data"][0]["embedding"]
    np.testing.assert_allclose(cut, np.array(rows[0][:4]) / np.linalg.norm(rows[0][:4]), atol=1e-6)


def test_a_comparison_without_a_native_model_says_null(client: TestClient):
    body = client.post("/v1/compare", json={"history": ["i00"], "candidates": ["i05", "i06", "i07"], "k": 2}).json()
    assert body["native"] is None and body["candidates"] == 3 and len(body["swapped"]["results"]) == 2
    assert body["swapped"]["latency_ms"] > 0 and body["swapped"]["usd_per_1000"] is None


def test_the_catalogue_is_shown(client: TestClient):
    assert client.get("/v1/items/i07").json()["title"] == "blue flag 7"
    picture = client.get("/v1/items/i07/picture?size=64")
    assert picture.headers["content-type"] == "image/webp" and picture.content[8:12] == b"WEBP"
    boards = client.get("/v1/boards?limit=3").json()
    assert len(boards) == 3 and boards[0]["items"] >= boards[2]["items"]
    assert [board["board"] for board in client.get("/v1/boards?query=B11").json()] == ["b11"]
    board = client.get("/v1/boards/b1").json()
    assert [one["item"] for one in board["items"]] == [f"i{n:02}" for n in range(4, 10)] and board["more"] == 0


def test_every_answer_names_its_release_and_request_and_what_took_how_long(client: TestClient):
    answer = client.post("/v1/search", json={"text": "cat"})
    assert answer.headers["x-navigator-release"] == "v1" and len(answer.headers["x-request-id"]) >= 8
    told = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert list(told) == ["queue", "work", "encode", "retrieve"]
    assert float(told["work"]) == pytest.approx(float(told["encode"]) + float(told["retrieve"]), abs=0.002)
    assert answer.json()["timings_ms"]["encode"] == pytest.approx(float(told["encode"]), abs=0.001)
    for path in ("/healthz", "/v1/items/nobody", "/nowhere"):
        assert client.get(path).headers["x-navigator-release"] == "v1"


def test_it_says_what_it_serves(client: TestClient):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready", "release": "v1"}
    assert client.get("/v1/release").json()["items"] == 60
    assert client.get("/v1/models").json()["data"][0]["id"] == "v1"
    assert client.get("/").headers["content-type"].startswith("text/html")


def test_prometheus_hears_of_requests_stages_batches_and_refusals(world: World, engine: Engine, tmp_path):
    with client_of(service_of(engine, usd_per_hour=3.6), tmp_path) as client:
        for text in ("red", "blue"):
            client.post("/v1/search", json={"text": text})
        client.post("/v1/search", json={})
        page = client.get("/metrics").text.splitlines()
    counts = {name: float(value) for name, _, value in (line.rpartition(" ") for line in page if line[0] != "#")}
    assert counts['navigator_requests_total{endpoint="/v1/search",status="200"}'] == 2
    assert counts['navigator_requests_total{endpoint="/v1/search",status="422"}'] == 1
    assert counts['navigator_refused_total{code="invalid_field"}'] == 1
    assert counts['navigator_stage_seconds_count{endpoint="search",stage="encode"}'] == 2
    assert counts['navigator_batch_size_sum{kind="search"}'] == 2
    assert counts['navigator_queue_depth{kind="search"}'] == 0
    assert counts['navigator_release_info{release="v1"}'] == 1
    worked = counts['navigator_work_seconds_total{kind="search"}']
    assert counts['navigator_cost_usd_total{kind="search"}'] == pytest.approx(worked * 0.001)


def test_without_an_encoder_items_are_served_and_words_are_refused(world: World, tmp_path):
    with client_of(service_of(world.engine(encoder=False)), tmp_path) as client:
        assert len(items_of(client.post("/v1/search", json={"item": "i00", "k": 3}))) == 3
        for path, body in (
            ("/v1/search", {"text": "red"}), ("/v1/search", {"image": data_url()}), ("/v1/embeddings", {"input": "red"}),
            ("/v1/recommend", {"image": data_url()}), ("/v1/rank", {"title": "red", "candidates": ["i00"]}),
        ):  # fmt: skip
            answer = client.post(path, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_encoder"), path
