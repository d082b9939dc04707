"""`navigator-bench shadow`: turns, failures as rows, figures against plain loops, and whole runs with their exit codes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from bench.cli import main
from bench.inputs import fingerprint_of
from bench.shadow.compare import agreement, changed_most, quality
from bench.shadow.figures import ShadowReport
from bench.shadow.replay import Reply, replay
from bench.shadow.summary import latency_ratio, score_shift, side_row
from bench.shadow.traffic import Request
from bench.systems.base import RequestError
from navigator.contracts import ItemVectors, publish
from navigator.contracts.shadow import ShadowSide, read_verdict
from navigator.contracts.signals import Query
from navigator.contracts.vectors import normalise, write_vectors

BOARDS = ["--task", "board-completion"]


def request(name: str = "q", targets: tuple[int, ...] = (), k: int = 50) -> Request:
    return Request(Query(name, (0,), targets), k)


def reply(*items: int, latency_ms: float | None = 1.0, error: str | None = None) -> Reply:
    return Reply(np.array(items, np.int64), 1 - np.arange(len(items), dtype=np.float32) / 100, latency_ms, error)


FAILED = reply(latency_ms=None, error="refused")


class Fake:
    """A side that writes down who was asked, and answers as told."""

    about, words, missing = ShadowSide(source="fake", fingerprints={}), "", None

    def __init__(self, name: str, asked: list[str], respond: Callable[[Request], list[int]]):
        self.name, self.asked, self.respond = name, asked, respond

    def answer(self, request: Request) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append(f"{self.name} {request.query.query_id}")
        found = self.respond(request)
        return np.array(found), np.ones(len(found), np.float32)


def broken(failure: Exception) -> Callable[[Request], list[int]]:
    def respond(request: Request) -> list[int]:
        if request.query.query_id == "b":
            raise failure
        return [1]

    return respond


# ---- asking


def test_the_two_take_turns_at_going_first_after_an_unrecorded_round():
    asked: list[str] = []
    sides = Fake("old", asked, lambda r: [1]), Fake("new", asked, lambda r: [2])
    old, new = replay(sides, [request("a"), request("b"), request("c")], None, warm_up=1)
    assert asked == ["old a", "new a", "old a", "new a", "new b", "old b", "old c", "new c"]
    assert [r.items.tolist() for r in old + new] == [[1]] * 3 + [[2]] * 3


@pytest.mark.parametrize(
    "failure", [RequestError("no"), RuntimeError("out of\nmemory"), ValueError("scores contain NaN")]
)
def test_a_failure_is_a_row_and_the_others_go_on(failure):
    sides = Fake("old", [], lambda r: [1]), Fake("new", [], broken(failure))
    _, new = replay(sides, [request("a"), request("b"), request("c")], None)
    assert [r.error for r in new] == [None, " ".join(str(failure).split()), None]
    assert new[1].latency_ms is None and not len(new[1].items)


def test_a_late_answer_is_a_failure_whose_latency_counts():
    sides = Fake("old", [], lambda r: [1]), Fake("new", [], lambda r: [1])
    old, _ = replay(sides, [request("a")], timeout_ms=1e-9)
    assert old[0].error is not None and "time-out" in old[0].error and not len(old[0].items)
    row = side_row(old, None, 10)
    assert row.failed == 1 and row.shown is None and row.scores is None
    assert row.latency_ms is not None and row.latency_ms.p50 == old[0].latency_ms


# ---- figures


def test_a_failed_request_is_a_miss_of_its_side_alone_and_takes_no_part_in_agreement():
    requests = [request("a", (3,)), request("b", (3,)), request("c", (3,)), request("d")]
    replies = ([reply(3), reply(3), FAILED, reply(3)], [reply(3), FAILED, FAILED, reply(4)])
    old, new = quality(requests, replies)
    assert old["ndcg@10"].tolist()[:2] == [1, 1] and new["ndcg@10"].tolist()[:2] == [1, 0]
    assert np.isnan([old["ndcg@10"][2], new["ndcg@10"][2], old["recall@50"][3]]).all()  # neither answered; no targets
    assert np.isnan(agreement(requests, replies)["rbo"]).tolist() == [False, True, True, False]


def test_requests_for_few_answers_say_nothing_about_deeper_figures():
    requests = [request("a", (1,), k=10), request("b", (1,), k=9)]
    replies = ([reply(*range(1, 11)), reply(1, 2)], [reply(*range(1, 11)), reply(1, 2)])
    agreed, (old, _) = agreement(requests, replies), quality(requests, replies)
    assert np.isnan(agreed["overlap@10"]).tolist() == [False, True] and np.isnan(agreed["overlap@50"]).all()
    assert np.isnan(old["ndcg@10"]).tolist() == [False, True] and np.isnan(old["recall@50"]).all()


def test_what_one_side_showed():
    row = side_row([reply(*range(1, 13)), reply(1, 2), FAILED, FAILED], 7, 200)
    assert (row.failed, row.error_rate, row.errors, row.missing) == (2, 0.5, {"refused": 2}, 7)
    assert row.shown is not None and row.shown.items == 10  # of first ten places
    assert row.shown.never_shown == pytest.approx(0.95)
    assert row.shown.concentration == pytest.approx(4 / 12)  # items 1 and 2, each twice
    assert row.scores is not None and row.scores.tenth == pytest.approx(0.91)


def test_nothing_answered_is_null_and_not_0():
    row = side_row([FAILED], 0, 10)
    assert row.latency_ms is None and row.shown is None and row.scores is None
    assert latency_ratio(([FAILED], [reply(1)]), 0) is None
    assert score_shift(([reply(1)], [reply(2)])) is None


def test_latency_ratio_is_of_requests_that_both_answered():
    old = [reply(1, latency_ms=float(ms)) for ms in range(1, 101)]
    new = [reply(1, latency_ms=3.0 * ms) for ms in range(1, 101)]
    ratio = latency_ratio(([*old, reply(1, latency_ms=9e9)], [*new, FAILED]), 0)
    assert ratio is not None and ratio["p95"].mean == pytest.approx(3) and ratio["p95"].ci95 == pytest.approx((3, 3))


def test_score_shift_is_of_the_items_that_both_showed():
    old, new = reply(1, 2, 3), reply(3, 9, 1)
    shift = score_shift(([old], [new]))
    assert shift is not None and shift.n == 2
    assert shift.mean == pytest.approx(((0.98 - 1) + (1 - 0.98)) / 2, abs=1e-6) and shift.p95 == pytest.approx(0.018)


def test_what_changed_most_comes_first_and_what_was_not_answered_not_at_all():
    assert changed_most({"rbo": np.array([0.5, np.nan, 0.1, 0.9, 0.1])}, 3) == [2, 4, 0]


# ---- whole runs


def store(project: Path, out: Path, change: Callable[[np.ndarray], np.ndarray], keep: int = 60) -> Path:
    """Another store of the project's items."""
    plain = ItemVectors.open(project / "vectors")
    with publish(out, "vectors", {"encoder": "other", "normalised": True}, {}) as work:
        write_vectors(work.path, plain.ids[:keep], change(plain.float32())[:keep].astype(np.float32))
    return out


