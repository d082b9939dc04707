"""``navigator demo``: the main job from nothing to a comparison table, each stage an ordinary command that is shown.

A stage is run again only when its command line or the fingerprint of one of its inputs changed. Every stage publishes its
output whole or not at all, so a demo that was killed anywhere goes on where it stopped.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from navigator.contracts import UserError, read_manifest
from navigator.contracts.manifest import MANIFEST, digest, file_digest, write_text


@dataclass(frozen=True)
class Stage:
    """One command of the main job.

    Attributes:
        name: shown, and names the stage's record.
        command: words after `python -m`, the module first.
        inputs: artefacts and files whose change makes the stage stale.
        out: the artefact or file it makes.
    """

    name: str
    command: list[str]
    out: Path
    inputs: list[Path] = field(default_factory=list)

    @property
    def shown(self) -> str:
        words = list(self.command)
        if words[0] == "accelerate.commands.launch":
            return "accelerate launch " + " ".join(words[words.index("-m") :])
        return " ".join([{"navigator.cli": "navigator", "bench.cli": "navigator-bench"}[words[0]], *words[1:]])


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
    lines.append(f"done in {time.perf_counter() - started:.0f} s")
    return {"report": report, **{k: str(v) for k, v in places.items()}, "text": "\n".join(lines)}


def _first_stages(home: Path, smoke: bool) -> list[Stage]:
    """Up to the post-trained model."""
    from navigator.assets import cache_dir

    presets = Path("configs/smoke" if smoke else "configs/demo")
    catalog, vectors, refined, taste = (str(home / name) for name in ("catalog", "vectors", "refined", "graph"))
    content, encoder = home / "catalog", cache_dir() / "encoder"
    tenth = ["--tenth"] if smoke else []
    return [
        _navigator("fetch", ["fetch", "all"], cache_dir() / "backbone"),
        _navigator("import", ["import", "openclipart", "--out", catalog, *tenth], content, [cache_dir() / "openclipart"]),
        _navigator("show", ["show", catalog, "--out", str(home / "boards.png")], home / "boards.png", [content]),
        _navigator("embed", ["embed", catalog, "--out", vectors], home / "vectors", [content, encoder]),
        _navigator("graph", ["graph", catalog, "--out", taste], home / "graph", [content]),
        _navigator(
            "refine", ["refine", "--graph", taste, "--vectors", vectors, "--catalog", catalog, "--out", refined],
            home / "refined", [home / "graph", home / "vectors"],
        ),
        _navigator("swap", ["swap", "--vectors", refined, "--out", str(home / "swapped")], home / "swapped", [home / "refined", cache_dir() / "backbone"]),
        _train(home, "align", presets, "swapped", "aligned"),
        _train(home, "posttrain", presets, "aligned", "model"),
    ]  # fmt: skip


def _last_stages(home: Path, smoke: bool) -> list[Stage]:
    """The comparison's native model (same training time), the index, one recommendation, the bench."""
    from navigator.assets import cache_dir

    presets = Path("configs/smoke" if smoke else "configs/demo")
    names = ("catalog", "vectors", "refined", "graph", "model", "native", "index")
    catalog, vectors, refined, taste, model, native, index = (str(home / name) for name in names)
    spent = sum(
        read_manifest(home / name, "model", "navigator demo").metrics["train_seconds"] for name in ("aligned", "model")
    )
    board = _sample_board(home / "graph")
    sheet = home / "recommendation.png"
    made = [home / name for name in ("catalog", "vectors", "refined", "graph", "model", "native")]
    return [
        _navigator(
            "native-swap", ["swap", "--vectors", refined, "--native", "embedded", "--out", str(home / "native-swapped")],
            home / "native-swapped", [home / "refined", cache_dir() / "encoder", cache_dir() / "backbone"],
        ),
        _train(home, "native", presets, "native-swapped", "native", ["--loop.max_seconds", f"{spent:.0f}"]),
        _navigator("index", ["index", refined, "--out", index], home / "index", [home / "refined"]),
        _navigator(
            "recommend", ["recommend", "--model", model, "--vectors", refined, "--index", index, "--catalog", catalog, "--board", board, "--sheet", str(sheet)],
            sheet, [home / "model", home / "index"],
        ),
        _bench(home, presets, ["--catalog", catalog, "--vectors", vectors, "--refined", refined, "--graph", taste, "--model", model, "--model_vectors", refined, "--native", native], made),
    ]  # fmt: skip


