"""`navigator-bench load` from end to end over real HTTP: the report, the log, interruption, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bench.cli import main
from bench.load import steps
from bench.load.command import load
from bench.load.figures import LoadReport
from bench.load.options import Options
from bench.load.target import read_bodies
from navigator.contracts import UserError

QUICK = {"seconds": 0.6, "warm_up": 0.2, "concurrency": [4], "fractions": [0.7], "max_lateness_ms": 500}
SLEEP = QUICK | {"system": "sleep", "work_ms": 40, "workers": 2, "waiting": 2}


def test_a_report_whose_every_figure_comes_from_its_rows(tmp_path: Path) -> None:
    answer = load(out=tmp_path / "r", **SLEEP | {"overload": 4.0, "seconds": 1.5})
    report = LoadReport.model_validate_json((tmp_path / "r" / "report.json").read_text())
    rows = pq.read_table(tmp_path / "r" / "requests.parquet").to_pylist()
    phases = {row.phase: row for row in report.phases}
    assert list(phases) == ["warm-up", "closed-1", "closed-4", "open-0.7", "calm", "overload", "calm-after"]
    assert len(rows) == report.n_rows == report.n_scheduled == sum(row.requests for row in report.phases)
    for name, phase in phases.items():
        own = Counter(row["outcome"] for row in rows if row["phase"] == name)
        assert own == Counter({kind: n for kind, n in phase.outcomes.items() if n})
    one = phases["closed-1"].throughput_rps
    # 40 ms each, one client and two workers; less on a busy machine
    assert report.saturation_from == "closed-4" and one and one <= 25 and report.saturation_rps <= 50
    assert phases["overload"].outcomes["http_429"] > 0
    refused = next(row for row in rows if row["outcome"] == "http_429")
    assert refused["retry_after_s"] >= 1 and '"type": "overloaded"' in refused["error"]
    waited, worked = phases["closed-4"].queue_ms, phases["closed-4"].work_ms
    assert waited and worked and waited.p95 > 20 and worked.p50 > 39  # two wait for two
    assert answer["checks"]["nothing_lost"]["met"] and answer["checks"]["sheds"]["met"]
    step = [phases[name].outcomes["http_429"] for name in ("calm", "overload", "calm-after")]
    assert report.server["overload"].refused == sum(step)
    files = sorted(path.name for path in (tmp_path / "r").iterdir())
    pictures = ["load.png", "manifest.json", "overload.png", "parts.png"]
    assert files == [*pictures, "report.html", "report.json", "report.md", "requests.parquet"]


def test_after_an_interruption_finished_steps_are_not_run_again(tmp_path: Path, monkeypatch) -> None:
    sent, send = [], steps._send

    def interrupted(loaded, name, segments, clients, seed):
        sent.append(name)
        if len(sent) == 3:
            raise KeyboardInterrupt
        return send(loaded, name, segments, clients, seed)

    monkeypatch.setattr(steps, "_send", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(out=tmp_path / "r", **SLEEP)
    assert not (tmp_path / "r").exists()
    assert load(out=tmp_path / "r", **SLEEP)["unchanged"] is False
    assert sent == ["warm-up", "closed-1", "closed-4", "closed-4", "open-0.7", "overload"]
    assert load(out=tmp_path / "r", **SLEEP)["unchanged"] is True and len(sent) == 6


def test_ctrl_c_ends_the_server_and_publishes_nothing(tmp_path: Path) -> None:
    words = ["load", "--system", "sleep", "--out", str(tmp_path / "r"), "--warm_up", "0.2", "--seconds", "60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.cli", *words], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    kept, deadline = tmp_path / "r.work" / "steps" / "warm-up.parquet", time.monotonic() + 60
    while not kept.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGINT)
    assert "interrupted; run the same command again to go on" in process.communicate(timeout=60)[1]
    assert process.returncode == 130 and not (tmp_path / "r").exists() and kept.exists()
    assert children and not any(Path(f"/proc/{child}").exists() for child in children)


def test_content_is_served_and_a_foreign_url_is_loaded(tmp_path: Path, project: Path, capsys) -> None:
    options = QUICK | {"overload": 0, "vectors": project / "vectors", "waiting": 500}  # nobody is refused
    answer = load(system="content", out=tmp_path / "content", **options)
    assert {name for row in answer["phases"] for name, n in row["outcomes"].items() if n} == {"ok"}
    bodies = tmp_path / "bodies.jsonl"
    bodies.write_text('{"history": ["i01"], "candidates": ["i02"]}\n{"history": ["nobody"], "candidates": ["i02"]}\n')
    mixed = load(system="content", bodies=bodies, out=tmp_path / "mixed", **options)
    outcomes = mixed["phases"][1]["outcomes"]
    assert abs(outcomes["ok"] - outcomes["http_4xx"]) <= 1  # bodies are cycled
    words = ["load", "--url", "http://127.0.0.1:9/x", "--out", str(tmp_path / "none"), "--seconds", "0.1"]
    assert main(words) == 2
    assert "answered none of" in (error := capsys.readouterr().err) and "ClientConnectorError" in error
    assert [path.name for path in (tmp_path / "none.work" / "steps").glob("*.parquet")] == ["warm-up.parquet"]


def test_a_swapped_model_is_served(tmp_path: Path, project: Path) -> None:
    options = QUICK | {"overload": 0, "fractions": [], "seconds": 0.3, "dtype": "float32"}
    answer = load(model=project / "swapped", vectors=project / "vectors", out=tmp_path / "r", **options)
    assert {name for row in answer["phases"] for name, n in row["outcomes"].items() if n} == {"ok"}
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert set(report["inputs"]) == {"model", "vectors"} and report["checks"]["at_70_percent"]["met"] is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "neither was given"),
        ({"url": "http://x", "system": "sleep"}, "both was given"),
        ({"system": "magic"}, "allowed are swapped, content, sleep"),
        ({"system": "content"}, "needs --vectors FOLDER"),
        ({"system": "swapped", "vectors": Path("v")}, "needs --model FOLDER"),
        ({"url": "ftp://x"}, "is no http:// or https:// address"),
        ({"url": "http://me:pw@x"}, "has a user or password"),
        ({"system": "sleep", "seconds": 0}, "seconds is 0"),
        ({"system": "sleep", "waiting": -1}, "waiting is -1"),
        ({"system": "sleep", "fractions": [0.0]}, "fractions is [0.0]"),
        ({"system": "sleep", "overload": 0.9}, "overload 0.9"),
        ({"system": "sleep", "bodies": Path("nowhere")}, "nowhere does not exist"),
        ({"system": "content", "vectors": Path("nowhere")}, "nowhere does not exist"),
        ({"system": "sleep", "catalog": Path("c")}, "--catalog is for a --url"),
        ({"url": "http://127.0.0.1:9/", "catalog": Path("c"), "bodies": Path("b")}, "give one of them"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, options: dict, says: str) -> None:
    with pytest.raises(UserError) as error:
        load(out=tmp_path / "r", **options)
    assert says in str(error.value) and not (tmp_path / "r").exists()


def test_requests_are_drawn_of_the_catalogue_and_only_for_routes_that_take_them(project: Path, tmp_path: Path) -> None:
    url, catalog = "http://127.0.0.1:9/v1/", project / "catalog"
    with pytest.raises(UserError, match="no requests can be drawn for /v1/rank; allowed with --catalog are /v1/search"):
        load(url=url + "rank", catalog=catalog, out=tmp_path / "r")
    options = Options(
        **dict.fromkeys(Options.__annotations__) | {"url": url + "recommend", "catalog": catalog, "seed": 3}
    )
    drawn = read_bodies(options)
    assert len(set(drawn)) == len(drawn) > 1000 and all(json.loads(body)["history"] for body in drawn)
    assert read_bodies(options) == drawn != read_bodies(replace(options, seed=4))


def test_bodies_and_headers_of_another_form(tmp_path: Path, monkeypatch) -> None:
    bodies = tmp_path / "bodies.jsonl"
    for text, says in (("", "is empty"), ('{"a": 1}\nnot json\n', "body 2 is no JSON")):
        bodies.write_text(text)
        with pytest.raises(UserError, match=says):
            load(url="http://127.0.0.1:9/", bodies=bodies, out=tmp_path / "r")
    monkeypatch.setitem(os.environ, "NAVIGATOR_LOAD_HEADERS", "X-A: 1\nsk-secret-123")
    with pytest.raises(UserError, match="line 2 of NAVIGATOR_LOAD_HEADERS is no header") as error:
        load(url="http://127.0.0.1:9/", out=tmp_path / "r")
    assert "secret" not in str(error.value)