def rules(folder: Path, **changes: dict | None) -> Path:
    """The shipped rules with some changed, for few requests on a busy machine; None drops one."""
    shipped = yaml.safe_load((Path(__file__).parents[1] / "configs" / "shadow" / "default.yaml").read_text())
    calm = {"compared": {"at_least": 5, "reason": "tiny"}, "p95_ratio_low": {"at_most": 1e6, "reason": "busy"}}
    merged = shipped | calm | changes
    (folder / "rules.yaml").write_text(
        yaml.safe_dump({name: own for name, own in merged.items() if own}, sort_keys=False)
    )
    return folder / "rules.yaml"


def run(project: Path, tmp_path: Path, new: Path, *more: str) -> tuple[int, Path]:
    words = ["--old", str(project / "vectors"), "--new", str(new), "--catalog", str(project / "catalog")]
    out = tmp_path / "report"
    return main(["shadow", *words, "--thresholds", str(rules(tmp_path)), "--out", str(out), *more]), out


def test_the_same_vectors_pass_and_the_verdict_names_both(project, tmp_path, capsys):
    code, out = run(project, tmp_path, project / "vectors", "--graph", str(project / "graph"), *BOARDS)
    assert code == 0 and capsys.readouterr().out.startswith("verdict: pass; all 9 rules hold")
    report = ShadowReport.model_validate_json((out / "report.json").read_text())
    assert report.measured["overlap@50"] == report.measured["tau_b"] == report.measured["rbo"] == pytest.approx(1)
    assert report.measured["ndcg@10_difference"] == 0 and report.verdict == read_verdict(out)
    assert report.verdict.new.fingerprints == {"vectors": fingerprint_of("vectors", project / "vectors")}
    words = (out / "report.md").read_text()
    assert "people return to what they saw" in words and "(sheet.png)" in words and (out / "sheet.png").is_file()


def test_other_vectors_fail_and_say_what_stopped_them(project, tmp_path, capsys):
    turned = store(project, tmp_path / "turned", lambda v: v[np.random.default_rng(1).permutation(60)])
    code, out = run(project, tmp_path, turned, "--graph", str(project / "graph"), *BOARDS, "--json")
    answer = json.loads(capsys.readouterr().out)
    assert code == 1 and answer["verdict"] == "fail" and "overlap@10" in answer["stopped_by"]
    assert read_verdict(out).verdict == "fail"


def test_figures_are_those_of_the_rows(project, tmp_path, capsys):
    noisy = store(project, tmp_path / "noisy", lambda v: normalise(v + 0.3 * np.roll(v, 1, axis=1)))
    _, out = run(project, tmp_path, noisy, "--graph", str(project / "graph"), *BOARDS)
    rows = pq.read_table(out / "per_request.parquet").to_pylist()
    report = ShadowReport.model_validate_json((out / "report.json").read_text())
    shared = [len(set(row["items_old"][:10]) & set(row["items_new"][:10])) / 10 for row in rows]
    assert 0 < report.measured["overlap@10"] < 1  # type: ignore[operator]
    assert report.measured["overlap@10"] == pytest.approx(np.mean(shared))
    pair = report.slices["all"].quality["ndcg@10"]
    assert pair is not None and pair.new.mean == pytest.approx(np.mean([row["ndcg@10_new"] for row in rows]))
    assert pair.difference.mean == pytest.approx(pair.new.mean - pair.old.mean)
    assert [row["asked_first"] for row in rows[:3]] == ["old", "new", "old"]


