"""`navigator-bench appends`: counts what was acknowledged, shares flushes, leaves no store behind."""

from bench.appends import AppendsReport
from bench.cli import main


def test_appends_are_measured_beside_the_flush_alone(tmp_path, capsys):
    (tmp_path / "disk").mkdir()
    options = ["--writers", "8", "--seconds", "0.2", "--repeats", "1", "--out", str(tmp_path / "r")]
    assert main(["appends", str(tmp_path / "disk"), *options]) == 0
    assert "8 clients at once" in capsys.readouterr().out and not list((tmp_path / "disk").iterdir())
    report = AppendsReport.model_validate_json((tmp_path / "r" / "report.json").read_text())
    alone, store = report.rows
    assert (alone.way, alone.per_flush, store.writers) == ("flush alone", 1, 8) and 1 < store.per_flush <= 8
    assert store.latency_ms.p50 <= store.latency_ms.p95 and store.appends > 8
    assert main(["appends", str(tmp_path / "none"), *options]) == 2 and "does not exist" in capsys.readouterr().err
    assert main(["appends", str(tmp_path / "disk"), "--writers", "0"]) == 2
