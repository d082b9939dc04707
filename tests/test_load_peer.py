"""Our load generator beside ab and wrk, which know nothing of it: the same endpoint, the same percentiles."""

import shutil

import pytest

from bench.load.peer import WITHIN, _compare, peer
from navigator.contracts import UserError

installed = [name for name in ("ab", "wrk") if shutil.which(name)]


@pytest.mark.skipif(not installed, reason="neither ab nor wrk is installed (apt install apache2-utils wrk)")
def test_independent_generators_see_what_ours_sees(tmp_path):
    """Two seconds, maybe beside other work: a tenth of the median. The measurement itself is `python -m bench.load.peer`."""
    result = peer(clients=4, workers=4, work_ms=200, spread=0.0, seconds=2, rounds=1, out=tmp_path / "peer.json")
    assert set(result["medians"]) == {"navigator-bench", *installed} and (tmp_path / "peer.json").is_file()
    for name in installed:
        assert result["medians"][name]["requests"] > 20 and abs(result["ours_against"][name]["p50"]) < 2 * WITHIN


def test_the_verdict_is_of_the_worst_percentile_of_median_rounds():
    def times(p50: float, p99: float) -> dict[str, float]:
        return {"p50": p50, "p95": 20, "p99": p99, "requests": 9}

    close = _compare({"navigator-bench": [times(10, 30), times(99, 30), times(10, 31)], "ab": [times(10, 31)] * 3})
    assert close["met"] and close["worst"] == pytest.approx(1 / 31)
    apart = _compare({"navigator-bench": [times(10, 30)], "ab": [times(10, 30)], "wrk": [times(10, 40)]})
    assert not apart["met"] and apart["worst"] == pytest.approx(0.25)


def test_without_another_generator_nothing_is_compared(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="neither ab nor wrk is installed"):
        peer()
