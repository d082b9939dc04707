"""The main job on a small world, by its commands: train, recommend, search, bench; and killed on the way."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from navigator.cli import main
from navigator.contracts import UserError, read_manifest
from train.frame import main as train_main
from train.posttrain import posttrain

ROOT = Path(__file__).parents[1]
FEW = ["--loop.steps", "4", "--loop.batch_size", "4", "--loop.precision", "no", "--loop.save_every", "1"]
FEW += ["--loop.eval_every", "2", "--objective.candidates", "4", "--lora_rank", "2"]


def posttrain_command(project: Path, out: Path) -> list[str]:
    command = ["train.posttrain", "--model", str(project / "swapped"), *FEW, "--out", str(out)]
    return command + [word for name in ("vectors", "catalog", "graph") for word in (f"--{name}", str(project / name))]


def finish(command: list[str]) -> None:
    """In this process: only what is killed needs one of its own."""
    module, *argv = command
    assert (train_main(module, posttrain, argv) if module == "train.posttrain" else main(argv)) == 0


@pytest.fixture(scope="module")
def trained(project, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "model"
    finish(posttrain_command(project, out))
    return out


def kill_in_the_middle(command: list[str], out: Path) -> None:
    """Start a stage, kill -9 it as soon as it has begun to write, check that nothing half-made can be taken for whole."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    work = out.with_name(out.name + ".work")
    deadline = time.monotonic() + 600  # importing is slow where others have the cores
    while not work.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert work.exists(), "the stage finished before it could be killed"
    assert not out.exists()
    with pytest.raises(UserError, match="does not exist"):
        read_manifest(out, "anything", "navigator")


def test_import_killed_and_run_again(project, tmp_path):
    tables, out = project / "tables", tmp_path / "catalog"
    command = ["navigator.cli", "import", "table", "--out", str(out), "--items", str(tables / "items.parquet")]
    for name in ("interactions", "boards", "board_items"):
        command += [f"--{name}", str(tables / f"{name}.parquet")]
    kill_in_the_middle(command, out)
    finish(command)
    assert (
        read_manifest(out, "catalog", "").fingerprint == read_manifest(project / "catalog", "catalog", "").fingerprint
    )


def test_graph_killed_and_run_again(project, tmp_path):
    out = tmp_path / "graph"
    command = [
        "navigator.cli",
        "graph",
        "build",
        str(project / "catalog"),
        "--out",
        str(out),
        "--valid_fraction",
        "0.5",
    ]
    kill_in_the_middle(command, out)
    finish(command)
    assert read_manifest(out, "graph", "").fingerprint == read_manifest(project / "graph", "graph", "").fingerprint


def test_posttrain_killed_and_run_again_gives_the_same_weights(project, trained, tmp_path):
    out = tmp_path / "model"
    kill_in_the_middle(posttrain_command(project, out), out)
    finish(posttrain_command(project, out))
    ours, whole = load_file(out / "model.safetensors"), load_file(trained / "model.safetensors")
    assert ours.keys() == whole.keys() and all((ours[key] == whole[key]).all() for key in whole)


def test_recommend_leaves_out_what_is_saved_and_draws_a_sheet(project, trained, tmp_path, capsys):
    argv = ["recommend", "--model", str(trained), "--index", str(project / "index"), "--k", "5", "--json"]
    argv += ["--vectors", str(project / "vectors"), "--catalog", str(project / "catalog")]
    assert main([*argv, "--board", "b1", "--sheet", str(tmp_path / "s.png")]) == 0
    answer = json.loads(capsys.readouterr().out)
    found = [r["item"] for r in answer["results"]]
    assert len(found) == 5 and not set(found) & {f"i{n:02}" for n in range(4, 10)}
    assert all(r["title"] for r in answer["results"])
    assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG"
    assert main([*argv, "--user", "u1"]) == 0


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_every_index_finds_an_items_nearest_neighbours(project, tmp_path, capsys, kind):
    import numpy as np

    from navigator.contracts import ItemVectors

    assert main(["index", str(project / "vectors"), "--out", str(tmp_path / kind), "--kind", kind]) == 0
    capsys.readouterr()
    assert main(["search", str(tmp_path / kind), "--item", "i07", "--k", "3", "--json"]) == 0
    got = [r["item"] for r in json.loads(capsys.readouterr().out)["results"]]
    store = ItemVectors.open(project / "vectors")
    scores = store.float32() @ store.float32()[7]
    scores[7] = -1
    assert got == [store.ids[i] for i in np.argsort(-scores)[:3]]


def test_a_finished_stage_is_not_run_again(project, trained):
    before = (trained / "manifest.json").stat().st_mtime_ns
    finish(posttrain_command(project, trained))
    assert (trained / "manifest.json").stat().st_mtime_ns == before
