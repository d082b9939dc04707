"""What a training stage adds to its model folder and says: card, options, hub, 4-bit weights."""

import inspect
import json
import os
import re
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import ModelCard
from peft.tuners.lora import LoraModel

import training_worlds as training
from navigator.contracts import UserError, read_manifest
from stage_worlds import words
from train import hub, qlora
from train.align import align
from train.card import EMBEDDED, _recipe, origin
from train.frame import main
from train.loop import LoopConfig
from train.parts import merged, split_parts
from train.posttrain import posttrain
from train.throughput import weights_per_token


def test_the_card_says_what_the_manifest_says(trained_stage, project):
    out, metrics = trained_stage
    read = ModelCard.load(out / "README.md")
    header = read.data.to_dict()
    assert header["library_name"] == "transformers" and "recommendation" in header["tags"]
    shown = {m["type"]: m["value"] for r in header["model-index"][0]["results"] for m in r["metrics"]}
    assert shown == pytest.approx(metrics["valid_best"])
    manifest = read_manifest(out, "model", "")
    for kind, fingerprint in manifest.inputs.items():
        assert f"| {kind} | `{fingerprint}` |" in read.text, kind
    assert "board-completion 0.5, describe 0.5" in read.text and "- language: lora" in read.text
    assert "- lora_rank: 2" in read.text and "- loop.steps: 3" in read.text and "- device: cpu" in read.text
    start, best = metrics["valid_start"]["ndcg@10"], metrics["valid_best"]["ndcg@10"]
    assert f"| ndcg@10 | {start:.4f} | {best:.4f} |" in read.text
    assert "licence of the backbone is not known here" in read.text and "license" not in header
    assert str(project) not in read.text and "loop.tracker: none" in read.text  # no paths of this machine
    assert _recipe({"encoder": str(project), "objective": {}, "loop": {}}) == {"encoder": project.name}


def test_the_card_s_own_lines_run(trained_stage, project, half, capsys):
    code = re.search(r"```python\n(.*?)```", (trained_stage[0] / "README.md").read_text(), re.DOTALL)
    assert code is not None
    told = code[1].replace("MODEL_FOLDER", str(trained_stage[0])).replace("VECTORS_FOLDER", str(half))
    exec(told, {})
    assert "(1, 8)" in capsys.readouterr().out


def test_the_licence_is_inherited_from_stage_to_stage(trained_stage, project, tmp_path, monkeypatch):
    assert origin(trained_stage[0]) == (None, None)  # a local folder without a card
    monkeypatch.setattr("train.card.read_manifest", lambda *_: SimpleNamespace(config={"backbone": "embedded"}))
    assert origin(tmp_path) == EMBEDDED
    (tmp_path / "README.md").write_text("---\nlicense: mit\nbase_model: some/model\n---\n# x\n")
    assert origin(tmp_path) == ("some/model", "mit")
    monkeypatch.setattr("train.card.read_manifest", lambda *_: SimpleNamespace(config={"backbone": str(tmp_path)}))
    assert origin(project / "swapped") == (None, "mit")
    monkeypatch.setattr("train.card.read_manifest", lambda *_: SimpleNamespace(config={"backbone": "Org/Model"}))
    assert origin(project / "swapped") == ("Org/Model", None)


def test_an_aligned_model_has_a_card_too_and_hands_its_licence_on(project, half, tmp_path):
    out = tmp_path / "aligned"
    given = words(project, half, out, "--checkpointing", taste_graph=False)
    assert main("train.align", align, given) == 0
    text = (out / "README.md").read_text()
    assert "Nothing was validated; the weights of the last step are kept." in text and "model-index" not in text
    assert "Only the tower was trained" in text and "- checkpointing: True" in text and "describe 1" in text
    (out / "README.md").write_text(text.replace("library_name:", "license: apache-2.0\nlibrary_name:"))
    assert origin(out) == (None, "apache-2.0")


