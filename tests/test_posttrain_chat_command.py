"""`train.posttrain` with the task chat: what the published folder holds, and that without the task nothing is different."""

import json
from pathlib import Path

import numpy as np
import pytest

import train.chat_valid
from navigator.contracts import read_manifest
from navigator.contracts.vectors import normalise
from navigator.emission import EmittingHead
from navigator.swap import open_swapped
from stage_worlds import words
from train.frame import main
from train.posttrain import posttrain

PRESET = Path(__file__).parents[1] / "configs" / "posttrain" / "chat.yaml"


@pytest.fixture(scope="module")
def chatty(project, half, tmp_path_factory):
    """A model that two steps of the preset taught, and what the command answered."""
    out = tmp_path_factory.mktemp("chatty") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.world.text_vectors", lambda encoder, store: encoded)
        patch.setattr(train.chat_valid, "TALKS", 5)
        patch.setattr(train.chat_valid, "SEARCHES", 5)
        patch.setattr("train.stage.POOL", 6)
        given = [
            *words(project, half, out, "--encoder", "eyes"),
            "--objective.tasks",
            '{"chat": 1.0}',
            "--loop.steps",
            "2",
        ]
        assert main("train.posttrain", posttrain, ["--config", str(PRESET), *given]) == 0
    return out


def encoded(texts) -> np.ndarray:
    return normalise(np.array([np.random.default_rng(list(text.encode())).normal(size=8) for text in texts])).astype(
        "f4"
    )


def test_the_folder_says_whether_it_emits_with_the_figures(chatty):
    metrics = read_manifest(chatty, "model", "").metrics
    told = metrics["chat"]
    model, _ = open_swapped(chatty)
    assert isinstance(model.lm_head, EmittingHead)
    assert model.config.emits_retrieve == told["emits_retrieve"]
    assert model.config.retrieve_threshold == told["retrieve_threshold"]
    good = min(told["valid"]["precision"] or 0, told["valid"]["recall"] or 0) >= told["enough"]
    assert told["emits_retrieve"] == good
    for part in ("valid", "test"):
        assert told[part]["unwanted"] == 5 and told[part]["wanted"] > 5
    assert next(iter(metrics["valid_start"])) == "chat"
    assert {"emission_f1", "chat_ndcg@10", "ndcg@10", "plain_perplexity"} <= metrics["valid_best"].keys()


def test_only_what_the_preset_frees_has_moved(chatty, project):
    """Language model and tower are those it started from, bit for bit."""
    before, after = (open_swapped(folder)[0].state_dict() for folder in (project / "swapped", chatty))
    moved = {name for name, value in after.items() if name not in before or not (before[name] == value).all()}
    assert all(name.startswith(("lm_head.emission.", "query_start.", "retrieval_head.")) for name in moved), moved


def test_without_the_task_a_model_has_no_such_head(trained_stage):
    out, metrics = trained_stage
    model, _ = open_swapped(out)
    assert "chat" not in metrics and not isinstance(model.lm_head, EmittingHead)
    assert not json.loads((out / "config.json").read_text()).get("emission", False)
