"""The project's vectors in float16, and a model post-trained on them by the command."""

from pathlib import Path
from typing import Any

import pytest

from navigator.contracts import ItemVectors, publish, read_manifest
from navigator.contracts.vectors import write_vectors
from train.frame import main
from train.posttrain import posttrain


@pytest.fixture(scope="session")
def half(project, tmp_path_factory) -> Path:
    """The project's vectors as `navigator embed` stores them, in float16."""
    out, kept = tmp_path_factory.mktemp("half") / "vectors", ItemVectors.open(project / "vectors")
    manifest = read_manifest(project / "vectors", "vectors", "")
    with publish(out, "vectors", manifest.config | {"precision": "float16"}, manifest.inputs) as work:
        write_vectors(work.path, kept.ids, kept.float32().astype("float16"))
    return out


def words(project: Path, half: Path, out: Path, *more: str, taste_graph: bool = True) -> list[str]:
    places = {"model": project / "swapped", "vectors": half, "catalog": project / "catalog"}
    if taste_graph:
        places["graph"] = project / "graph"
    found = [word for name, place in places.items() for word in (f"--{name}", str(place))]
    found += ["--loop.steps", "3", "--loop.batch_size", "4", "--loop.precision", "no", "--json"]
    found += ["--out", str(out), *more]
    if not taste_graph:
        return found
    found += ["--objective.tasks", '{"board-completion": 0.5, "describe": 0.5}', "--loop.eval_every", "2"]
    return [*found, "--valid_queries", "4", "--lora_rank", "2"]


@pytest.fixture(scope="session")
def trained_stage(project, half, tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("trained") / "model"
    assert main("train.posttrain", posttrain, words(project, half, out)) == 0
    return out, read_manifest(out, "model", "").metrics