def answer_by_hand(project: Path, history: list[str], k: int) -> list[str]:
    plain = ItemVectors.open(project / "vectors")
    scores = plain.float32() @ plain.float32()[plain.rows_of(history)].sum(axis=0)
    return [plain.ids[i] for i in np.argsort(-scores) if plain.ids[i] not in history][:k]


def test_a_log_asks_as_it_was_written_and_failures_stop_the_gate(project, tmp_path, capsys):
    small = store(project, tmp_path / "small", lambda v: v, keep=50)
    log = [{"request_id": f"r{n}", "history": [f"i{n:02}", f"i{n + 9:02}"], "k": 12} for n in range(48)]
    log += [{"history": ["i55"], "k": 12}, {"text": "red flag"}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    code, out = run(project, tmp_path, small, "--log", str(tmp_path / "log.jsonl"))
    rows = pq.read_table(out / "per_request.parquet").to_pylist()
    assert rows[4]["request_id"] == "r4" and rows[4]["items_old"] == answer_by_hand(project, ["i04", "i13"], 12)
    assert rows[48]["error_old"] is None and len(rows[48]["items_old"]) == 12
    assert "no item of the history has a vector" in rows[48]["error_new"] and rows[48]["latency_ms_new"] is None
    assert "no encoder that reads the text" in rows[49]["error_old"]
    report = ShadowReport.model_validate_json((out / "report.json").read_text())
    measured = report.measured
    assert (measured["newly_failed"], measured["failed_old"], measured["failed_new"]) == (1, 1, 2)
    assert (
        measured["missing_difference"] == 10 and measured["ndcg@10_difference"] is None and "cold" not in report.slices
    )
    assert code == 1 and next(rule.metric for rule in report.verdict.rules if rule.stops) == "newly_failed"
    assert "not measured (optional)" in capsys.readouterr().out


def test_a_report_that_is_current_keeps_its_verdict_and_other_rules_make_it_again(project, tmp_path, capsys):
    asked = ["--graph", str(project / "graph"), *BOARDS]
    assert run(project, tmp_path, project / "vectors", *asked)[0] == 0
    capsys.readouterr()
    code, out = run(project, tmp_path, project / "vectors", *asked)
    assert code == 0 and "(unchanged)" in capsys.readouterr().out
    strict = rules(tmp_path, compared={"at_least": 1000, "reason": "more"})
    words = [
        "--old",
        str(project / "vectors"),
        "--new",
        str(project / "vectors"),
        "--catalog",
        str(project / "catalog"),
    ]
    assert main(["shadow", *words, *asked, "--thresholds", str(strict), "--out", str(out)]) == 1
    assert "stopped by compared" in capsys.readouterr().out


def test_a_model_answers_with_its_own_query(project, tmp_path, capsys):
    model = f"{project / 'swapped'}:{project / 'vectors'}"
    code, out = run(project, tmp_path, Path(model), "--graph", str(project / "graph"), *BOARDS)
    report = ShadowReport.model_validate_json((out / "report.json").read_text())
    assert code == 0  # an untrained model is a content kNN, see navigator.start
    assert report.measured["overlap@50"] == pytest.approx(1)
    assert set(report.verdict.new.fingerprints) == {"model", "vectors"}


@pytest.mark.parametrize(
    "new, more, said",
    [
        ("http://service", [], "is an address; allowed are a folder of vectors"),
        ("absent", [], "vectors folder absent does not exist"),
        ("VECTORS", ["--k", "0"], "k is 0; allowed are whole numbers from 1"),
        ("VECTORS", ["--timeout_ms", "0"], "timeout_ms is 0.0; allowed are numbers above 0"),
        ("FOREIGN", [], "were made with graph other"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(project, tmp_path, capsys, new, more, said):
    if new == "FOREIGN":
        shutil.copytree(project / "vectors", tmp_path / "foreign")
        manifest = json.loads((tmp_path / "foreign" / "manifest.json").read_text())
        manifest["inputs"]["graph"] = "other"
        (tmp_path / "foreign" / "manifest.json").write_text(json.dumps(manifest))
    path = {"VECTORS": str(project / "vectors"), "FOREIGN": str(tmp_path / "foreign")}.get(new, new)
    words = ["--old", str(project / "vectors"), "--new", path, "--catalog", str(project / "catalog")]
    more = ["--graph", str(project / "graph"), "--thresholds", str(rules(tmp_path)), *more]
    assert main(["shadow", *words, *more, "--out", str(tmp_path / "r")]) == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith("error: ") and said in captured.err
    assert not captured.out and not (tmp_path / "r").exists()
