"""`navigator-bench assistant`: what goes out over HTTP, and the figures of a whole run against plain counts."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench_assistant_worlds import ANSWERS, Server, answer, base, run, write_world


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return write_world(tmp_path)


def test_a_whole_run(world: Path, chat_server: Server, reaction: Any, capsys: pytest.CaptureFixture[str]) -> None:
    server = chat_server(answer(ANSWERS, reaction))
    code, report, rows = run(world, base(server))
    assert code == 0 and report.conversations == 3 and report.turns == {"items": 4, "talk": 1, "refuse": 1}
    own, last, every = (
        report.systems["assistant"],
        report.systems["search-last-turn"],
        report.systems["search-all-turns"],
    )
    assert [s.requests for s in report.systems.values()] == [6, 6, 6] and not own.failed
    # an apple: [a2 1, a1 2] of ideal [2, 1]; more: a1, a2 were seen, so that nothing is left; a cat: [t1, c1]; like: [c1, t1]
    apple, cat = (1 + 2 * 0.6309298) / (2 + 0.6309298), 0.6309298
    assert own.all_turns.turns == 4 and own.all_turns.without == 1 and own.all_turns.ndcg is not None
    assert own.all_turns.ndcg.mean == pytest.approx((apple + cat + 0) / 3)
    assert own.all_turns.condensed is not None and own.all_turns.condensed.mean == pytest.approx((apple + 1 + 0) / 3)
    assert own.last.turns == 3 and own.last.without == 1 and own.last.ndcg is not None
    assert own.last.ndcg.mean == pytest.approx(cat / 2)
    assert (own.refusals.hits, own.refusals.wrong, own.refusals.missed) == (1, 0, 0)
    assert own.refusals.f1 is not None and own.refusals.f1.mean == 1
    assert (last.refusals.hits, last.refusals.wrong, last.refusals.missed) == (
        0,
        1,
        1,
    )  # wrong: all it knows was excluded
    assert last.refusals_by_stratum["near-miss"].precision is None and set(last.refusals_by_stratum) == {"near-miss"}
    assert own.broken == {"seen": 1, "keyword": 1, "board": 1, "never": 1}
    assert own.asked == {"seen": 1, "keyword": 1, "board": 1, "never": 1}
    assert own.talk == 1 and own.talk_with_items == own.talk_refused == 0 and last.talk_with_items == 1
    assert own.tokens == {"prompt": 10, "completion": 4} and last.tokens is None and last.groundedness is None
    assert own.groundedness is not None and own.groundedness.grounded is not None
    assert own.groundedness.grounded.mean == pytest.approx(5 / 6) and own.groundedness.elsewhere == 1
    assert own.groundedness.flag_too_kind == 1 and own.groundedness.naming == 5
    assert own.all_turns.minus_search is not None and last.all_turns.minus_search is None
    assert every.all_turns.ndcg is not None and own.releases == ["v1"]
    assert len(rows) == 18 and {row["error"] for row in rows} == {None}
    assert "assistant, grounded: 0.833" in capsys.readouterr().out
    text = (world / "report" / "report.md").read_text()
    assert "## Refusals" in text and "| near-miss |" in text and (world / "report" / "report.html").is_file()
    qrels = (world / "report" / "qrels.trec").read_text().split("\n")
    assert "g1.0 0 a1 2" in qrels and "g1.2 0 a1 2" not in qrels  # seen and not wanted again


def test_what_goes_out(world: Path, chat_server: Server, reaction: Any) -> None:
    server = chat_server(answer(ANSWERS, reaction))
    run(world, base(server), "--split", "all")
    chats = [body for body, _, _ in server.seen if "messages" in body]
    by_last = {json.dumps(body["messages"][-1]["content"]): body for body in chats}
    more = next(body for words, body in by_last.items() if '"more"' in words)
    assert more["retrieval"] == {"keyword": "fruit", "exclude_seen": True, "k": 10, "mode": "auto"}
    assert [m["role"] for m in more["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert more["messages"][1]["content"] == [
        {"type": "text", "text": 'I found "green apple" and "red apple".'}, {"type": "item", "item": "a2"},
        {"type": "item", "item": "a1"},
    ]  # fmt: skip
    assert more["messages"][3]["content"] == 'Hello! You saw "red apple" before.'  # no items, no parts
    like = next(body for words, body in by_last.items() if "like the first" in words)
    assert [m["role"] for m in like["messages"]] == [
        "user",
        "assistant",
        "user",
    ]  # the set's own answer, nobody was asked
    assert like["messages"][1]["content"][1:] == [{"type": "item", "item": "c1"}, {"type": "item", "item": "c2"}]
    drawn = next(body for words, body in by_last.items() if "like this" in words)["messages"][0]["content"][0]
    assert drawn["image_url"]["url"].startswith("data:image/png;base64,")
    searches = [body for body, _, _ in server.seen if "messages" not in body]
    assert sum("image" in body for body in searches) == 1
    assert {body.get("text") for body in searches} >= {
        "a dog",
        "a cat a dog",
        "an apple hello more",
        "like this",
        "cats like the first",
    }
    again = next(body for body in searches if body.get("text") == "more")
    assert again == {"text": "more", "keyword": "fruit", "k": 10, "exclude": ["a1", "c1"]}


def test_a_stock_client_sends_words_alone(world: Path, chat_server: Server, reaction: Any) -> None:
    server = chat_server(answer(ANSWERS, reaction))
    run(world, base(server), "--echo", "text", "--baselines", "false")
    assert all("messages" in body for body, _, _ in server.seen)
    answers = [m["content"] for body, _, _ in server.seen for m in body["messages"] if m["role"] == "assistant"]
    assert answers and all(isinstance(words, str) for words in answers) and "Two cats." in answers
