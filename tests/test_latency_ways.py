"""The six ways of `navigator-bench latency`: each is the library's own forward, and the path for CUDA graphs says the same."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.speed.captured import Assembled
from bench.speed.models import build_models, use_attention
from bench.speed.options import Point
from bench.speed.plain import Plain
from bench.speed.prompts import Prompt, make_prompt
from bench.speed.ways import WAYS
from navigator.contracts import UserError
from navigator.shapes import Shape, Vision
from navigator.tower import ItemTower

SMALL = Shape(32, 3, 4, 2, 8, 48, 151_936, (0, 1), (2, 1, 1), True, Vision(3, 32, 2, 48))
POINT = Point("small", 3, 2, 64, 9, 4)
DIM = 16


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    built = build_models(SMALL, list(WAYS.values()), DIM, torch.device("cpu"), torch.float32, 0)
    with torch.no_grad():  # DeepStack of a fresh item tower is zero; here it must show when it is lost
        for name in ("swapped-4", "swapped"):
            for level in built[name].model.visual.deepstack:
                level.weight.normal_(std=0.1)
    return built


def prompt_of(models: dict[str, Any], name: str, point: Point = POINT, batch: int = 1) -> Prompt:
    return make_prompt(models[name], WAYS[name], point, batch, DIM, seed=0)


def answer(runner: Plain | Assembled) -> tuple[torch.Tensor, torch.Tensor]:
    runner.put()
    runner.prefill()
    return runner.logits, runner.decode()


def plain(models: dict[str, Any], name: str, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    return answer(Plain(models[name], WAYS[name], prompt_of(models, name, batch=batch), POINT.generated))


@pytest.mark.parametrize("name", ["native", "native-224", "swapped", "swapped-4"])
def test_a_way_writes_what_generate_writes(models, name):
    model, prompt = models[name], prompt_of(models, name)
    kinds = (prompt.ids == model.config.image_token_id).int() if name.startswith("native") else prompt.ids * 0
    written = model.generate(
        input_ids=prompt.ids, attention_mask=torch.ones_like(prompt.ids), pixel_values=prompt.shown, image_grid_thw=prompt.grid,
        mm_token_type_ids=kinds, max_new_tokens=POINT.generated, do_sample=False, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    _, tokens = plain(models, name)
    assert torch.equal(written[:, prompt.ids.shape[1] :], tokens)


def test_what_is_timed_is_the_swaps_own_tower_and_one_language_model(models):
    assert type(models["swapped"].model.visual) is ItemTower and models["swapped"].tokens_per_item == 1
    assert models["swapped-4"].tokens_per_item == 4 and models["swapped-prefix"] is models["swapped"]
    language = {id(model.model.language_model) for model in models.values()}
    assert len(language) == 1 and len({id(model.lm_head) for model in models.values()}) == 1


def test_stored_features_give_what_the_tower_gives_inside_the_request(models):
    stock, native = models["stock"], prompt_of(models, "native")
    seen = stock.model.visual(native.shown, grid_thw=native.grid)
    stored = torch.stack([seen.pooler_output, *seen.deepstack_features])
    given = replace(prompt_of(models, "native-features"), shown=stored)
    logits, tokens = answer(Plain(models["native-features"], WAYS["native-features"], given, POINT.generated))
    expected, written = plain(models, "native")
    assert torch.equal(logits, expected) and torch.equal(tokens, written)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_kept_history_changes_no_answer(models, batch):
    logits, tokens = plain(models, "swapped-prefix", batch)
    expected, written = plain(models, "swapped", batch)
    assert torch.allclose(logits, expected, atol=1e-5) and torch.equal(tokens, written)
    prompt = prompt_of(models, "swapped-prefix")
    assert (
        prompt.past == 4 + 3 and prompt.ids.shape[1] == 2 + 5 and len(prompt.shown) == 2
    )  # 4 words + 3 items are kept


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", WAYS)
def test_the_path_for_graphs_says_the_same(models, name, attention):
    expected, written = plain(models, name, batch=2)
    use_attention(models["stock"], attention)
    try:
        given = prompt_of(models, name, batch=2)
        logits, tokens = answer(Assembled(models[name], WAYS[name], given, POINT.generated))
    finally:
        use_attention(models["stock"], "sdpa")
    assert torch.allclose(logits, expected, atol=1e-5) and torch.equal(tokens, written)
    assert expected.std() > 0.05


class _NoQuestions(TorchDispatchMode):
    """Refuses what makes the host wait for the device, which a CUDA graph cannot hold."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        asks = any(word in name for word in ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique"))
        by_mask = "index" in name and any(
            isinstance(part, torch.Tensor) and part.dtype == torch.bool
            for argument in args[1:] for part in (argument if isinstance(argument, list) else [argument])
        )  # fmt: skip
        assert not asks and not by_mask, f"{name} asks the device"
        done = func(*args, **(kwargs or {}))
        assert "lift_fresh" not in name or not done.numel(), "a number goes from the host to the device"
        return done


@pytest.mark.parametrize("name", WAYS)
def test_the_path_for_graphs_asks_the_device_nothing(models, name):
    runner = Assembled(models[name], WAYS[name], prompt_of(models, name), POINT.generated)
    runner.put()
    with _NoQuestions():
        runner.prefill()
        runner.decode()
    plainly = Plain(models[name], WAYS[name], prompt_of(models, name), POINT.generated)
    plainly.put()
    with pytest.raises(AssertionError, match="the device"), _NoQuestions():
        plainly.prefill()


def test_graphs_and_flash_attention_are_refused_without_a_gpu(models):
    runner = Assembled(models["swapped"], WAYS["swapped"], prompt_of(models, "swapped"), 1)
    with pytest.raises(UserError, match="need a CUDA device; leave out --cuda_graphs"):
        runner.capture()
    with pytest.raises(UserError, match="flash_attention_2 needs a GPU; allowed here are sdpa and eager"):
        use_attention(models["stock"], "flash_attention_2")


@pytest.mark.gpu
@pytest.mark.parametrize("name", WAYS)
def test_a_captured_way_says_the_same(name):
    device = torch.device("cuda")
    built = build_models(SMALL, list(WAYS.values()), DIM, device, torch.float32, 0)
    prompt = make_prompt(built[name], WAYS[name], POINT, 2, DIM, seed=0)
    expected, written = answer(Plain(built[name], WAYS[name], prompt, POINT.generated))
    runner = Assembled(built[name], WAYS[name], prompt, POINT.generated).capture()
    for _ in range(2):  # a replay leaves nothing behind
        logits, tokens = answer(runner)
        assert torch.allclose(logits, expected, atol=1e-4) and torch.equal(tokens, written)
