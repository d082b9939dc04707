"""The stock `openai` client against a server that really listens: embeddings, models, its own exceptions."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from navigator.serve.engine import Engine
from serve_worlds import data_url, listening, service_of

openai = pytest.importorskip("openai", reason="the extra `dev` is not installed")


@pytest.fixture(scope="module")
def address(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with listening(service_of(engine), tmp_path_factory.mktemp("door")) as address:
        yield address


@pytest.fixture(scope="module")
def stock(address: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none is asked for", max_retries=0) as client:
        yield client


def test_it_embeds_words_one_or_many(stock: Any, engine: Engine):
    texts = ["red thing", "a blue thing of 3"]
    assert engine.encoder is not None
    want = engine.encoder.encode_texts(texts)
    many = stock.embeddings.create(model="navigator", input=texts)  # asks for base64 and reads it
    np.testing.assert_allclose([row.embedding for row in many.data], want, atol=1e-6)
    assert [row.index for row in many.data] == [0, 1] and many.usage.prompt_tokens > 0
    one = stock.embeddings.create(model="navigator", input=texts[0], encoding_format="float", dimensions=8)
    assert len(one.data[0].embedding) == 8


def test_it_embeds_items_and_pictures_as_parts(stock: Any):
    parts = [{"type": "item", "item": "i03"}, {"type": "image_url", "image_url": {"url": data_url()}}]
    found = stock.embeddings.create(model="navigator", input=parts, encoding_format="float")
    assert [len(row.embedding) for row in found.data] == [16, 16]


def test_it_lists_the_model(stock: Any):
    assert [model.id for model in stock.models.list()] == ["v1"]


def test_it_raises_its_own_exceptions(stock: Any):
    with pytest.raises(openai.NotFoundError) as missing:
        stock.embeddings.create(model="navigator", input=[{"type": "item", "item": "nobody"}])
    assert missing.value.code == "item_not_found"
    with pytest.raises(openai.UnprocessableEntityError):
        stock.embeddings.create(model="navigator", input=[])


def test_plain_http_is_enough(address: str):
    request = urllib.request.Request(
        f"{address}/v1/search", json.dumps({"text": "cat"}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert len(json.load(answer)["results"]) == 10
