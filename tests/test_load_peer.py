"""Our load generator beside ab and wrk, which know nothing of it: the same endpoint, the same percentiles."""

import shutil

import pytest

from bench.load.peer import WITHIN, _compare, peer
from navigator.contracts import UserError

installed = [name for name in ("ab", "wrk") if shutil.which(name)]


absent = pytest.mark.skipif(not installed, reason="neither ab nor wrk is installed (apt install apache2-utils wrk)")


@absent
def test_each_installed_tool_measures_the_same_endpoint(tmp_path):
    """A sleep of 10 ms and some more: what a busy machine adds is for the slow test."""
    result = peer(clients=16, workers=16, work_ms=10, spread=0.0, seconds=1, rounds=1, out=tmp_path / "peer.json")
    assert set(result["medians"]) == {"navigator-bench", *installed} and (tmp_path / "peer.json").is_file()
    for times in result["medians"].values():
        assert 10 <= times["p50"] <= times["p95"] <= times["p99"] < 1000


@absent
@pytest.mark.slow
def test_independent_generators_see_what_ours_sees_within_five_percent():
    assert peer(clients=24, workers=24, work_ms=500, seconds=20)["worst"] <= WITHIN


def test_the_verdict_is_of_the_worst_percentile_of_median_rounds():
    def times(p50: float, p99: float) -> dict[str, float]:
        return {"p50": p50, "p95": 20, "p99": p99, "requests": 9}

    close = _compare({"navigator-bench": [times(10, 30), times(99, 30), times(10, 31)], "ab": [times(10, 31)] * 3})
    assert close["met"] and close["worst"] == pytest.approx(1 / 31)
    apart = _compare({"navigator-bench": [times(10, 30)], "ab": [times(10, 30)], "wrk": [times(10, 40)]})
    assert not apart["met"] and apart["worst"] == pytest.approx(0.25)


@absent
def test_too_few_answers_have_no_p99():
    with pytest.raises(UserError, match=r"navigator-bench got \d+ answers in 0.2 s, too few for a P99"):
        peer(clients=2, workers=2, work_ms=50, spread=0.0, seconds=0.2, rounds=1)


def test_without_another_generator_nothing_is_compared(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="neither ab nor wrk is installed"):
        peer()
