"""The Qwen2.5-VL layout computes what the Llama computes: on a tiny random one, and on the real GGUF where cached."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, Qwen2_5_VLForConditionalGeneration

from navigator.assets import cache_dir
from navigator.assets.backbone import load_llama, to_qwen_layout

GGUF = cache_dir() / "gguf" / "SmolLM2-135M-Instruct.Q4_1.gguf"
BACKBONE = cache_dir() / "backbone"
PROMPTS = ("A red bicycle leans against the wall of", "Three")  # of different lengths, so that one row is padded


class WordTokenizer:
    """As much of a tokenizer as the conversion touches."""

    def __init__(self, size: int):
        self.size, self.added = size, {}

    def __len__(self) -> int:
        return self.size + len(self.added)

    def add_special_tokens(self, tokens: dict[str, Any], replace_extra_special_tokens: bool) -> None:
        self.added = {token: self.size + i for i, token in enumerate(tokens["additional_special_tokens"])}

    def convert_tokens_to_ids(self, token: str) -> int:
        return self.added[token]


def tiny_llama() -> Any:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=50, hidden_size=64, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64, tie_word_embeddings=True, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 1e5}, bos_token_id=1, eos_token_id=2, pad_token_id=2,
        initializer_range=0.5,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def logits(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=mask).logits[mask.bool()]


def test_a_tiny_llama_gives_the_same_logits_in_the_new_layout():
    llama, tokenizer = tiny_llama(), WordTokenizer(50)
    model: Any = to_qwen_layout(llama, tokenizer)  # type: ignore[arg-type]
    ids = torch.tensor([[5, 6, 7, 8, 9], [2, 2, 11, 12, 13]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    ours, theirs = logits(model, ids, mask), logits(llama, ids, mask)
    assert theirs.std() > 0.1
    assert (ours[:, :50] - theirs).abs().max() <= 1e-4
    embedding = model.get_input_embeddings().weight
    assert torch.allclose(embedding[50:], llama.get_input_embeddings().weight.mean(0).expand(4, -1), atol=1e-6)
    assert model.config.image_token_id == 52 and model.config.text_config.rope_parameters["mrope_section"] == [4, 6, 6]


def test_the_layout_is_the_same_every_time():
    first, second = (to_qwen_layout(tiny_llama(), WordTokenizer(50)).state_dict() for _ in range(2))  # type: ignore[arg-type]
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def converted() -> tuple[Any, Any]:
    if not (BACKBONE / "manifest.json").is_file() or not GGUF.is_file():
        pytest.skip(f"no converted backbone in {cache_dir()}: run `navigator fetch weights` (make test does)")
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(BACKBONE, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(BACKBONE)


def test_the_real_logits_equal_the_gguf_read_as_llama(converted: tuple[Any, Any]):
    model, tokenizer = converted
    llama, original = load_llama(Path(GGUF))
    tokenizer.padding_side = original.padding_side = "left"
    batch, theirs = (t(list(PROMPTS), padding=True, return_tensors="pt") for t in (tokenizer, original))
    assert torch.equal(batch.input_ids, theirs.input_ids) and batch.attention_mask[1, 0] == 0
    got = logits(model, batch.input_ids, batch.attention_mask)
    wanted = logits(llama, batch.input_ids, batch.attention_mask)
    assert (got[:, : wanted.shape[1]] - wanted).abs().max() <= 1e-4


def test_the_real_tokenizer_round_trips_and_keeps_its_chat_template(converted: tuple[Any, Any]):
    model, tokenizer = converted
    text = "  Two  spaces, naïve 猫 and 1234\n\ttabs"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    for name in ("vision_start", "vision_end", "image", "video"):
        token = getattr(model.config, f"{name}_token_id")
        spelled = f"<|{name}_pad|>" if name in ("image", "video") else f"<|{name}|>"
        assert tokenizer(spelled).input_ids == [token]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert len(tokenizer) == model.config.text_config.vocab_size == 49156
