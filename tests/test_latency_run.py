"""`navigator-bench latency` from end to end on a model of three layers: rows, figures, verdicts, resuming, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cli import main
from bench.speed import measure, run
from bench.speed.command import NAMES, latency
from bench.speed.figures import BatchRow, RequestRow, SpeedReport
from bench.speed.options import Point
from bench.speed.plain import Plain
from bench.speed.summary import saturation, verdicts
from bench.speed.ways import WAYS
from navigator.contracts import UserError
from navigator.shapes import SHAPES, Shape, Vision

SMALL = Shape(32, 4, 4, 2, 8, 48, 151_936, (0, 1), (2, 1, 1), True, Vision(4, 32, 2, 48))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(SHAPES, "small", SMALL)
    monkeypatch.setattr("bench.speed.roofline.COPIED", {"cpu": 1 << 20})
    monkeypatch.setattr("bench.speed.roofline.SIZE", {"cpu": 64})


def measured(out: Path, **given: Any) -> SpeedReport:
    options: dict[str, Any] = {
        "shape": ["small"], "histories": [2], "candidates": [2], "sides": [64], "text": 8, "generated": 2, "dim": 16,
        "repeats": 3, "warm_up": 1, "batches": [], "dtype": "float32", "device": "cpu",
    }  # fmt: skip
    latency(out=out, **options | given)
    return SpeedReport.model_validate_json((out / "report.json").read_text())


def rows_of(out: Path) -> list[RequestRow]:
    return [RequestRow.model_validate_json(line) for line in (out / "requests.jsonl").read_text().splitlines()]


def test_the_command_names_the_ways_that_there_are():
    assert tuple(WAYS) == NAMES and [way.letter for way in WAYS.values()] == list("abcdef")


def test_every_figure_follows_from_the_raw_rows(tmp_path):
    report = measured(tmp_path / "r", histories=[2, 3], batches=[2])
    rows = rows_of(tmp_path / "r")
    assert len(rows) == 2 * 3 * 6 and {row.way for row in rows} == set(WAYS) and all(row.error is None for row in rows)
    assert [row.way for row in rows[:6]] == list(WAYS) and rows[6].way == "native-features"  # turns
    for row in rows:
        assert row.copy_ms is not None and row.prefill_ms is not None and row.decode_ms is not None
        assert row.total_ms == pytest.approx(row.copy_ms + row.prefill_ms + row.decode_ms)
    base, longer = report.points
    assert (base.history, longer.history) == (2, 3) and base.ways["native"].tokens == 8 + 4 * 6
    times = {n: [r.total_ms or 0 for r in rows if r.way == n and r.history == 2] for n in ("native", "swapped")}
    own = base.ways["native"]
    assert own.total_ms is not None and own.total_ms.p50 == pytest.approx(sorted(times["native"])[1]) and own.n == 3
    ratios = sorted(a / e for a, e in zip(times["native"], times["swapped"], strict=True))
    pair = base.native_over["swapped"]
    assert pair.median == pytest.approx(ratios[1]) and ratios[0] <= pair.ci95[0] <= pair.ci95[1] <= ratios[2] + 1e-9
    assert pair.p50 == pytest.approx(sorted(times["native"])[1] / sorted(times["swapped"])[1])
    busy = {n: [r.processor_ms or 0 for r in rows if r.way == n and r.history == 2] for n in ("native", "swapped")}
    assert min(busy["native"]) > 0
    shares = sorted(a / e for a, e in zip(busy["native"], busy["swapped"], strict=True))
    assert pair.processor == pytest.approx(shares[1])
    read = sorted(r.prefill_ms + r.decode_ms for r in rows if r.way == "swapped" and r.history == 2)  # type: ignore[operator]
    floor = base.ways["swapped"]
    assert floor.over_floor == pytest.approx(read[1] / floor.floor_ms)
    assert report.saturation["small"]["swapped"].batch in (1, 2) and report.cut == [] and report.same_output == []
    assert {v.claim.split(",")[0] for v in report.verdicts} >= {
        "native over swapped",
        "cheaper a request at saturation",
    }
    assert (
        "growth.png" in (tmp_path / "r" / "report.md").read_text()
        and (tmp_path / "r" / "growth.png").stat().st_size > 5000
    )
    assert not (tmp_path / "r" / "raw").exists()


def test_a_run_that_was_cut_short_goes_on_where_it_stopped(tmp_path, monkeypatch):
    given: dict[str, Any] = {"histories": [2, 3], "ways": ["native", "swapped"]}
    whole, calls = run.rounds, []

    def second_fails(*arguments: Any) -> Any:
        calls.append(arguments[2])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(run, "rounds", second_fails)
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path / "r", **given)
    left = json.loads((tmp_path / "r.work" / "raw" / "small-0.json").read_text())["rows"]
    report = measured(tmp_path / "r", **given)
    assert [point.history for point in calls] == [2, 3, 3] and len(report.points) == 2
    assert [row.model_dump() for row in rows_of(tmp_path / "r")[:6]] == left
    calls.clear()
    assert latency(["small"], tmp_path / "r", [2, 3], [2], [64], 8, 2, False, ["native", "swapped"], 16, 3, 1,
                   batches=[], dtype="float32", device="cpu")["unchanged"] and not calls  # fmt: skip


def test_a_way_without_memory_has_rows_and_no_times(tmp_path, monkeypatch):
    prefill = Plain.prefill

    def too_large(self: Plain) -> None:
        if self.way.name == "native":
            raise torch.OutOfMemoryError("GPU is full\nand more")
        prefill(self)

    monkeypatch.setattr(Plain, "prefill", too_large)
    report = measured(tmp_path / "r", ways=["native", "swapped"])
    native = [row for row in rows_of(tmp_path / "r") if row.way == "native"]
    assert len(native) == 3 and {row.error for row in native} == {"out of memory: GPU is full"}
    assert all(row.total_ms is None for row in native)
    own = report.points[0].ways["native"]
    assert (own.n, own.failed, own.total_ms, own.over_floor, own.peak_mb) == (0, 3, None, None, None)
    assert report.points[0].native_over == {} and "native" not in report.saturation["small"]
    assert [v.met for v in report.verdicts[:3]] == [None, None, None] and report.verdicts[3].value is not None
    assert "3 of 3 failed" in (tmp_path / "r" / "report.md").read_text()


def test_another_error_is_not_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr(Plain, "prefill", lambda self: (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        measured(tmp_path / "r", ways=["swapped"])


def test_flags_are_held_against_the_plain_path(tmp_path):
    report = measured(tmp_path / "r", attention="eager", dtype="bfloat16", ways=["native", "swapped"])
    assert [row.way for row in report.same_output] == ["native", "swapped"]
    for row in report.same_output:
        assert 0 <= row.max_difference < 0.2 * row.std and row.std > 0.05
    assert "of the tokens agree with the plain path" in (tmp_path / "r" / "report.md").read_text()


def test_a_cut_shape_says_so(tmp_path):
    report = measured(tmp_path / "r", shape=["small:2"], ways=["native", "swapped"])
    assert (
        report.cut == ["small:2"]
        and "Cut: small:2; the figures are those of the cut shape" in (tmp_path / "r" / "report.md").read_text()
    )
    own = report.points[0].ways["native"]
    assert own.whole_gflops > sum(stage.gflops for stage in own.cost.values())


def test_batches_end_where_more_bring_nothing_or_take_too_long(monkeypatch):
    rows = [
        RequestRow(shape="s", history=1, candidates=1, side=32, way=w, round=0, total_ms=100.0)
        for w in ("native", "swapped")
    ]
    took = {2: 110.0, 4: 220.0, 8: 1.0}
    monkeypatch.setattr(
        measure, "_batch", lambda m, way, p, batch, o: BatchRow(way=way.name, batch=batch, ms=took[batch])
    )

    class Asked:
        ways, batches, batch_seconds = ("native", "swapped"), (2, 4, 8), 1.0

    found = measure.fill({"native": None, "swapped": None}, Point("s", 1, 1, 32, 4, 1), rows, Asked)  # type: ignore[arg-type]
    assert [(row.way, row.batch) for row in found] == [(w, b) for w in ("native", "swapped") for b in (1, 2, 4)]
    full = saturation(found)
    assert full["native"].batch == 2 and full["native"].requests_per_s == pytest.approx(2 / 0.11)
    assert full["native"].ended == "a larger batch brings less"
    Asked.batch_seconds = 0.5
    slow = measure.fill({"native": None, "swapped": None}, Point("s", 1, 1, 32, 4, 1), rows, Asked)  # type: ignore[arg-type]
    assert slow[1].ms is None and slow[1].error == "not run: would take about 1 s"
    assert saturation(slow)["native"].batch == 1 and saturation(slow)["native"].ended.startswith("not run")


def test_verdicts_are_the_issues_bars(tmp_path):
    report = measured(tmp_path / "r", ways=["native", "swapped"])
    base = report.points[0]
    pair = base.native_over["swapped"].model_copy(update={"p50": 25.0, "p95": 19.0})
    swapped = base.ways["swapped"].model_copy(update={"over_floor": 2.9})
    base = base.model_copy(update={"native_over": {"swapped": pair}, "ways": base.ways | {"swapped": swapped}})
    full = saturation([BatchRow(way="native", batch=1, ms=100.0), BatchRow(way="swapped", batch=1, ms=11.0)])
    assert [v.met for v in verdicts(base, full, True)] == [True, False, False, True]
    assert verdicts(base, full, True)[2].value == pytest.approx(0.89)
    assert [v.met for v in verdicts(base, {}, True)] == [True, False, None, True]
    assert {v.met for v in report.verdicts} == {None} and report.verdicts[0].value == report.points[0].native_over[
        "swapped"
    ].p50  # a CPU


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shape", "qwen9"], "backbone shape 'qwen9'; allowed are qwen3-vl-2b, qwen3-vl-4b, qwen3-vl-8b"),
        (["--shape", "qwen3-vl-2b:99"], "layers '99', allowed are 1 to 28"),
        (["--shape", "small", "--ways", "magic"], "unknown way 'magic'; allowed are native"),
        (["--shape", "small", "--sides", "100"], "side 100: pictures are cut into squares of 32 pixels"),
        (["--shape", "small", "--candidates", "0"], "allowed are numbers from 1"),
        (["--shape", "small", "--histories", "[]"], "histories is empty"),
        (["--shape", "small", "--repeats", "0"], "repeats is 0; allowed are numbers from 1"),
        (["--shape", "small", "--batches", "4,2"], "allowed are ascending numbers from 2"),
        (["--shape", "small", "--device", "cpu", "--cuda_graphs"], "--cuda_graphs needs a CUDA device"),
        (["--shape", "small", "--device", "cpu", "--attention", "flash_attention_2"], "flash_attention_2 needs a GPU"),
        (["--shape", "small", "--dtype", "int3"], "dtype"),
        ([], "shape"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(words, message, tmp_path, capsys):
    assert main(["latency", *words, "--out", str(tmp_path / "r")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and message in err
    assert not (tmp_path / "r").exists()


def test_a_foreign_device_is_refused(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(UserError, match="this machine has no CUDA device; give --device cpu"):
        measured(tmp_path / "r", device="cuda")