def _navigator(name: str, words: list[str], out: Path, inputs: list[Path] | None = None) -> Stage:
    return Stage(name, ["navigator.cli", *words], out, inputs or [])


def _bench(home: Path, presets: Path, words: list[str], inputs: list[Path]) -> Stage:
    preset = presets / "bench.yaml"
    command = ["bench.cli", "run", *words, "--config", str(preset), "--out", str(home / "report")]
    return Stage("bench", command, home / "report", [*inputs, preset])


def _train(home: Path, name: str, presets: Path, source: str, out: str, extra: list[str] | None = None) -> Stage:
    preset = presets / f"{name}.yaml"
    module = "train.align" if name == "align" else "train.posttrain"
    launch = [
        "accelerate.commands.launch",
        "--num_processes",
        "1",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
    ]
    launch += ["--num_cpu_threads_per_process", str(os.cpu_count() or 1)]
    words = ["-m", module, "--config", str(preset), "--model", str(home / source), "--vectors", str(home / "refined")]
    words += ["--catalog", str(home / "catalog"), "--out", str(home / out), *(extra or [])]
    inputs = [home / source, home / "refined", home / "catalog", preset]
    if module == "train.posttrain":
        words += ["--graph", str(home / "graph")]
        inputs.append(home / "graph")
    return Stage(name, launch + words, home / out, inputs)


def _sample_board(taste_graph: Path) -> str:
    """A middle-sized board, the same one each time."""
    import pyarrow.parquet as pq

    rows = pq.read_table(taste_graph / "sequences.parquet", columns=["task", "owner", "items"]).to_pylist()
    boards = sorted((len(row["items"]), row["owner"]) for row in rows if row["task"] == "board-completion")
    if not boards:
        raise UserError(f"graph {taste_graph} has no boards to recommend for")
    return boards[int(len(boards) * 0.75)][1]


def run_stage(stage: Stage, home: Path) -> bool:
    """Run a stage unless it is current; returns whether it ran. Raises UserError when the command fails."""
    record = home / ".stages" / f"{stage.name}.json"
    key = digest([stage.command, [_state(path) for path in stage.inputs]])
    done = json.loads(record.read_text()) if record.is_file() else {}
    if done.get("key") == key and done.get("out") == _state(stage.out):
        print(f"[{stage.name}] unchanged, not run again ({stage.out})", file=sys.stderr)
        return False
    print(f"[{stage.name}] {stage.shown}", file=sys.stderr, flush=True)
    started = time.perf_counter()
    environment = {  # threads that wait should not burn the cores that others need
        "OMP_NUM_THREADS": str(os.cpu_count() or 1), "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-m", *stage.command], stdout=subprocess.PIPE, text=True, env=os.environ | environment
    )
    if result.returncode:
        raise UserError(
            f"stage {stage.name} failed with exit code {result.returncode}; see above, mend it and run the demo again"
        )
    for line in result.stdout.splitlines()[:30]:
        print(f"    {line}", file=sys.stderr)
    print(f"[{stage.name}] {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
    key = digest([stage.command, [_state(path) for path in stage.inputs]])
    write_text(
        record, json.dumps({"key": key, "out": _state(stage.out), "command": stage.shown, "answer": result.stdout})
    )
    return True


def _state(path: Path) -> str | None:
    """Fingerprint of an artefact or file, None when it is not there."""
    if (path / MANIFEST).is_file():
        return json.loads((path / MANIFEST).read_text())["fingerprint"]
    return file_digest(path) if path.is_file() else None