@pytest.mark.parametrize("command", [align, posttrain])
def test_help_explains_every_option(command, capsys):
    assert main("train", command, ["--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    options = [name for name in inspect.signature(command).parameters if name not in ("objective", "loop")]
    for option in [*options, *(f"loop.{field.name}" for field in fields(LoopConfig))]:
        assert f"--{option} " in told, option
    for doc, groups in ((command.__doc__, "objective:|loop:"), (LoopConfig.__doc__, "-")):
        body = re.split("Args:|Attributes:", doc or "")[1]
        for line in re.findall(r"^ +(?!" + groups + r")\w+: (.*)", body, re.MULTILINE):
            assert " ".join(line.split())[:40] in told, line


def test_push_uploads_the_published_folder_and_once_more_when_nothing_changed(
    trained_stage, project, half, monkeypatch, capsys
):
    asked: list = []

    class Hub:
        def create_repo(self, repo, **given):
            asked.append((repo, given))
            return SimpleNamespace(repo_id=f"me/{repo}", __str__=None)

        def upload_folder(self, **given):
            files = {path.name for path in Path(given["folder_path"]).iterdir()}
            asked.append((given["repo_id"], files))

    monkeypatch.setattr(hub, "HfApi", Hub)
    monkeypatch.setattr(hub, "get_token", lambda: "t")
    out, _ = trained_stage
    capsys.readouterr()
    assert main("train.posttrain", posttrain, words(project, half, out, "--push_to_hub", "taste")) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["unchanged"] and "pushed" in answer
    assert asked[0] == ("taste", {"private": True, "exist_ok": True})
    assert (
        asked[1][0] == "me/taste" and {"README.md", "model.safetensors", "config.json", "manifest.json"} <= asked[1][1]
    )


def test_push_fails_in_one_line(trained_stage, project, half, monkeypatch, capsys):
    out, _ = trained_stage
    monkeypatch.setattr(hub, "get_token", lambda: None)
    assert main("train.posttrain", posttrain, words(project, half, out, "--push_to_hub", "me/taste")) == 2
    assert capsys.readouterr().err == (
        "error: push_to_hub me/taste: nobody is logged in; set HF_TOKEN or run `hf auth login` first\n"
    )
    monkeypatch.setattr(hub, "get_token", lambda: "t")
    assert main("train.posttrain", posttrain, words(project, half, out, "--push_to_hub", "a/b/c")) == 2
    assert "push_to_hub 'a/b/c' is no repository name" in capsys.readouterr().err
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # so that the real client refuses without asking anybody
    assert main("train.posttrain", posttrain, words(project, half, out, "--push_to_hub", "me/taste")) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and "is complete but was not pushed to me/taste (" in err


def test_qlora_is_refused_before_anything_is_read_where_it_cannot_run(project, half, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main("train.posttrain", posttrain, words(project, half, tmp_path / "out", "--language", "qlora")) == 2
    assert "language 'qlora' needs a CUDA device and this machine has none; use lora" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.work").exists()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(qlora.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"needs bitsandbytes, which is not installed; `pip install navigator\[qlora\]`"
    ):
        qlora.check_quantiser()


def test_qlora_trains_adapters_over_four_bits_and_publishes_what_it_trained(stock, tmp_path, monkeypatch):
    """bitsandbytes has kernels for CPUs too; what is published answers as the 4-bit model did, and is an ordinary one."""
    bnb = pytest.importorskip("bitsandbytes", reason="the extra qlora is not installed")
    monkeypatch.setattr("train.parts.check_quantiser", lambda: torch.device("cpu"))
    world = training.make_world(stock)
    model = world.recommender.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parts, lora = split_parts(model, "qlora", 2)
    assert isinstance(lora, LoraModel) and all(".lora_" in name for name in parts["language"])
    small = [m for m in model.model.language_model.layers.modules() if isinstance(m, bnb.nn.Linear4bit)]
    assert len(small) == 2 * 7 and all(m.weight.dtype == torch.uint8 for m in small)
    assert weights_per_token(model.model.language_model.layers)["frozen"] == sum(
        m.in_features * m.out_features for m in small
    )
    with torch.no_grad():
        for parameter in parts["language"].values():
            parameter.normal_(std=0.1)
    answer = world.recommender.query_vectors([[1, 2, 3], [4]])
    whole = merged(model, lora, "qlora")
    assert world.recommender.query_vectors([[1, 2, 3], [4]]) == pytest.approx(answer, abs=2e-2)
    assert whole.state_dict().keys() == before.keys()
    assert {value.dtype for value in whole.state_dict().values()} == {torch.float32}
