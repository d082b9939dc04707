"""What the language model is given to read, in one place: special tokens, the chat template and the words of each prompt.

Training, serving and the bench must agree on them. Some items never take part in the describe task, so that
`navigator-bench language` can ask for descriptions that no training of ours has seen.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from navigator.contracts.catalog import held_out

RETRIEVE_TOKEN = "<|retrieve|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] in ('item', 'image') %}{{ item_token }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Words first: language models rest much attention on the first token, which must not be a strange one.
DESCRIBE = "Item:"
DESCRIBE_TOKENS = 48  # of a text, the end not counted
HELD_OUT_FOR_LANGUAGE = 0.1
NOT_ASKED = -100


def request_words(title: str = "") -> str:
    """``Board: TITLE`` and ``Saved:``, or only the latter without a title."""
    return f"Board: {title}\nSaved:" if title else "Saved:"


def describe_prompt(processor: Any) -> list[int]:
    """Token ids of ``Item:`` and one item."""
    words = processor.tokenizer.encode(DESCRIBE, add_special_tokens=False)
    return words + [processor.item_token_id] * processor.tokens_per_item


def describe_inputs(processor: Any, texts: Sequence[str]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The describe task's rows: ``Item:``, the item's tokens, then its text and the end of turn.

    Args:
        processor: a NavigatorProcessor.
        texts: one text an item; their first DESCRIBE_TOKENS tokens are read.

    Returns:
        model inputs for B items but for their `pixel_values`, and labels (B, L): the text's tokens and the end, each at
        its own position (not yet shifted), NOT_ASKED elsewhere.
    """
    tokenizer, prompt = processor.tokenizer, describe_prompt(processor)
    words = [tokenizer.encode(" " + text, add_special_tokens=False)[:DESCRIBE_TOKENS] for text in texts]
    answers = [[*own, tokenizer.eos_token_id] for own in words]
    inputs = processor.pad([prompt + answer for answer in answers])
    length = inputs["input_ids"].shape[1]
    labels = torch.tensor([[NOT_ASKED] * (length - len(answer)) + answer for answer in answers])
    return inputs | {"image_grid_thw": processor.grid(len(texts))}, labels


def held_out_for_language(item_ids: Sequence[str]) -> np.ndarray:
    """(n,) bool: items, chosen by their ids alone, that no describe example may show."""
    return held_out(item_ids, HELD_OUT_FOR_LANGUAGE, "language-v1")
