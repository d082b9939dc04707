"""The command from the catalogue to the report, against a server on loopback; and the system of `navigator-bench run`."""

import io
import json
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bench.cli import main
from bench.frontier.client import KEY_VARIABLE, Endpoint
from bench.frontier.command import frontier
from bench.frontier.figures import FrontierReport
from bench.inputs import Paths, open_world
from bench.systems.base import RequestError
from bench.systems.content import Content
from bench.systems.frontier import Frontier
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.catalog import TABLES
from navigator.contracts.signals import TasteSequence, write_sequences
from navigator.contracts.vectors import normalise, write_vectors

USD = (1000 * 0.25 + 50 * 2) / 1e6  # of an answer of the server, at the price of gpt-5-mini


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten boards of four items, vectors that cluster by board; the last of each board is to be found. Item 7 has no picture."""
    root, rng, ids = tmp_path_factory.mktemp("frontier"), np.random.default_rng(0), [f"i{n}" for n in range(40)]
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), "red").save(buffer, "PNG")
    images = [{"bytes": None if n == 7 else buffer.getvalue(), "path": None} for n in range(40)]
    columns = {"item_id": ids, "title": ids, "description": ids, "keywords": [[]] * 40, "image": images, "text": ids}
    with publish(root / "catalog", "catalog", {}, {}) as work:
        for name, schema in TABLES.items():
            rows = columns if name == "items" else {column: [] for column in schema.names}
            pq.write_table(pa.table(rows, schema=schema), work.path / f"{name}.parquet")
    values = normalise(rng.normal(size=(10, 8)).repeat(4, axis=0) + 0.8 * rng.normal(size=(40, 8)))
    with publish(root / "vectors", "vectors", {"encoder": "enc", "normalised": True}, {}) as work:
        write_vectors(work.path, ids, values.astype(np.float32))
    boards = [
        TasteSequence("board-completion", f"b{b}", f"board {b}", (4 * b, 4 * b + 1), (4 * b + 2,), (4 * b + 3,))
        for b in range(10)
    ]
    with publish(root / "graph", "graph", {}, {"catalog": Catalog.open(root / "catalog").fingerprint}) as work:
        write_sequences(work.path / "sequences.parquet", boards, ids)
    return root


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(KEY_VARIABLE, "sk-secret")
    monkeypatch.setattr("bench.frontier.limits.FIRST_WAIT_S", 0.001)
    return "sk-secret"


def run(root: Path, out: Path, **options):
    asked = {"model_name": ["gpt-5-mini"], "queries": 8, "candidates": 5, "pictures": False, "retries": 1} | options
    return frontier(root / "catalog", root / "vectors", root / "graph", out, **asked)


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "requests.jsonl").read_text().splitlines()]


def test_without_a_key_cost_is_computed_and_the_rest_is_null(world: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    words = [str(world / name) for name in ("catalog", "vectors", "graph")]
    words += ["--out", str(tmp_path / "r"), "--base_url", "http://127.0.0.1:9/v1", "--queries", "4"]
    assert main(["frontier", *words]) == 0
    text = capsys.readouterr().out
    assert (
        "NOT ASKED" in text and f"nothing was sent, because the environment variable {KEY_VARIABLE} is not set" in text
    )
    report = FrontierReport.model_validate_json((tmp_path / "r" / "report.json").read_text())
    assert list(report.models) == ["gpt-5-mini", "gemini-3-flash", "claude-haiku-4.5", "claude-opus-4.8"]
    assert report.usd_journal is None and not (tmp_path / "r.answers.jsonl").exists()
    for row in report.models.values():
        assert row.formula is not None and 0 < row.formula.usd_per_1000 < row.formula.usd_per_1000_at_most
        assert row.scores is row.latency_ms is row.tokens is row.usd_per_1000 is row.usd_spent is None
        assert (row.sent, row.not_sent, row.errors) == (0, 4, {"not-asked": 4})
    again = shlex.split(report.command)
    assert main([*again[1:], "--json"]) == 0 and json.loads(capsys.readouterr().out)["unchanged"] is True


def test_figures_follow_from_the_answers(world: Path, tmp_path: Path, key: str, chat_server, reaction) -> None:
    orders = {1: "[5, 4, 3, 2, 1]", 2: "[2]", 3: "[7]"}
    server = chat_server(lambda body, number: reaction(text=f'{{"ranking": {orders.get(number, "[1, 2, 3, 4, 5]")}}}'))
    answer = run(world, tmp_path / "r", base_url=server.url, concurrency=1)
    report = FrontierReport.model_validate_json((tmp_path / "r" / "report.json").read_text())
    row, found = report.models["gpt-5-mini"], rows(tmp_path / "r")
    assert (row.sent, row.usable, row.failed, row.not_sent, row.partial) == (8, 7, 1, 0, 1)
    assert row.errors == {"not-a-ranking": 1} and row.scores is not None and row.scores_usable is not None
    assert (row.scores.n, row.scores_usable.n) == (8, 7)
    assert found[2]["quality"] == {"ndcg@10": 0, "hr@10": 0, "recall@10": 0} and found[2]["latency_ms"] is None
    assert all(r["quality"] == r["content"] for r in found[3:])  # 1, 2, 3, ... is content's own order
    for metric in ("ndcg@10", "hr@10"):
        means = [np.mean([r[part][metric] for r in found]) for part in ("quality", "content")]
        assert row.scores.model[metric].mean == pytest.approx(means[0])
        assert row.scores.minus_content[metric].mean == pytest.approx(means[0] - means[1])
        assert report.best_possible[metric].mean >= report.content[metric].mean
    times = [r["latency_ms"] for r in found if r["latency_ms"] is not None]
    assert (
        row.latency_ms is not None and row.latency_ms.p95 == pytest.approx(np.percentile(times, 95)) and len(times) == 7
    )
    assert (
        row.usd_per_1000 == pytest.approx(1000 * USD) and row.usd_spent == pytest.approx(8 * USD) == report.usd_journal
    )
    assert row.tokens is not None and (row.tokens.input, row.tokens.output, row.tokens.cached) == (1000, 50, None)
    assert "| gpt-5-mini | 7 of 8 |" in (tmp_path / "r" / "report.md").read_text() and answer["asked"]
    kept = [path.read_text() for path in (*(tmp_path / "r").iterdir(), tmp_path / "r.answers.jsonl")]
    assert not any(key in text for text in kept) and len(kept) == 7


def test_money_ends_the_run_before_the_limit_is_passed_and_more_money_goes_on(
    world: Path, tmp_path: Path, key: str, chat_server, reaction
) -> None:
    server = chat_server(reaction(text='{"ranking": [1]}', delay_s=0.01))
    limit = 0.0056  # some 0.0045 are set aside for a request
    first = run(world, tmp_path / "r", base_url=server.url, max_usd=limit)["models"]["gpt-5-mini"]
    assert 0 < first["sent"] < 8 and first["not_sent"] == 8 - first["sent"] == first["errors"]["budget"]
    assert len(server.seen) == first["sent"] and first["usd_spent"] < limit
    assert first["usd_spent"] == pytest.approx(first["sent"] * USD)
    unsent = [r for r in rows(tmp_path / "r") if not r["sent"]]
    assert all(r["quality"] is None and r["error"].startswith("not sent: $") for r in unsent)
    assert first["scores"]["n"] == first["sent"]
    stopped = run(world, tmp_path / "r", base_url=server.url, max_usd=limit)
    assert not stopped["unchanged"] and len(server.seen) == first["sent"]  # there still is no money
    second = run(world, tmp_path / "r", base_url=server.url, max_usd=1)["models"]["gpt-5-mini"]
    assert (second["sent"], second["earlier"], len(server.seen)) == (8, first["sent"], 8)
    assert run(world, tmp_path / "r", base_url=server.url, max_usd=1)["unchanged"] and len(server.seen) == 8


def test_what_went_wrong_on_the_way_is_asked_again_by_the_same_command(
    world: Path, tmp_path: Path, key: str, chat_server, reaction
) -> None:
    server = chat_server(lambda body, number: reaction(status=500, raw="") if number in (1, 2) else reaction())
    first = run(world, tmp_path / "r", base_url=server.url, concurrency=1)["models"]["gpt-5-mini"]
    assert (first["failed"], first["unanswered"], first["errors"]) == (1, 1, {"http-500": 1})
    second = run(world, tmp_path / "r", base_url=server.url, concurrency=1)
    assert not second["unchanged"] and second["models"]["gpt-5-mini"]["usable"] == 8 and len(server.seen) == 10
    assert second["models"]["gpt-5-mini"]["earlier"] == 7


def test_titles_and_pictures_are_shown_as_asked(world: Path, tmp_path: Path, key: str, chat_server, reaction) -> None:
    server = chat_server(reaction())
    run(world, tmp_path / "a", base_url=server.url, queries=1, pictures=True, titles=False)
    run(world, tmp_path / "b", base_url=server.url, queries=1, shuffle=True, response_format="text")
    seen, told = (body["messages"][1]["content"] for body, _, _ in server.seen)
    shown = [part["text"] for part in seen if part.get("text", "").startswith(("saved", "candidate"))]
    assert len(shown) == 3 + 5
    assert sum(part["type"] == "image_url" for part in seen) == len(shown) - sum('"i7"' in line for line in shown)
    assert "on the board" not in seen[0]["text"] and "on the board" in told[0]["text"]
    assert "response_format" not in server.seen[1][0] and all(part["type"] == "text" for part in told)


def test_bad_input_is_one_line_and_exit_code_2(world: Path, tmp_path: Path, key: str, capsys) -> None:
    base = [str(world / name) for name in ("catalog", "vectors", "graph")] + ["--out", str(tmp_path / "r")]
    url = ["--base_url", "http://127.0.0.1:9/v1"]
    cases = {
        "no price for frontier model 'x'": [*url, "--model_name", "x"],
        "--priced_as names 'y'": [*url, "--priced_as", "y=gpt-5-mini"],
        "allowed is http(s)": ["--base_url", "localhost:8000/v1"],
        "max_usd is -1": ["--max_usd", "-1"], "concurrency is 0": ["--concurrency", "0"],
        "timeout_s is 0": ["--timeout_s", "0"], "price file none.json does not exist": ["--prices", "none.json"],
    }  # fmt: skip
    for expected, options in cases.items():
        assert main(["frontier", *base, *options]) == 2
        error = capsys.readouterr().err
        assert expected in error and "Traceback" not in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "r").exists()


def test_a_model_without_a_price_is_asked_where_no_limit_is_to_hold(
    world: Path, tmp_path: Path, key: str, chat_server, reaction
) -> None:
    server = chat_server(reaction())
    options = {"base_url": server.url, "model_name": ["mine", "also"], "max_usd": float("inf"), "queries": 3}
    models = run(world, tmp_path / "r", **options, priced_as={"also": "gpt-5-mini"})["models"]
    assert models["mine"]["price"] is models["mine"]["usd_per_1000"] is models["mine"]["formula"] is None
    assert models["mine"]["usable"] == 3 and models["also"]["usd_per_1000"] == pytest.approx(1000 * USD)
    assert run(world, tmp_path / "r", **options, priced_as={"also": "gpt-5-mini"})["unchanged"]


def test_as_a_system_of_the_bench(world: Path, chat_server, reaction) -> None:
    answers = {1: reaction(), 2: reaction(text="I would rather not"), 3: reaction(status=400, raw="{}")}
    server = chat_server(lambda body, number: answers[number])
    opened = open_world(Paths(world / "catalog", world / "vectors", world / "graph"), "board-completion", 0)
    content = Content("content", opened.content, 20)
    system = Frontier("gpt-5-mini", Endpoint(server.url, "k", 5), opened.catalog, content)
    indices, scores = system.recommend(opened.queries[:2], 30)
    expected, _ = content.recommend(opened.queries[:1], 30)
    assert [r.error is None for r in system.records] == [True, False], system.records
    assert indices[0].tolist() == [*expected[0][[1, 0]], *expected[0][2:]] and (np.diff(scores[0]) < 0).all()
    assert (indices[1] == -1).all() and "not-json" in str(system.records[1].error)
    assert system.records[1].latency_ms is None
    with pytest.raises(RequestError, match="http-400"):
        system.rank_one([0], [1, 2])
    parts = server.seen[0][0]["messages"][1]["content"]
    shown = [part["text"] for part in parts if part.get("text", "").startswith(("saved", "candidate"))]
    assert len(shown) == 3 + 20
    assert sum(part["type"] == "image_url" for part in parts) == 23 - sum('"i7"' in line for line in shown)


def test_every_option_is_in_the_printed_command(world: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    run(world, tmp_path / "r", max_usd=float("inf"), priced_as={"gpt-5-mini": "gpt-5.4"})
    words = shlex.split(json.loads((tmp_path / "r" / "report.json").read_text())["command"])
    assert {"--max_usd", "inf", "gpt-5-mini=gpt-5.4", "--pictures", "false"} <= set(words)
    with pytest.raises(UserError, match="is a file"):
        run(world, tmp_path / "r" / "report.json")
