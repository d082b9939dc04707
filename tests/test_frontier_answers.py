"""Reading answers strictly, and counting what came of them."""

import json

import pytest

from bench.frontier.answer import JSON_SCHEMA, Failure, Ranking, read_ranking, read_usage
from bench.frontier.request import Form, Shown, build
from bench.frontier.summary import reorder, score


def completion(content: str | None, **choice) -> str:
    return json.dumps({"choices": [{"message": {"content": content}} | choice]})


def test_a_ranking_is_read_as_positions_from_zero() -> None:
    assert read_ranking(completion('{"ranking": [3, 1, 2]}'), 3) == [2, 0, 1]
    assert read_ranking(completion(' {"ranking": [2]}\n'), 3) == [1]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ('```json\n{"ranking": [1]}\n```', "not-json"), ("[1, 2]", "wrong-schema"), ('{"ranking": []}', "wrong-schema"),
        ('{"ranking": [1], "why": "x"}', "wrong-schema"), ('{"ranking": ["1"]}', "wrong-schema"),
        ('{"ranking": [1.0]}', "wrong-schema"), ('{"ranking": [true]}', "wrong-schema"), ('{"ranking": null}', "wrong-schema"),
        ('{"ranking": [1, 1]}', "not-a-ranking"), ('{"ranking": [0]}', "not-a-ranking"),
        ('{"ranking": [4]}', "not-a-ranking"), ("", "empty"), (None, "empty"), ('{"ranking": [1]} thanks', "not-json"),
    ],
)  # fmt: skip
def test_nothing_is_repaired(content: str | None, kind: str) -> None:
    with pytest.raises(Failure) as failure:
        read_ranking(completion(content), 3)
    assert failure.value.kind == kind


@pytest.mark.parametrize("raw", ["", "null", "[]", "{}", '{"choices": []}', '{"choices": [{"message": 1}]}', "<html>"])
def test_what_is_no_completion_is_said_to_be_none(raw: str) -> None:
    with pytest.raises(Failure, match="malformed-response"):
        read_ranking(raw, 3)
    assert read_usage(raw) is None


def test_why_a_model_stopped_comes_before_what_it_wrote() -> None:
    for finish, kind in (("length", "cut-off"), ("content_filter", "content-filter")):
        with pytest.raises(Failure) as failure:
            read_ranking(completion('{"ranking": [1]}', finish_reason=finish), 3)
        assert failure.value.kind == kind


def test_thinking_that_only_the_total_shows_is_output() -> None:
    counted = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 150}
    usage = read_usage(json.dumps({"usage": counted}))
    assert usage is not None and (usage.output_tokens, usage.reasoning_tokens, usage.cached_tokens) == (50, None, None)
    details = {"completion_tokens_details": {"reasoning_tokens": 7}, "prompt_tokens_details": {"cached_tokens": 90}}
    usage = read_usage(json.dumps({"usage": counted | {"total_tokens": 110} | details}))
    assert usage is not None and (usage.output_tokens, usage.reasoning_tokens, usage.cached_tokens) == (10, 7, 90)
    assert read_usage('{"usage": {"prompt_tokens": -1, "completion_tokens": 1}}') is None


def test_the_schema_that_is_sent_is_the_one_that_is_read() -> None:
    sent, read = JSON_SCHEMA["json_schema"]["schema"], Ranking.model_json_schema()
    assert set(sent["properties"]) == set(read["properties"]) and sent["required"] == read["required"]
    assert sent["additionalProperties"] is read["additionalProperties"] is False
    assert sent["properties"]["ranking"]["items"] == read["properties"]["ranking"]["items"]


def test_numbers_stand_for_the_candidates_as_they_were_shown() -> None:
    shown = [Shown(name, None) for name in ("a", "b", "c")]
    request = build("m", "u", "q", [], shown, "", Form(), numbered=[2, 0, 1])  # 1 is c, 2 is a, 3 is b
    lines = [part["text"] for part in request.body["messages"][1]["content"]]
    assert lines[2:5] == ['candidate 1: "c"', 'candidate 2: "a"', 'candidate 3: "b"']
    assert reorder([10, 20, 30], request, [2, 0]) == [20, 30, 10]  # b, c, and a that was left out
    assert score([20, 30, 10], [30]) == pytest.approx({"ndcg@10": 0.6309, "hr@10": 1, "recall@10": 1}, abs=1e-4)


def test_two_requests_are_the_same_only_if_all_of_them_is() -> None:
    def key(model: str = "m", url: str = "u", query: str = "q", text: str = "a", form: Form = Form()) -> str:  # noqa: B008
        return build(model, url, query, [Shown(text, None)], [Shown("b", None)], "", form).key

    others = [key("n"), key(url="v"), key(query="r"), key(text="x"), key(form=Form(max_output_tokens=1))]
    assert key() == key() and len({key(), *others}) == 6


def test_the_most_tokens_are_more_than_any_vocabulary_needs() -> None:
    from bench.picture_tokens import Fixed

    request = build("m", "u", "q", [Shown("ä" * 300, None)], [Shown("b", None)], "", Form(response_format="text"))
    rule = Fixed.model_validate({"rule": "fixed", "tokens": 5, "source": "", "as_of": ""})
    texts = [request.body["messages"][0]["content"], *(p["text"] for p in request.body["messages"][1]["content"])]
    size = sum(len(text.encode()) for text in texts)
    assert "ä" * 200 in texts[2] and "ä" * 201 not in texts[2]  # cut
    assert request.most_tokens_in(rule) >= size and request.tokens_in(rule) == pytest.approx(size / 4, abs=2)
