"""`navigator-bench serving`: what is sent, what is read from wrk and the server, and what is made of it."""

import json
import shutil
from pathlib import Path

import pytest

from bench.cli import main
from bench.serving.bodies import write_bodies
from bench.serving.figures import Round
from bench.serving.summary import gains, points
from bench.serving.wrk import parse
from navigator.contracts import Catalog
from navigator.serve.engine import Engine
from serve_worlds import World, listening, service_of


def round_of(rps: float, cpu: float | None = 4.0, p50: float | None = 5.0, lost: int = 0) -> Round:
    return Round(
        throughput_rps=rps, p50_ms=p50, p95_ms=None, p99_ms=None, refused=1, lost=lost, batch_size=2.0, busy=0.5, cpu_ms=cpu
    )  # fmt: skip


def test_points_are_medians_and_what_was_not_measured_stays_null():
    (point,) = points({("search", "batched", 4): [round_of(30), round_of(10, p50=None), round_of(20, lost=2)]})
    assert (point.median.throughput_rps, point.lowest_rps, point.highest_rps) == (20, 10, 30)
    assert point.median.p50_ms == 5.0 and point.median.p95_ms is None
    assert (point.median.refused, point.median.lost) == (3, 2)


def test_the_gain_is_batched_over_unbatched_where_both_are_there():
    rounds = {
        ("search", "batched", 4): [round_of(30, 2.0), round_of(40, 2.0)],
        ("search", "unbatched", 4): [round_of(10, 5.0), round_of(20, 5.0)],
        ("search", "batched", 8): [round_of(9), round_of(9)],
        ("recommend", "batched", 4): [round_of(9), round_of(9)],
        ("recommend", "unbatched", 4): [round_of(0), round_of(9)],
    }
    (gain,) = gains(rounds)
    assert (gain.load, gain.clients, gain.cpu) == ("search", 4, 2.5)
    assert gain.throughput == pytest.approx(35 / 15) and (gain.lowest, gain.highest) == (2, 3)


def test_what_wrk_says():
    told = {"requests": 50, "micros": 2_000_000, "p50": 1500, "p95": 9000, "p99": 12_000, "status": 10}
    told |= {"connect": 1, "read": 2, "write": 3, "timeout": 4}
    line = f"RESULT {json.dumps(told)}"
    seen = parse(line)
    assert (seen.throughput_rps, seen.p50, seen.refused, seen.lost) == (20, 1.5, 10, 10)
    none = parse(line.replace('"requests": 50', '"requests": 0').replace('"status": 10', '"status": 0'))
    assert none.throughput_rps == 0 and none.p50 is None


def test_bodies_are_distinct_and_of_the_catalogue(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import bench.serving.bodies

    monkeypatch.setattr(bench.serving.bodies, "BODIES", 300)
    catalog = Catalog.open(project / "catalog")
    for load, longest in (("recommend", 20), ("recommend-short", 1)):
        write_bodies(catalog, load, tmp_path / load, 0)
        histories = [json.loads(line)["history"] for line in (tmp_path / load).read_text().splitlines()]
        assert len({tuple(history) for history in histories}) == len(histories)
        assert max(map(len, histories)) == longest and {item for own in histories for item in own} <= set(
            catalog.item_ids
        )


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_two_servers_side_by_side(engine: Engine, world: World, tmp_path: Path):
    with (
        listening(service_of(engine), tmp_path) as batched,
        listening(service_of(engine, batch_size=1), tmp_path) as plain,
    ):
        argv = [
            "serving", "--url", batched, "--compare", plain, "--catalog", str(world.catalog), "--out", str(tmp_path / "out"),
            "--loads", '["recommend-short"]', "--concurrency", "[1,4]", "--bar_clients", "4", "--seconds", "1",
            "--rounds", "1", "--bar", "0.001",
        ]  # fmt: skip
        assert main(argv) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["met"] == {"recommend-short": True} and report["generator"].startswith("wrk")
    sizes = {(p["server"], p["clients"]): p["median"]["batch_size"] for p in report["points"]}
    assert sizes["unbatched", 4] == 1 < sizes["batched", 4] <= 4
    assert all(point["median"]["throughput_rps"] > 0 and point["median"]["lost"] == 0 for point in report["points"])
    assert (tmp_path / "out" / "clients.png").is_file()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--wrk", "no-such-program"], "is not installed"), (["--loads", '["tea"]'], "allowed are search"),
        (["--concurrency", "[0]"], "numbers from 1"), ([], "nobody is ready at http://127.0.0.1:9"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    project: Path, extra: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch
):
    if not extra:
        monkeypatch.setattr(shutil, "which", lambda program: program)
    argv = ["serving", "--url", "http://127.0.0.1:9", "--catalog", str(project / "catalog"), *extra]
    assert main(argv) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
