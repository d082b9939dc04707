"""The swap on tiny random models of both kinds: what it changes, what it must not change, and its errors."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor

from navigator.contracts import ItemVectors, UserError
from navigator.swap import open_swapped, swap

DIM = 6
ITEM = "<|image_pad|>"


@pytest.fixture(scope="module", params=[1, 3])
def swapped(backbone, request):
    """Swapped model and processor, with heads and DeepStack that are not zero, so that every path matters."""
    model, processor = swap(str(backbone), DIM, "enc-a", tokens_per_item=request.param)
    torch.manual_seed(1)
    for layer in (model.retrieval_head, model.ranking_head, *model.model.visual.deepstack):
        torch.nn.init.normal_(layer.weight, std=0.5)
    return model, processor


def unit_vectors(n: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_without_items_the_logits_equal_the_unswapped_models(backbone, swapped):
    model, processor = swapped
    stock = AutoModelForImageTextToText.from_pretrained(backbone).eval()
    inputs = processor(["red flag of", "blue cat"])
    del inputs["mm_token_type_ids"]
    ours = model(**inputs).logits
    theirs = stock(**inputs).logits
    torch.testing.assert_close(ours[..., : theirs.shape[-1]], theirs, atol=1e-6, rtol=0)


def test_items_change_the_logits(swapped):
    model, processor = swapped
    text = f"red {ITEM} flag"
    a, b = (model(**processor(text, unit_vectors(1, seed))).logits[0, -1] for seed in (1, 2))
    assert (a - b).abs().max() > 1e-3


def test_deepstack_reaches_the_layers(swapped):
    model, processor = swapped
    if not model.model.visual.deepstack:
        pytest.skip("Qwen2.5-VL has no DeepStack")
    inputs = processor(f"red {ITEM} flag", unit_vectors(1))
    before = model(**inputs).logits
    torch.nn.init.zeros_(model.model.visual.deepstack[1].weight)
    assert (model(**inputs).logits - before).abs().max() > 1e-4


def test_padded_batches_equal_single_rows_on_either_side(swapped):
    model, processor = swapped
    texts, vectors = [f"red {ITEM} {ITEM} flag", f"{ITEM} cat"], unit_vectors(3)
    alone = [
        model(**processor(texts[0], vectors[:2])).logits[0, -1],
        model(**processor(texts[1], vectors[2:])).logits[0, -1],
    ]
    left = processor(texts, vectors)
    torch.testing.assert_close(model(**left).logits[:, -1], torch.stack(alone), atol=2e-5, rtol=1e-4)
    right = dict(left)
    for key in ("input_ids", "attention_mask"):
        rows = [torch.cat([row[m == 1], row[m == 0]]) for row, m in zip(left[key], left["attention_mask"], strict=True)]
        right[key] = torch.stack(rows)
    last = right["attention_mask"].sum(1) - 1
    got = model(**right).logits[torch.arange(2), last]
    torch.testing.assert_close(got, torch.stack(alone), atol=2e-5, rtol=1e-4)


def test_generate_continues_as_greedy_forward_does(swapped):
    model, processor = swapped
    inputs = processor(f"red {ITEM} {ITEM} flag", unit_vectors(2))
    out = model.generate(**inputs, max_new_tokens=4, do_sample=False, eos_token_id=None)
    assert out.shape[1] == inputs["input_ids"].shape[1] + 4
    ids = inputs["input_ids"]
    for _ in range(4):
        mask = torch.ones_like(ids)
        step = dict(inputs) | {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": torch.zeros_like(ids)}
        ids = torch.cat([ids, model(**step).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert out.tolist() == ids.tolist()


def test_saves_and_loads_as_a_hugging_face_folder(swapped, tmp_path):
    model, processor = swapped
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded, again = AutoModel.from_pretrained(tmp_path).eval(), AutoProcessor.from_pretrained(tmp_path)
    text, vectors = f"red {ITEM} flag", unit_vectors(1)
    torch.testing.assert_close(loaded(**again(text, vectors)).logits, model(**processor(text, vectors)).logits)
    assert (again.encoder, again.dim, again.tokens_per_item) == ("enc-a", DIM, processor.tokens_per_item)
    assert again.chat_template == processor.chat_template


def test_chat_template_shows_items(swapped):
    model, processor = swapped
    store = ItemVectors(["a", "b"], unit_vectors(2), "enc-a", True)
    processor.attach(store)
    content = [{"type": "text", "text": "red "}, {"type": "item", "item": "b"}, {"type": "text", "text": " flag"}]
    message = [{"role": "user", "content": content}]
    inputs = processor.apply_chat_template(message, add_generation_prompt=True, tokenize=True)
    assert (inputs["input_ids"] == processor.item_token_id).sum() == processor.tokens_per_item
    np.testing.assert_allclose(inputs["pixel_values"].numpy(), store.matrix[1:])
    assert model.generate(**inputs, max_new_tokens=2).shape[1] > inputs["input_ids"].shape[1]
    with pytest.raises(UserError, match="attach an encoder"):
        processor.apply_chat_template([{"role": "user", "content": [{"type": "image", "image": b""}]}], tokenize=True)


def test_mismatch_is_an_error_naming_both_counts(swapped):
    model, processor = swapped
    with pytest.raises(UserError, match=r"2 item placeholders, but 1 items"):
        processor(f"red {ITEM} {ITEM}", unit_vectors(1))
    inputs = processor(f"red {ITEM} {ITEM}", unit_vectors(2))
    k = processor.tokens_per_item
    with pytest.raises(ValueError, match=rf"tokens: {2 * k}, features: {k}\b"):
        model(
            **dict(inputs)
            | {"pixel_values": inputs["pixel_values"][:1], "image_grid_thw": inputs["image_grid_thw"][:1]}
        )
    with pytest.raises(ValueError, match=f"announces {2 * k} tokens, but 1 items"):
        model(**dict(inputs) | {"pixel_values": inputs["pixel_values"][:1]})


def rank_inputs(processor, history: int, vectors: np.ndarray) -> dict:
    inputs = processor.requests([history], candidates=len(vectors) - history)
    return inputs | {"pixel_values": torch.from_numpy(vectors), "candidates": torch.from_numpy(vectors[None, history:])}


def test_ranking_ignores_order_and_company_of_candidates(swapped):
    model, processor = swapped
    vectors, base = unit_vectors(7), torch.from_numpy(unit_vectors(1, 9))
    scores, query = model.rank(base, **rank_inputs(processor, 3, vectors))
    shuffled, _ = model.rank(base, **rank_inputs(processor, 3, vectors[[0, 1, 2, 6, 4, 3, 5]]))
    torch.testing.assert_close(shuffled[0], scores[0, torch.tensor([3, 1, 0, 2])], atol=1e-5, rtol=1e-5)
    one, alone_query = model.rank(base, **rank_inputs(processor, 3, vectors[[0, 1, 2, 5]]))
    torch.testing.assert_close(one[0], scores[0, 2:3], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone_query, query, atol=1e-5, rtol=1e-5)
    plain = processor.requests([3]) | {"pixel_values": torch.from_numpy(vectors[:3])}
    torch.testing.assert_close(model.retrieve(base, **plain), query, atol=1e-5, rtol=1e-5)


def test_ranking_a_padded_batch_equals_single_requests(swapped):
    model, processor = swapped
    vectors, bases = unit_vectors(10), torch.from_numpy(unit_vectors(2, 9))
    together = processor.requests([3, 1], candidates=3) | {"pixel_values": torch.from_numpy(vectors)}
    candidates = torch.from_numpy(np.stack([vectors[3:6], vectors[7:10]]))
    scores, _ = model.rank(bases, candidates, **together)
    for row, (history, part) in enumerate([(3, vectors[:6]), (1, vectors[6:])]):
        alone, _ = model.rank(bases[row : row + 1], **rank_inputs(processor, history, part))
        torch.testing.assert_close(scores[row : row + 1], alone, atol=1e-5, rtol=1e-5)


def test_a_fresh_models_query_is_where_it_started(backbone):
    model, processor = swap(str(backbone), DIM, "enc-a")
    base = torch.from_numpy(unit_vectors(2, 3))
    inputs = processor.requests([2, 1]) | {"pixel_values": torch.from_numpy(unit_vectors(3))}
    torch.testing.assert_close(model.retrieve(base, **inputs), base, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("size", "layers", "tie"), [("2B", 4, True), ("4B", 5, True), ("8B", 6, False)])
def test_qwen3_vl_layouts_are_swapped_key_for_key(tmp_path, make_backbone, size, layers, tie):
    """The three sizes differ to the swap in depth and in whether the head is tied (8B is not)."""
    stock = AutoModelForImageTextToText.from_pretrained(make_backbone(tmp_path / size, "qwen3_vl", layers, tie))
    model, _ = swap(str(tmp_path / size), DIM, "e")
    kept = {
        k
        for k in model.state_dict()
        if not k.startswith(("model.visual.", "retrieval_head.", "ranking_head.", "query_start."))
    }
    assert kept == {k for k in stock.state_dict() if not k.startswith("model.visual.")}
    for key in kept:
        rows = stock.state_dict()[key].shape[0]
        assert torch.equal(model.state_dict()[key][:rows], stock.state_dict()[key]), key


def test_bad_input_says_what_is_allowed(backbone, tmp_path, swapped):
    with pytest.raises(UserError, match="allowed are 1 to 64"):
        swap(str(backbone), DIM, "e", tokens_per_item=0)
    with pytest.raises(UserError, match="cannot load backbone"):
        swap(str(tmp_path / "nothing"), DIM, "e")
    with pytest.raises(UserError, match="not a swapped one"):
        open_swapped(backbone)
    with pytest.raises(UserError, match="not a model folder"):
        open_swapped(tmp_path)
    _, processor = swapped
    with pytest.raises(UserError, match=r"enc-b.*enc-a"):
        processor.attach(ItemVectors(["a"], unit_vectors(1), "enc-b", True))
    model, _ = swap(str(backbone), DIM, "e", tokens_per_item=2)
    model.save_pretrained(tmp_path / "m")
    swap(str(backbone), DIM, "e", tokens_per_item=1)[1].save_pretrained(tmp_path / "m")
    with pytest.raises(UserError, match="writes 1 tokens an item, the tower 2"):
        open_swapped(tmp_path / "m")
    assert json.loads((Path(tmp_path) / "m" / "config.json").read_text())["model_type"].startswith("navigator_")
