"""Backbones of a published shape with random weights: their sizes, that they swap, run and say what they cannot be."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer, Qwen3VLForConditionalGeneration

from navigator import shapes
from navigator.contracts import ItemVectors, UserError, read_manifest
from navigator.encode_commands import resolve_backbone
from navigator.model_commands import swap as swap_command
from navigator.shapes import SHAPES, Shape, Vision, cut, named_shape, random_backbone, random_stock, stock_config
from navigator.swap import swap

TINY = Shape(32, 3, 4, 2, 8, 48, 100, (5, 11), (2, 1, 1))


@pytest.fixture(scope="module")
def words(make_backbone, tmp_path_factory):
    return make_backbone(tmp_path_factory.mktemp("words") / "b", "qwen2_5_vl")


def test_a_shape_becomes_a_stock_checkpoint_once(words, tmp_path):
    out = random_backbone(TINY, words, tmp_path / "s")
    stock: Any = AutoModelForImageTextToText.from_pretrained(out)
    assert stock.config.model_type == "qwen3_vl"
    text = stock.config.text_config
    assert stock.dtype == torch.bfloat16
    assert (text.hidden_size, text.num_hidden_layers, text.vocab_size, text.intermediate_size) == (32, 3, 100, 48)
    assert stock.lm_head.weight is stock.model.language_model.embed_tokens.weight
    assert stock.config.vision_config.deepstack_visual_indexes == [5, 11]
    assert sum(p.numel() for p in stock.model.visual.parameters()) < 200_000
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.convert_tokens_to_ids("<|image_pad|>") == stock.config.image_token_id == 5
    written = (out / "model.safetensors").stat().st_mtime_ns
    random_backbone(TINY, words, tmp_path / "s")
    assert (out / "model.safetensors").stat().st_mtime_ns == written


def test_a_shape_is_swapped_with_its_deepstack_levels_and_runs(words, tmp_path):
    model, processor = swap(str(random_backbone(TINY, words, tmp_path / "s")), 6, "enc", tokens_per_item=2)
    assert len(model.model.visual.deepstack) == 2
    inputs = processor("red <|image_pad|> flag", torch.eye(1, 6).numpy())
    logits = model(**inputs).logits
    assert logits.shape == (1, 4, 100) and bool(logits.isfinite().all())
    assert logits.std() > 0


def test_the_command_takes_a_shape_for_a_backbone(words, tmp_path, monkeypatch, project):
    monkeypatch.setenv("NAVIGATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(SHAPES, "tiny", TINY)
    monkeypatch.setattr("navigator.assets.asset", lambda name: words)
    answer = swap_command(tmp_path / "m", "shape:tiny:1", vectors=project / "vectors")
    assert answer["dim"] == ItemVectors.open(project / "vectors").dim
    made: Any = AutoModelForImageTextToText.from_pretrained(tmp_path / "m")
    assert made.config.text_config.num_hidden_layers == 1
    source = read_manifest(tmp_path / "cache" / "shapes" / "tiny-1", "backbone", "")
    assert source.config["shape"]["num_hidden_layers"] == 1


def test_the_published_shape_has_its_published_size(words):
    """On the meta device: 1.72 billion parameters of language, and the tower that is thrown away next to nothing."""
    settings: Any = shapes._settings(SHAPES["qwen3-vl-2b"], words)
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(settings)
    count = sum(p.numel() for p in model.model.language_model.parameters())
    attention, feed_forward, norms = 2 * 2048 * 2048 + 2 * 2048 * 1024, 3 * 2048 * 6144, 2 * 2048 + 2 * 128
    assert count == 151_936 * 2048 + 28 * (attention + feed_forward + norms) + 2048
    assert sum(p.numel() for p in model.parameters()) - count < 2e6
    assert len(settings.vision_config.deepstack_visual_indexes) == 3
    assert settings.text_config.rope_parameters["mrope_section"] == [24, 20, 20]


@pytest.mark.parametrize(
    ("name", "billions"), [("qwen3-vl-2b", 2.13), ("qwen3-vl-4b", 4.44), ("qwen3-vl-8b", 8.77)]
)  # fmt: skip
def test_a_whole_model_has_its_published_size(name, billions):
    """Parameters as the published checkpoints have them, vision tower included."""
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(stock_config(SHAPES[name]))
    model.tie_weights()
    assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(billions, abs=0.005)
    assert model.config.image_token_id == 151_655 and model.config.tie_word_embeddings == SHAPES[name].tied


def test_a_cut_shape_keeps_the_proportions():
    two = named_shape("qwen3-vl-2b:2")
    assert (two.num_hidden_layers, two.vision.depth, two.deepstack) == (2, 2, (0,))
    half = named_shape("qwen3-vl-8b:18")
    assert (half.vision.depth, half.deepstack) == (14, (4, 8)) and half.vision.hidden_size == 1152
    assert named_shape("qwen3-vl-4b:36") == SHAPES["qwen3-vl-4b"]


def test_a_stock_model_is_drawn_where_it_runs():
    tiny = cut(Shape(**{**vars(TINY), "deepstack": (0, 1), "vocab_size": 151_936, "vision": Vision(3, 32, 2, 48)}), 2)
    model = random_stock(tiny, torch.device("cpu"), torch.bfloat16, seed=3)
    assert model.dtype == torch.bfloat16 and len(model.model.visual.blocks) == 2 and not model.training
    again = random_stock(tiny, torch.device("cpu"), torch.bfloat16, seed=3)
    assert torch.equal(model.lm_head.weight, again.lm_head.weight) and float(model.lm_head.weight.float().std()) > 0.01


def test_bad_shapes_say_what_is_allowed(words, tmp_path):
    assert named_shape("qwen3-vl-2b:2").num_hidden_layers == 2
    for name, message in (
        ("nope", "'nope'; allowed are qwen3-vl-2b"),
        ("qwen3-vl-2b:0", "allowed are 1 to 28"),
        ("qwen3-vl-2b:x", "layers 'x'"),
        ("qwen3-vl-2b:29", "layers '29'"),
        ("qwen3-vl-2b:", "layers ''"),
    ):
        with pytest.raises(UserError, match=message):
            named_shape(name)
    with pytest.raises(UserError, match="'nope'"):
        resolve_backbone("shape:nope")
    with pytest.raises(UserError, match="has 18 tokens, the shape 10"):
        random_backbone(Shape(**{**vars(TINY), "vocab_size": 10}), words, tmp_path / "s")
