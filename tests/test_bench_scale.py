"""`navigator-bench graph scale`: the synthetic catalogue, growth, and a whole run on tiny sizes."""

import math
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.graph import synthetic
from bench.graph.commands import scale
from bench.graph.scale_figures import ScaleReport, Size
from bench.graph.scale_tables import growth, table
from navigator.contracts import Catalog


def size(saves: int, build_s: float, peak: float, open_ms: float) -> Size:
    return Size(
        saves=saves, items=1, users=1, edges=saves, catalog_bytes=1, build_s=build_s, build_peak_mb=peak, csr_bytes=1,
        graph_bytes=1, csr_bytes_per_edge=1, graph_bytes_per_edge=1, open_ms=open_ms, open_ms_runs=[open_ms],
        samples_per_s={1: 10.0, 2: 20.0},
    )  # fmt: skip


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "_CHUNK", 700)


def test_the_synthetic_catalogue_holds_what_it_says(tmp_path: Path, small_chunks: None):
    counts = synthetic.write_synthetic(tmp_path / "c", 6000, seed=3)
    catalog = Catalog.open(tmp_path / "c")
    saves = catalog.table("interactions").to_pylist()
    pairs = {(row["user_id"], row["item_id"]) for row in saves}
    assert len(saves) == len(pairs) == counts["interactions"] == 6000  # none twice, none lost between chunks
    assert {user for user, _ in pairs} == {f"u{n}" for n in range(counts["users"])}
    assert catalog.item_ids == [f"i{n}" for n in range(counts["items"])] and counts["items"] == 120
    assert {item for _, item in pairs} <= set(catalog.item_ids)
    assert {row["action"] for row in saves} == {"save"}
    times = np.array([row["at"] for row in saves])
    assert 0.9 * synthetic.TWO_YEARS < np.ptp(times) < synthetic.TWO_YEARS
    assert catalog.table("items")["image"].null_count == counts["items"]
    again = synthetic.write_synthetic(tmp_path / "d", 6000, seed=3)
    assert again == counts and Catalog.open(tmp_path / "d").fingerprint == catalog.fingerprint


def test_degrees_fall_as_a_power_on_both_sides():
    rng = np.random.default_rng(0)
    sizes = synthetic.degrees(200_000, 4000, rng)
    assert sizes.sum() == 200_000 and sizes.min() >= 1 and sizes.max() <= 400
    assert 15 < sizes.mean() < 25 and np.median(sizes) < sizes.mean()
    user = np.repeat(np.arange(len(sizes)), sizes)
    counts = np.sort(np.bincount(synthetic.draw_items(user, 4000, rng), minlength=4000))[::-1]
    assert counts.sum() == 200_000 and counts[-1] > 0
    assert counts[:40].sum() > 0.15 * counts.sum()  # one percent of the items: uniformly, they would have a hundredth
    assert counts[0] > 3 * counts[15] > 0


def test_growth_is_the_slope_on_log_scales():
    found = growth([size(1000, 1, 100, 2), size(10_000, 10, 100, 2), size(100_000, 1000, 200, 1)])
    assert found["build_s 1000 to 10000"] == pytest.approx(1)
    assert found["build_s 10000 to 100000"] == pytest.approx(2)
    assert found["build_peak_mb 1000 to 10000"] == 0
    assert found["build_peak_mb 10000 to 100000"] == pytest.approx(math.log10(2))
    assert "samples/s, 2 threads" in table([size(1000, 1, 1, 1)])


def test_a_whole_run(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.graph.scale.OPENINGS", 1)  # each is a process that imports everything
    words = ["graph", "scale", "--edges", "3000", "--out", str(tmp_path / "r"), "--work", str(tmp_path / "w")]
    assert main([*words, "--samples", "20", "--walks", "5"]) == 0
    report = ScaleReport.model_validate_json((tmp_path / "r" / "report.json").read_text())
    assert [s.saves for s in report.sizes] == [3000]
    for s in report.sizes:
        # Every save but a held-out one a user is an edge, as nothing is pruned.
        assert s.saves - 2 * s.users <= s.edges < s.saves
        assert s.csr_bytes_per_edge == s.csr_bytes / s.edges and 0 < s.csr_bytes < s.graph_bytes
        assert s.build_s > 0 and s.build_peak_mb > 50 and s.open_ms_runs == [s.open_ms]
        assert set(s.samples_per_s) == {1, 2} and min(s.samples_per_s.values()) > 0
    assert (tmp_path / "r" / "scale.png").stat().st_size > 5000
    assert "csr B/edge" in (tmp_path / "r" / "report.md").read_text()
    assert list((tmp_path / "w").iterdir()) == [] and not list((tmp_path / "r").glob("size-*"))
    assert scale([3000], tmp_path / "r", tmp_path / "w", 20, 5)["unchanged"]
    assert "build s" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--edges", "10"], ["--edges", "5000,1000"], ["--samples", "0"]])
def test_bad_sizes_are_one_line(tmp_path: Path, capsys, words: list[str]):
    assert main(["graph", "scale", *words, "--out", str(tmp_path / "r")]) == 2
    assert "allowed are ascending sizes from 1,000" in capsys.readouterr().err
