"""The chat task's rows and losses, and what the model says by itself before it learns."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad
from tqdm import tqdm
from transformers import DynamicCache

from navigator.layout import plain_positions
from navigator.prompts import NOT_ASKED
from train.chat import ChatExample
from train.loss_describe import describe_loss
from train.world import World

if TYPE_CHECKING:
    from train.objective import Objective, StepBatch

ANSWER = 8  # first tokens of an answer that are learned
AT_ONCE = 16  # conversations read in one pass


def prompt_ids(processor: Any, example: ChatExample) -> list[int]:
    """Token ids of a conversation up to where the assistant's answer begins, every item as its placeholders."""
    text = processor.apply_chat_template(list(example.messages), add_generation_prompt=True)
    spread = text.replace(processor.item_token, processor.item_token * processor.tokens_per_item)
    return processor.tokenizer.encode(spread, add_special_tokens=False)


def shown_items(examples: Sequence[ChatExample]) -> list[int]:
    """Items of these conversations in reading order, as the tower needs them."""
    turns = [message["content"] for example in examples for message in example.messages]
    return [part["item"] for turn in turns for part in turn if part["type"] == "item"]


def chat_inputs(
    processor: Any, examples: Sequence[ChatExample], answers: bool = True
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Rows of conversations, with their answers' beginnings if wanted.

    Returns:
        model inputs for B conversations but for their `pixel_values`, and labels (B, L): the answers' tokens, each at its own
        position (not yet shifted), NOT_ASKED elsewhere.
    """
    said = [list(example.answer) if answers else [] for example in examples]
    rows = [prompt_ids(processor, example) + own for example, own in zip(examples, said, strict=True)]
    inputs = processor.pad(rows)
    length = inputs["input_ids"].shape[1]
    labels = torch.tensor([[NOT_ASKED] * (length - len(own)) + own for own in said])
    items = len(shown_items(examples))
    return inputs | ({"image_grid_thw": processor.grid(items)} if items else {}), labels


def chat_losses(objective: "Objective", examples: list[ChatExample], batch: "StepBatch") -> torch.Tensor:
    """The summed loss: the answer's first token and the mean of its others, and where a wish names what it is for, the query's.

    The first token is the decision, so it weighs as much as all that follows. The query is read at the retrieve token that
    the wish is answered with, so that what the model emits is what the search is made with.
    """
    model, processor = objective.model, objective.world.recommender.processor
    inputs, labels = chat_inputs(processor, examples)
    labels = labels.to(objective.world.recommender.device)
    inputs = objective.read(inputs)
    hidden = model.read(**inputs, pixel_values=objective.pixels(shown_items(examples), batch.fold))  # (B, L, H)
    asked = labels[:, 1:] != NOT_ASKED
    row = asked.nonzero()[:, 0]
    first = torch.ones_like(row, dtype=torch.bool)
    first[1:] = row[1:] != row[:-1]
    pieces = row + len(examples) * ~first  # first tokens are pieces 0 to B - 1, the others of each row one piece more
    logits = model.lm_head(hidden[:, :-1][asked])
    loss = describe_loss(logits, labels[:, 1:][asked], pieces, 2 * len(examples)).sum()
    wishes = [n for n, example in enumerate(examples) if example.asks]
    if wishes:
        wished = [examples[n] for n in wishes]
        queries = model.query(objective.starts(wished, batch.fold), hidden[wishes, -1])
        loss = loss + objective.retrieval(queries, wished, batch)
    return loss


@torch.inference_mode()
def self_answered(world: World, examples: Sequence[ChatExample], name: str = "own answers") -> list[ChatExample]:
    """The conversations with the first tokens of the model's own likeliest answers, `<|retrieve|>` not among them."""
    recommender = world.recommender
    learning = recommender.model.training
    recommender.model.eval()
    found: list[ChatExample] = []
    for at in tqdm(range(0, len(examples), AT_ONCE), desc=name, disable=not name):
        own = list(examples[at : at + AT_ONCE])
        found += [replace(one, answer=answer) for one, answer in zip(own, _greedy(world, own), strict=True)]
    recommender.model.train(learning)
    return found


def _greedy(world: World, examples: list[ChatExample]) -> list[tuple[int, ...]]:
    """ANSWER tokens of each at most, cut after the end of the turn."""
    recommender, model = world.recommender, world.recommender.model
    tokenizer, cache = recommender.processor.tokenizer, DynamicCache()
    hidden = read_rows(world, examples, False, cache)[:, -1]
    mask = chat_inputs(recommender.processor, examples, False)[0]["attention_mask"].to(recommender.device)
    barred = [token for token in tokenizer.all_special_ids if token != tokenizer.eos_token_id]
    said: list[torch.Tensor] = []
    while True:
        logits = model.lm_head(hidden).float()
        logits[:, barred] = -torch.inf
        said.append(logits.argmax(-1))
        if len(said) == ANSWER:
            break
        mask = pad(mask, (0, 1), value=1)
        hidden = model.model(
            input_ids=said[-1][:, None], attention_mask=mask, position_ids=plain_positions(mask, mask, None)[:, :, -1:],
            past_key_values=cache, use_cache=True,
        ).last_hidden_state[:, -1]  # fmt: skip
    rows = torch.stack(said, 1).tolist()
    end = tokenizer.eos_token_id
    return [tuple(row[: row.index(end) + 1] if end in row else row) for row in rows]


def read_rows(world: World, examples: Sequence[ChatExample], answers: bool, cache: Any = None) -> torch.Tensor:
    """(B, L, H) hidden states of conversations, left-padded, up to where the answers begin or with `answers` to their ends."""
    recommender = world.recommender
    inputs, _ = chat_inputs(recommender.processor, examples, answers)
    items = shown_items(examples)
    shown = {"pixel_values": torch.from_numpy(recommender.pixels(items))} if items else {}
    inputs = {key: value.to(recommender.device) for key, value in (inputs | shown).items()}
    return recommender.model.read(**inputs, past_key_values=cache)
