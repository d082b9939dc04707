"""The bench's own time: shown by systems that only wait, and a report that says when it is too much."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import bench.latency
from bench.latency import TimedRequest, measure
from bench.overhead import OverheadReport, Waiting, overhead
from navigator.contracts import UserError

REQUESTS = [TimedRequest((1, 2), (3, 4))] * 30


def test_what_is_measured_is_the_systems_own_time() -> None:
    system = Waiting(0.002)
    records = measure([system], REQUESTS)
    own_ms = np.array(system.own_s[-30:]) * 1000
    measured_ms = np.array([record.latency_ms for record in records])
    assert (measured_ms >= own_ms).all() and (own_ms >= 2).all()
    assert np.median(measured_ms - own_ms) < 0.1


def test_no_request_asks_whether_there_is_an_accelerator(monkeypatch) -> None:
    asked = []

    class Cuda:
        @staticmethod
        def is_available() -> bool:
            asked.append("available")
            return True

        @staticmethod
        def synchronize() -> None:
            asked.append("wait")

    monkeypatch.setitem(bench.latency.sys.modules, "torch", type("torch", (), {"cuda": Cuda}))
    measure([Waiting(0.0)], REQUESTS[:4])
    assert asked == ["available", *["wait", "wait"] * 4]


def test_the_report_has_a_row_a_length_and_comes_back_unchanged(tmp_path: Path) -> None:
    first = overhead(tmp_path / "r", [1.0, 3.0], seconds=0.05, allowed=0.9, torch=False)
    again = overhead(tmp_path / "r", [1.0, 3.0], seconds=0.05, allowed=0.9, torch=False)
    report = OverheadReport.model_validate_json((tmp_path / "r" / "report.json").read_text())
    assert [row.asked_ms for row in report.rows] == [0.0, 1.0, 3.0]
    assert report.rows[0].share is None and report.rows[0].requests == 5000
    assert all(row.share is not None and 0 < row.share < 0.9 and row.own_ms >= row.asked_ms for row in report.rows[1:])
    assert (first["met"], first["exit_code"], first["unchanged"], again["unchanged"]) == (True, 0, False, True)
    assert {p.name for p in (tmp_path / "r").iterdir()} == {"manifest.json", "report.html", "report.json", "report.md"}


def test_a_slow_bench_is_found_out(tmp_path: Path, monkeypatch) -> None:
    """The clock is read late, as if the bench did something of its own inside: 1 ms of a request of 2 ms."""

    class Late(Waiting):
        def rank_one(self, history: Sequence[int], candidates: Sequence[int]) -> np.ndarray:
            answer = super().rank_one(history, candidates)
            time.sleep(0.001)
            return answer

    monkeypatch.setattr("bench.overhead.Waiting", Late)
    answer = overhead(tmp_path / "r", [2.0], seconds=0.05, torch=False)
    assert answer["exit_code"] == 1 and not answer["met"] and "NOT kept" in answer["text"]
    assert answer["rows"][1]["share"] > 0.2
    assert not json.loads((tmp_path / "r" / "report.json").read_text())["met"]


@pytest.mark.parametrize("wrong", [{"lengths_ms": [0.0]}, {"seconds": 0.0}, {"allowed": 1.0}])
def test_options_out_of_range_are_named(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(UserError, match=f"{next(iter(wrong))} "):
        overhead(tmp_path / "r", **wrong)
