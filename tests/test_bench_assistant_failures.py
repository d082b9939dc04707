"""`navigator-bench assistant` where things go wrong: failures are rows, keys stay out, bad options are said in a line."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.assistant.gold import GOLD
from bench.cli import main
from bench_assistant_worlds import ANSWERS, Server, answer, base, run, write_world


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return write_world(tmp_path)


def test_failures_are_rows_and_count_as_nothing_found(world: Path, chat_server: Server, reaction: Any) -> None:
    answers = ANSWERS | {"a cat": '{"choices": []}', "an apple": json.dumps({"error": {"message": "too busy"}})}
    server = chat_server(answer(answers, reaction, lambda words: 429 if words == "an apple" else 200))
    code, report, rows = run(world, base(server))
    own = report.systems["assistant"]
    assert code == 0 and own.failed == 5 and own.requests == 6
    assert own.errors["HTTP 429: too busy"] == 1
    assert own.errors["not asked: an earlier turn of the conversation failed"] == 3
    assert any("not of the form" in error for error in own.errors)
    assert own.all_turns.ndcg is not None and own.all_turns.ndcg.mean == 0 and own.all_turns.turns == 4
    assert own.refusals.missed == 1 and own.refusals.hits == 0
    assert own.groundedness is not None and own.groundedness.answers == 1
    failed = [row for row in rows if row["error"]]
    assert {row["status"] for row in failed} == {429, 200, None} and all(row["items"] == [] for row in failed)


def test_a_rate_limit_is_waited_for_and_is_no_failure(
    world: Path, chat_server: Server, reaction: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("bench.assistant.client.time.sleep", slept.append)
    well = answer(ANSWERS, reaction)
    busy = {"status": 429, "raw": '{"error": {"message": "slowly"}}'}

    def react(body: dict[str, Any], number: int) -> Any:
        if number in (1, 2):
            return reaction(**busy, headers={"Retry-After": "7"})
        if body.get("text") == "a dog":
            return reaction(**busy, headers={"Retry-After": "3600"})  # nobody waits for an hour
        return well(body, number)

    _, report, _ = run(world, base(chat_server(react)))
    assert [own for own in slept if own] == [7, 7]  # the test's server sleeps 0 s
    assert report.systems["assistant"].waits == 2 and not report.systems["assistant"].failed
    assert report.systems["search-last-turn"].errors == {"HTTP 429: slowly": 1}


def test_a_run_in_which_everything_failed_says_so(world: Path, chat_server: Server, reaction: Any) -> None:
    server = chat_server(reaction(status=503, raw="away"))
    code, report, _ = run(world, base(server))
    own = report.systems["assistant"]
    assert code == 1 and own.failed == own.requests and own.latency_ms is None and own.tokens is None
    assert own.groundedness is not None and own.groundedness.grounded is None
    assert own.all_turns.judged is None and own.refusals.precision is None


def test_a_key_is_sent_and_never_written(
    world: Path, chat_server: Server, reaction: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAVIGATOR_LOAD_HEADERS", "Authorization: Bearer nav_secret99")
    server = chat_server(reaction(status=401, raw='{"error": {"message": "no such key: nav_secret99"}}'))
    run(world, base(server))
    assert server.seen[0][1]["authorization"] == "Bearer nav_secret99"
    for path in (world / "report").rglob("*"):
        assert b"secret99" not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--catalog": "none"}, "none"), ({"--gold": "none"}, "none"), ({"--split": "valid"}, "valid"),
        ({"--url": "http://127.0.0.1:9"}, "nobody answers"), ({"--url": "ftp://x"}, "ftp"),
        ({"--max_tokens": "0"}, "max_tokens"), ({"--gold": str(GOLD)}, "give the catalogue that"),
    ],
)  # fmt: skip
def test_bad_options_are_said_in_a_line(
    world: Path, change: dict[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"--catalog": str(world / "catalog"), "--gold": str(world / "gold.jsonl"), "--url": "http://127.0.0.1:9",
             "--out": str(world / "report")} | change  # fmt: skip
    code = None
    try:
        code = main(["assistant", *(word for pair in given.items() for word in pair)])
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2 and says in error and "Traceback" not in error and not (world / "report").exists()
