"""The counted cost of a request: tokens by hand, weights against the modules, FLOPs against torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.speed.count import pass_weights, request, tower_weights, weight_floor_bytes
from bench.speed.models import build_models, use_attention
from bench.speed.options import Options, Point
from bench.speed.plain import Plain
from bench.speed.prompts import make_prompt
from bench.speed.roofline import Roof, measure_roof
from bench.speed.ways import WAYS
from navigator.shapes import SHAPES, Shape, Vision, cut

SMALL = Shape(32, 3, 4, 2, 8, 48, 151_936, (0, 1), (2, 1, 1), True, Vision(3, 32, 2, 48))
POINT = Point("small", 3, 2, 64, 9, 3)
ISSUE = Point("qwen3-vl-2b", 20, 20, 448, 64, 1)


def test_tokens_of_the_issues_request():
    """14 x 14 tokens a picture of 448 pixels and 7 x 7 of 224, two more around each; k an item vector."""
    read = {name: way.read(ISSUE) for name, way in WAYS.items()}
    assert read == {
        "native": 64 + 40 * 198, "native-features": 64 + 40 * 198, "native-224": 64 + 40 * 51, "swapped-4": 64 + 160,
        "swapped": 104, "swapped-prefix": 52,
    }  # fmt: skip
    assert WAYS["swapped-prefix"].kept(ISSUE) == 32 + 20


@pytest.mark.parametrize("name", ["qwen3-vl-2b", "qwen3-vl-8b"])
def test_counted_weights_are_those_of_the_modules(name):
    shape = cut(SHAPES[name], 2)
    with torch.device("meta"):
        from transformers import Qwen3VLForConditionalGeneration

        from navigator.shapes import stock_config

        stock = Qwen3VLForConditionalGeneration(stock_config(shape))
    assert tower_weights(shape, WAYS["native"], 512) == sum(p.numel() for p in stock.model.visual.parameters())
    language = sum(p.numel() for p in stock.model.language_model.parameters())
    assert pass_weights(shape) == language + (
        0 if shape.tied else stock.lm_head.weight.numel() - shape.vocab_size * 4096
    )


def test_counted_weights_of_an_item_tower():
    models = build_models(SMALL, [WAYS["swapped-4"]], 16, torch.device("cpu"), torch.float32, 0)
    counted = tower_weights(SMALL, WAYS["swapped-4"], 16)
    assert counted == sum(p.numel() for p in models["swapped-4"].model.visual.parameters())
    assert tower_weights(SMALL, WAYS["native-features"], 16) == 0


@pytest.mark.parametrize("name", WAYS)
def test_counted_flops_are_those_that_torch_counts(name):
    """Eager attention multiplies every pair and then masks; ours counts the pairs that are seen."""
    way = WAYS[name]
    models = build_models(SMALL, [way], 16, torch.device("cpu"), torch.float32, 0)
    use_attention(models["stock"], "eager")
    runner = Plain(models[name], way, make_prompt(models[name], way, POINT, 1, 16, 0), POINT.generated)
    runner.put()
    with FlopCounterMode(display=False) as reading:
        runner.prefill()
    with FlopCounterMode(display=False) as writing:
        runner.decode()
    cost = request(SMALL, way, POINT, 16, 4)
    new, past = way.read(POINT), way.kept(POINT)
    unseen = new * (past + new) - (new * past + new * (new + 1) // 2)
    masked = 4 * SMALL.num_attention_heads * SMALL.head_dim * unseen * SMALL.num_hidden_layers
    assert cost["tower"].flops + cost["prefill"].flops + masked == reading.get_total_flops()
    assert cost["decode"].flops == writing.get_total_flops()


def test_bytes_by_hand():
    """One written token: the weights once, 104 embeddings, keys and values of 104 tokens, and 40 vectors through the tower."""
    shape, way = SHAPES["qwen3-vl-2b"], WAYS["swapped"]
    cost = request(shape, way, ISSUE, 512, 2)
    assert cost["prefill"].bytes == 2 * (pass_weights(shape) + 104 * 2048 + 28 * 2 * 8 * 128 * 104)
    assert cost["tower"].bytes == 2 * (tower_weights(shape, way, 512) + 40 * 512)
    assert cost["decode"].bytes == cost["decode"].flops == 0
    assert weight_floor_bytes(shape, way, ISSUE, 512, 2) == 2 * (tower_weights(shape, way, 512) + pass_weights(shape))
    more = Point("qwen3-vl-2b", 20, 20, 448, 64, 3)
    kept = 28 * 2 * 8 * 128 * ((104 + 1) + (104 + 2))
    assert request(shape, way, more, 512, 2)["decode"].bytes == 2 * (2 * pass_weights(shape) + 2 * 2048 + kept)


def test_the_roof_is_the_slower_of_the_two_and_is_measured_here(monkeypatch):
    monkeypatch.setattr("bench.speed.roofline.COPIED", {"cpu": 1 << 24})
    monkeypatch.setattr("bench.speed.roofline.SIZE", {"cpu": 256})
    roof = Roof(flops_per_s=100.0, bytes_per_s=10.0)
    assert roof.seconds(200, 10) == 2 and roof.seconds(10, 50) == 5
    here = measure_roof(torch.device("cpu"), torch.float32)
    assert 1e8 < here.flops_per_s < 1e14 and 1e8 < here.bytes_per_s < 1e13


def test_a_grid_is_a_star_or_every_combination():
    base = dict(
        shape=["s"], out="o", text=4, generated=1, ways=["native"], dim=8, repeats=1, warm_up=0, seconds=1.0, batches=[],
        batch_seconds=1.0, dtype="float32", device="cpu", attention="sdpa", cuda_graphs=False, compile=False, seed=0,
    )  # fmt: skip
    lists = dict(histories=[2, 5], candidates=[3], sides=[64, 32, 96])
    star = Options(**base, **lists, cross=False).points("s")  # type: ignore[arg-type]
    assert [(p.history, p.candidates, p.side) for p in star] == [(2, 3, 64), (5, 3, 64), (2, 3, 32), (2, 3, 96)]
    every = Options(**base, **lists, cross=True).points("s")  # type: ignore[arg-type]
    assert len(every) == 6 and every[0] == star[0] and len(set(every)) == 6
