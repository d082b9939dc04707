"""``navigator demo``: the main job from nothing to a comparison table, each stage an ordinary command that is shown.

A stage is run again only when its command line or the fingerprint of one of its inputs changed. Every stage publishes its
output whole or not at all, so a demo that was killed anywhere goes on where it stopped.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from navigator.assets import cache_dir
from navigator.contracts import UserError, read_manifest
from navigator.contracts.manifest import MANIFEST
from navigator.stages import Stage, run_stage


def demo(smoke: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Run the whole main job on the embedded default and print the comparison table.

    Args:
        smoke: a tenth of the catalogue and a few training steps.
        out: where everything goes; default runs/demo, with --smoke runs/demo-smoke.
    """
    home = out or Path("runs/demo-smoke" if smoke else "runs/demo")
    home.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    for stage in _first_stages(home, smoke):
        run_stage(stage, home)
    for stage in _last_stages(home, smoke):
        run_stage(stage, home)
    report = json.loads((home / "report" / "report.json").read_text())
    table = json.loads((home / ".stages" / "bench.json").read_text())["answer"]
    places = {
        "report": home / "report" / "report.md", "plots": home / "report" / "quality_latency.png",
        "contact sheets": home / "boards.png", "recommendation": home / "recommendation.png",
    }  # fmt: skip
    lines = [table, *(f"{name}: {path}" for name, path in places.items())]
    served = " ".join(_flags(home, "model", "index", "catalog", "native"))
    lines += [f"talk to it: navigator serve {served}", f"done in {time.perf_counter() - started:.0f} s"]
    return {"report": report, **{k: str(v) for k, v in places.items()}, "text": "\n".join(lines)}


def _first_stages(home: Path, smoke: bool) -> list[Stage]:
    """Up to the post-trained model."""
    cache = cache_dir()
    tenth = ["--tenth"] if smoke else []
    boards = home / "boards.png"
    fetched = all((cache / name / MANIFEST).is_file() for name in ("backbone", "encoder", "openclipart"))
    if fetched:
        print(f"[fetch] weights and pictures are in {cache}, not fetched again", file=sys.stderr)
    return [
        *([] if fetched else [Stage("fetch", ["navigator.cli", "fetch", "all"], cache / "backbone")]),
        _command(home, "import", ["import", "openclipart", *tenth], [], "catalog", [cache / "openclipart"]),
        Stage(
            "show", ["navigator.cli", "show", str(home / "catalog"), "--out", str(boards)], boards, [home / "catalog"]
        ),
        _command(home, "embed", ["embed"], ["catalog"], "vectors", [cache / "encoder"]),
        _command(home, "graph", ["graph", "build", "--valid_fraction", "0.5"], ["catalog"], "graph"),
        _tune(home, smoke),
        _command(
            home,
            "embed-tuned",
            ["embed", "--encoder", str(home / "encoder")],
            ["catalog", "graph"],
            "tuned",
            [home / "encoder"],
        ),
        _command(
            home,
            "refine",
            ["refine", "--vectors", str(home / "tuned")],
            ["graph", "catalog"],
            "refined",
            [home / "tuned"],
        ),
        _command(
            home,
            "swap",
            ["swap", "--vectors", str(home / "refined")],
            [],
            "swapped",
            [home / "refined", cache / "backbone"],
        ),
        _train(home, smoke, "align", "swapped", "aligned"),
        _train(home, smoke, "posttrain", "aligned", "model"),
    ]


def _last_stages(home: Path, smoke: bool) -> list[Stage]:
    """The comparison's native model (same training time), the index, one recommendation, the bench."""
    cache, refined = cache_dir(), str(home / "refined")
    trained = [read_manifest(home / name, "model", "navigator demo") for name in ("aligned", "model")]
    spent = sum(manifest.metrics["train_seconds"] for manifest in trained)
    sheet, preset = home / "recommendation.png", _preset(smoke, "bench")
    words = ["recommend", *_flags(home, "model", "index", "catalog"), "--vectors", refined]
    words += ["--board", _sample_board(home / "graph"), "--titles", "false", "--sheet", str(sheet)]
    made = ["catalog", "vectors", "tuned", "refined", "graph", "model", "native"]
    bench = ["bench.cli", "run", "--config", str(preset), *_flags(home, *made), "--model_vectors", refined]
    bench += ["--sheets", f"{home / 'boards.png'},{sheet}", "--out", str(home / "report")]
    return [
        _command(
            home, "native-swap", ["swap", "--vectors", refined, "--native", "embedded"], [], "native-swapped",
            [home / "refined", cache / "encoder", cache / "backbone"],
        ),
        _train(home, smoke, "native", "native-swapped", "native", ["--loop.max_seconds", f"{spent:.0f}"]),
        _command(home, "index", ["index", refined], [], "index", [home / "refined"]),
        Stage("recommend", ["navigator.cli", *words], sheet, [home / "model", home / "index"]),
        Stage("bench", bench, home / "report", [*(home / name for name in made), preset]),
    ]  # fmt: skip


def _flags(home: Path, *names: str) -> list[str]:
    """``--NAME HOME/NAME`` for every artefact named."""
    return [word for name in names for word in (f"--{name}", str(home / name))]


def _preset(smoke: bool, name: str) -> Path:
    return Path("configs") / ("smoke" if smoke else "demo") / f"{name}.yaml"


def _command(
    home: Path, name: str, words: list[str], reads: list[str], out: str, more: list[Path] | None = None
) -> Stage:
    """A navigator command that reads artefacts by flags of their names and writes HOME/OUT."""
    command = ["navigator.cli", *words, *_flags(home, *reads), "--out", str(home / out)]
    return Stage(name, command, home / out, [*(home / read for read in reads), *(more or [])])


def _tune(home: Path, smoke: bool) -> Stage:
    """The encoder learns the catalogue; its towers stay locked, so that it takes a minute."""
    preset, encoder = _preset(smoke, "clip"), home / "encoder"
    command = [
        *_launch("train.clip"),
        "--config",
        str(preset),
        *_flags(home, "catalog", "graph"),
        "--out",
        str(encoder),
    ]
    return Stage("clip", command, encoder, [home / "catalog", home / "graph", cache_dir() / "encoder", preset])


def _launch(module: str) -> list[str]:
    """One process of accelerate on this machine, without its questions."""
    command = ["accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no"]
    command += ["--dynamo_backend", "no", "--num_cpu_threads_per_process", str(os.cpu_count() or 1), "-m", module]
    return command


def _train(home: Path, smoke: bool, name: str, source: str, out: str, extra: list[str] | None = None) -> Stage:
    """A training stage of the language model."""
    module, preset = ("train.align" if name == "align" else "train.posttrain"), _preset(smoke, name)
    reads = ["catalog"] if name == "align" else ["catalog", "graph"]
    command = [*_launch(module), "--config", str(preset)]
    command += ["--model", str(home / source), "--vectors", str(home / "refined")]
    command += [*_flags(home, *reads), "--out", str(home / out), *(extra or [])]
    return Stage(name, command, home / out, [home / source, home / "refined", *(home / read for read in reads), preset])


def _sample_board(taste_graph: Path) -> str:
    """A middle-sized board, the same one each time."""
    import pyarrow.parquet as pq

    rows = pq.read_table(taste_graph / "sequences.parquet", columns=["task", "owner", "items"]).to_pylist()
    boards = sorted((len(row["items"]), row["owner"]) for row in rows if row["task"] == "board-completion")
    if not boards:
        raise UserError(f"graph {taste_graph} has no boards to recommend for")
    return boards[int(len(boards) * 0.75)][1]
