"""The command: reports it reads, what it writes, and what it says when something is missing or wrong."""

import json
import shlex
from pathlib import Path

import pytest

from bench.cli import main
from bench.cost import frontier_cost
from bench.economics.speeds import CUT, ONE_WORKER, SATURATED, read_embedding, read_requests
from bench.economics.verdict import compared, quantity
from navigator.contracts import UserError

RESULTS = Path(__file__).parents[1] / "bench" / "results"
RUN = RESULTS / "2026-11-21-openclipart-2-core-cpu.json"
EMBED = RESULTS / "2026-11-21-embed-speed-2-core-cpu.json"
CANDIDATES = RESULTS / "2026-11-21-candidates-2-core-cpu.json"


def cost(capsys, *words: str) -> tuple[int, str, str]:
    code = main(["cost", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_whole_command_on_measured_reports(capsys, tmp_path):
    words = (
        RUN,
        "--embed",
        EMBED,
        "--out",
        tmp_path / "r",
        "--assume.catalogue_items",
        "3957",
        "--frontier",
        "gpt-5-mini",
    )
    code, out, err = cost(capsys, *words)
    assert code == 0, err
    assert "At 1,000,000 requests a day, with whole machines, swapped costs US$" in out
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    measured = json.loads(RUN.read_text())["systems"]["swapped"]["throughput_rps"]
    assert report["inputs_table"]["ours_rps"]["value"] == measured and report["systems"]["swapped"]["device"] == "cpu"
    assert report["systems"]["swapped"]["measured"] == f"{ONE_WORKER} (cpu)" and report["missing"] == {}
    by_hand = 0.10 / 3600 / (measured * 0.4) * 1000
    assert report["systems"]["swapped"]["cost"]["fractional"]["usd_per_1000"]["serving"] == pytest.approx(by_hand)
    row = report["rivals"]["frontier:gpt-5-mini"]
    varied = {one["input"] for one in row["sensitivity"]} | set(row["unmoved"])
    assert set(report["inputs_table"]) - varied == {
        "requests_per_day",
        "history_items",
        "candidate_items",
        "rivals_need_vectors",
        "native_training_hours",
    }  # none dropped; the last two are 0
    assert (
        "Not varied, for it is 0 here: rivals_need_vectors, native_training_hours"
        in (tmp_path / "r" / "report.md").read_text()
    )
    assert (
        "usd_per_gpu_hour" in row["unmoved"]
        and "no reasoning tokens" in report["systems"]["frontier:gpt-5-mini"]["priced"][2]
    )
    words_ = (tmp_path / "r" / "report.md").read_text()
    assert all(name in words_ for name in report["inputs_table"])  # every input is listed
    made = {path.name for path in (tmp_path / "r").iterdir()}
    pictures = {"costs.png", "break-even.png", "sensitivity-native.png", "sensitivity-gpt-5-mini.png"}
    assert made >= pictures and all(f"![{name}]" in words_ for name in pictures)
    assert "(unchanged)" in cost(capsys, *words)[1]
    assert "(unchanged)" in cost(capsys, *shlex.split(report["command"])[2:])[1]  # the recorded command is this one


def test_without_a_measurement_nothing_is_invented(capsys, tmp_path):
    code, out, _ = cost(
        capsys, "--out", tmp_path / "r", "--throughput", "native=6", "--embed_per_second", "100", "--json"
    )
    answer = json.loads(out)
    assert (
        code == 0 and "navigator-bench latency --shape" in answer["verdict"] and set(answer["missing"]) == {"ours_rps"}
    )
    assert answer["usd_per_1000"]["swapped"] == {"fractional": None, "whole": None}
    assert answer["usd_per_1000"]["native"]["whole"] > 0 and answer["usd_per_1000"]["frontier:gpt-5-mini"]["whole"] > 0
    assert {at["whole"]["state"] for at in answer["break_even"].values()} == {"unknown"}
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert "swapped" not in report["curves"]["usd_per_1000"]
    assert not list((tmp_path / "r").glob("sensitivity*")) and (tmp_path / "r" / "costs.png").is_file()


def test_the_curves_and_the_break_even_belong_together(capsys, tmp_path):
    rates = ("--throughput", "swapped=120,native=6", "--embed_per_second", "2000", "--frontier", "gpt-5-mini")
    assert cost(capsys, "--out", tmp_path / "r", *rates)[0] == 0
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    days, curves = report["curves"]["requests_a_day"], report["curves"]["usd_per_1000"]
    for rival, row in report["rivals"].items():
        for capacity, at in row["break_even"].items():
            ours, other = curves["swapped"][capacity], curves[rival][capacity]
            won = [day for day, a, b in zip(days, ours, other, strict=True) if a < b]
            lost = [day for day, a, b in zip(days, ours, other, strict=True) if a >= b]
            assert min(won) >= at["requests_a_day"] * (1 - 1e-9) and max(lost) <= at["requests_a_day"] * (1 + 1e-9)


def saturation(folder: Path, device: dict, **ways: float) -> Path:
    """A report of `navigator-bench latency` as far as it is read: shapes 2b, and 8b cut to two layers."""
    rows = {name: {"requests_per_s": rate, "batch": 8, "ended": "slower"} for name, rate in ways.items()}
    found = {
        "saturation": {"2b": rows, "8b:2": rows}, "cut": ["8b:2"], "device": device, "created_at": "2026-11-21T10:00:00",
        "points": [{"shape": "2b", "history": 10, "candidates": 30, "side": 224, "ways": {}}],
    }  # fmt: skip
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(found))
    return folder


def test_saturation_candidates_and_folders_are_read(tmp_path):
    folder = saturation(tmp_path / "s", {"cpu": "x", "accelerator": "H200"}, swapped=90.0, native=3.0)
    found = read_requests(folder, "2b")
    assert found.names == ("swapped", "native") and found.items == (10, 30) and found.side == 224
    one = found.speeds["swapped"]
    assert (one.per_second, one.device, one.how, one.day) == (90.0, "cuda", SATURATED, "2026-11-21")
    assert read_requests(folder, "8b:2").speeds["native"].how == CUT
    with pytest.raises(UserError, match="has the shapes 2b, 8b:2; name one with --shape, not None"):
        read_requests(folder)
    run_ = read_requests(RUN)
    assert "frontier:gpt-5-mini" in run_.names and "frontier:gpt-5-mini" not in run_.speeds  # null stays unknown
    ways = read_requests(CANDIDATES)
    assert ways.items == (20, 200) and ways.speeds["one pass"].per_second == pytest.approx(1 / 1.0580799540039152)
    speed, _ = read_embedding(EMBED, None)
    assert speed.per_second == pytest.approx(86.48660791835304) and speed.device == "cpu"


def test_the_measured_request_decides_how_many_pictures_a_hosted_model_gets(capsys, tmp_path):
    words = (CANDIDATES, "--ours", "one pass", "--embed", EMBED, "--out", tmp_path / "r", "--frontier", "gpt-5-mini")
    assert cost(capsys, *words)[0] == 0
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert report["inputs_table"]["candidate_items"]["value"] == 200
    assert report["systems"]["frontier:gpt-5-mini"]["cost"]["whole"]["total_usd_per_1000"] == pytest.approx(
        frontier_cost("gpt-5-mini", 20, 200)[0]
    )
    code, _, err = cost(capsys, *words, "--assume.candidate_items", "20")
    assert code == 2 and "the report's requests have 200" in err


def test_what_the_measurement_lacks_is_said(capsys, tmp_path):
    folder = saturation(tmp_path / "s", {"cpu": "x", "accelerator": None}, swapped=90.0, native=3.0)
    words = (folder, "--embed_per_second", "9", "--frontier", "[]", "--out", tmp_path / "r", "--throughput", "native=2")
    out = cost(capsys, *words, "--shape", "8b:2", "--device", "cuda", "--json")[1]
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert [line[:60] for line in report["caveats"]] == [
        "swapped: measured at saturation of a model cut to fewer laye",
        "native: given by hand.",
        "Measured on different devices, each paid at the price of its",
        "native reads pictures of 224 px, hosted models are priced fo",
    ]
    assert report["inputs_table"]["native_rps"]["value"] == 2  # what is typed goes before what the report says
    assert set(json.loads(out)["usd_per_1000"]) == {"swapped", "native"}
    cost(capsys, *words, "--shape", "8b:2", "--out", tmp_path / "own")  # typed speeds belong to the report's device
    own = json.loads((tmp_path / "own" / "report.json").read_text())
    assert not any("different devices" in line for line in own["caveats"])
    assert own["inputs_table"]["items_embedded_per_s"]["source"].endswith("cpu")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--throughput", "x=3"), "--throughput x: allowed are swapped and native"),
        (("--throughput", "swapped=0"), "--throughput swapped=0: allowed are numbers above 0"),
        (("--embed_per_second", "-1"), "--embed_per_second items=-1"),
        (("--frontier", "gpt-9"), "no price for frontier model 'gpt-9'"),
        (("--latency", "nowhere"), "report nowhere does not exist"),
        (("--latency", EMBED), "has no throughput by system"),
        (("--latency", CANDIDATES), "has no system 'swapped'; it has one by one"),
        (("--embed", CANDIDATES), "has no embedding speed; make one with"),
        (("--embed", EMBED, "--encoder", "tuned"), "has the speed of untuned; name one with --encoder, not 'tuned'"),
        (("--encoder", "untuned"), "add it with --embed REPORT"),
        (("--shape", "2b"), "--shape '2b' chooses from a report; add it with --latency REPORT"),
        (("--ours", "native"), "--ours and --native are both 'native'"),
        (("--assume.new_share_per_day", "2"), "2 % is 0.02"),
    ],
)
def test_bad_input_is_one_line(capsys, tmp_path, words, says):
    code, out, err = cost(capsys, "--out", tmp_path / "r", *words)
    assert (code, out) == (2, "") and says in err and err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_broken_reports_are_refused(tmp_path):
    for text, says in [
        ("[]", "is not a report"),
        ("{", "is not JSON"),
        ('{"saturation": {"a": 3}, "points": []}', "no throughput"),
    ]:
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(UserError, match=says):
            read_requests(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is not JSON"):
        read_requests(tmp_path / "x.json")


def test_the_list_of_assumptions_names_units_and_sources(capsys):
    out = cost(capsys, "--list_assumptions")[1]
    assert "usd_per_gpu_hour" in out and "US$ an hour" in out and "mercatus-ai.com" in out


def test_words():
    assert compared(1, 4) == "4 times less than" and compared(3, 1.5) == "2 times more than"
    assert compared(1, 1.001) == "as much as" and compared(0, 1) == "less than" and compared(0, 0) == "as much as"
    assert quantity(1_234_567) == "1,235,000" and quantity(0.05912) == "0.0591"
