"""What a text costs a model in nats, and how it goes on by itself: training's log and `navigator-bench language` ask alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from navigator.prompts import NOT_ASKED, describe_inputs, describe_prompt
from navigator.recommend import Recommender

_LOGITS_AT_ONCE = 512  # positions: the vocabulary is the costly axis
Batch = tuple[dict[str, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Scores:
    """Per text: cross-entropy in nats over its asked tokens, how many tokens, how many UTF-8 bytes they stand for."""

    nats: np.ndarray
    tokens: np.ndarray
    bytes: np.ndarray

    @property
    def perplexity(self) -> float:
        """Exponential of the total cross-entropy over the total tokens."""
        return float(np.exp(self.nats.sum() / self.tokens.sum()))


def score_descriptions(
    recommender: Recommender, texts: Sequence[str], shown: Sequence[str], batch_size: int, name: str = ""
) -> Scores:
    """Texts after the describe prompt with the items `shown`; the end of turn is not asked for.

    Every model is asked for the words alone, because an untrained one cannot know that a text ends after a title. `name`
    is what the progress bar says; without one there is none.
    """
    rows = recommender.vectors.rows_of(shown)

    def make(chosen: list[int]) -> Batch:
        inputs, labels = describe_inputs(recommender.processor, [texts[i] for i in chosen])
        labels[:, -1] = NOT_ASKED  # left-padded: the last column is every row's end
        return inputs | {"pixel_values": torch.from_numpy(recommender.pixels(rows[chosen].tolist()))}, labels

    return _score(recommender.model, recommender.processor.tokenizer, texts, batch_size, make, name)


def score_plain(model: Any, tokenizer: Any, texts: Sequence[str], batch_size: int, name: str = "") -> Scores:
    """Texts on their own. A text's first token is asked for after the tokenizer's begin (or else end) of text."""
    begin = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id

    def make(chosen: list[int]) -> Batch:
        rows = [[begin, *tokenizer.encode(texts[i], add_special_tokens=False)] for i in chosen]
        inputs = dict(tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors="pt"))
        asked = inputs["attention_mask"].cumsum(1) > 1  # all but padding and the begin
        return inputs, inputs["input_ids"].masked_fill(~asked, NOT_ASKED)

    return _score(model, tokenizer, texts, batch_size, make, name)


def token_nats(model: Any, inputs: dict[str, torch.Tensor], labels: torch.Tensor) -> np.ndarray:
    """(B,) float64: summed next-token cross-entropy of every row, where `labels` (B, L) ask."""
    where = model.lm_head.weight.device
    labels = labels.to(where)
    with torch.inference_mode():
        hidden = model.model(**{k: v.to(where) for k, v in inputs.items()}, use_cache=False).last_hidden_state
        asked = labels[:, 1:] != NOT_ASKED  # position t is asked by the hidden state at t - 1
        parts = zip(
            hidden[:, :-1][asked].split(_LOGITS_AT_ONCE), labels[:, 1:][asked].split(_LOGITS_AT_ONCE), strict=True
        )
        nats = torch.cat([F.cross_entropy(model.lm_head(h).float(), own, reduction="none") for h, own in parts])
    rows = asked.nonzero()[:, 0].cpu()
    return torch.zeros(len(labels), dtype=torch.float64).index_add(0, rows, nats.cpu().double()).numpy()


def continue_item(recommender: Recommender, item_id: str, tokens: int = 24) -> str:
    """What the model writes after the describe prompt of an item, the likeliest token each time."""
    processor, model = recommender.processor, recommender.model
    inputs = processor.pad([describe_prompt(processor)]) | {"image_grid_thw": processor.grid(1)}
    pixels = torch.from_numpy(recommender.pixels(recommender.vectors.rows_of([item_id]).tolist()))
    inputs = {k: v.to(recommender.device) for k, v in (inputs | {"pixel_values": pixels}).items()}
    tokenizer = processor.tokenizer
    with torch.inference_mode():
        out = model.generate(
            **inputs, max_new_tokens=tokens, do_sample=False, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
    return tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def _score(
    model: Any, tokenizer: Any, texts: Sequence[str], batch_size: int, make: Callable[[list[int]], Batch], name: str
) -> Scores:
    """Batches of texts of like length, so that little is padded."""
    scores = Scores(np.zeros(len(texts)), np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64))
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in tqdm(range(0, len(order), batch_size), desc=name, unit="batch", disable=not name):
        chosen = order[start : start + batch_size]
        inputs, labels = make(chosen)
        scores.nats[chosen] = token_nats(model, inputs, labels)
        for i, row in zip(chosen, labels, strict=True):
            own = row[row != NOT_ASKED]
            scores.tokens[i] = len(own)
            scores.bytes[i] = len(tokenizer.decode(own, clean_up_tokenization_spaces=False).encode())
    return scores
