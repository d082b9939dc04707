"""The chat task's rows and losses, and what the model says by itself before it learns."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad
from tqdm import tqdm
from transformers import DynamicCache

from navigator.assistant.turns import TURNS, answer_begin
from navigator.layout import plain_positions
from train.chat import ChatExample, turns_of
from train.items import SERVED
from train.loss_describe import describe_loss
from train.world import World

if TYPE_CHECKING:
    from train.objective import Objective, StepBatch

ANSWER = 4  # first tokens of an answer that are learned
AT_ONCE = 8  # conversations read in one pass


def prompt_ids(processor: Any, example: ChatExample) -> list[int]:
    """Token ids of a conversation up to where the assistant's answer begins, every item as its placeholders."""
    return answer_begin(processor, turns_of(example.messages))


def shown_items(examples: Sequence[ChatExample]) -> list[int]:
    """Items of these conversations in reading order, as the tower needs them."""
    turns = [message["content"] for example in examples for message in example.messages[-TURNS:]]
    return [part["item"] for turn in turns for part in turn if part["type"] == "item"]


def chat_inputs(processor: Any, examples: Sequence[ChatExample]) -> dict[str, torch.Tensor]:
    """Rows of conversations with their answers' beginnings.

    Returns:
        model inputs for B conversations but for their `pixel_values`.
    """
    inputs = processor.pad([prompt_ids(processor, example) + list(example.answer) for example in examples])
    items = len(shown_items(examples))
    return inputs | ({"image_grid_thw": processor.grid(items)} if items else {})


def chat_losses(objective: "Objective", examples: list[ChatExample], batch: "StepBatch") -> torch.Tensor:
    """The summed loss: the answer's first token and the mean of its others, and where a wish names what it is for, the query's.

    The first token is the decision, so it weighs as much as all that follows. The query is read at the retrieve token that
    the wish is answered with, so that what the model emits is what the search is made with.
    """
    model, device = objective.model, objective.world.recommender.device

    def pixels(rows: list[int]) -> torch.Tensor:
        return objective.pixels(rows, batch.fold)

    ends, objective.tokens = answer_states(objective.world, examples, pixels, objective.memory, batch.fold)
    labels = torch.tensor([token for example in examples for token in example.answer], device=device)
    pieces = [n + len(examples) * (place > 0) for n, e in enumerate(examples) for place in range(len(e.answer))]
    logits = model.lm_head(torch.cat([end[:-1] for end in ends]))
    loss = describe_loss(logits, labels, torch.tensor(pieces, device=device), 2 * len(examples)).sum()
    wishes = [n for n, example in enumerate(examples) if example.asks]
    if wishes:
        wished = [examples[n] for n in wishes]
        queries = model.query(objective.starts(wished, batch.fold), torch.stack([ends[n][-1] for n in wishes]))
        loss = loss + objective.retrieval(queries, wished, batch)
    return loss


def answer_states(
    world: World, examples: Sequence[ChatExample], pixels: Callable[[list[int]], torch.Tensor], memory: dict[Any, torch.Tensor],
    fold: int = SERVED,
) -> tuple[list[torch.Tensor], int]:  # fmt: skip
    """Hidden states where each conversation is answered, and how many tokens were read for them.

    Where neither tower nor language model learns they never change: they go into `memory` and are read once in a run.

    Args:
        world: its model reads.
        examples: conversations.
        pixels: what the tower reads of items.
        memory: what is known.
        fold: whose vectors `pixels` gives.

    Returns:
        for each (A + 1, H): before each of its A answer tokens, and at the last one.
    """
    recommender = world.recommender
    fixed = not any(parameter.requires_grad for parameter in recommender.model.model.parameters())
    keys = [(fold if shown_items([e]) else SERVED, repr(e.messages), e.answer) for e in examples]
    new = [n for n, key in enumerate(keys) if not fixed or key not in memory]
    new.sort(key=lambda n: len(keys[n][1]))  # rows of like length waste little padding
    fresh, tokens = {}, 0
    for at in range(0, len(new), AT_ONCE):
        some = new[at : at + AT_ONCE]
        chosen = [examples[n] for n in some]
        inputs = chat_inputs(recommender.processor, chosen)
        tokens += int(inputs["attention_mask"].sum())
        inputs = {name: value.to(recommender.device) for name, value in inputs.items()}
        with torch.set_grad_enabled(torch.is_grad_enabled() and not fixed):
            hidden = recommender.model.read(**inputs, pixel_values=pixels(shown_items(chosen)))
        fresh |= {keys[n]: own[-len(examples[n].answer) - 1 :].clone() for n, own in zip(some, hidden, strict=True)}
    if fixed:
        memory |= fresh
    known = memory if fixed else fresh
    return [known[key] for key in keys], tokens


@torch.inference_mode()
def self_answered(world: World, examples: Sequence[ChatExample], name: str = "own answers") -> list[ChatExample]:
    """The conversations with the first tokens of the model's own likeliest answers, `<|retrieve|>` not among them."""
    recommender = world.recommender
    learning = recommender.model.training
    recommender.model.eval()
    found, order = list(examples), sorted(range(len(examples)), key=lambda n: len(repr(examples[n].messages)))
    for at in tqdm(range(0, len(order), AT_ONCE), desc=name, disable=not name):
        some = order[at : at + AT_ONCE]
        for n, answer in zip(some, _greedy(world, [examples[n] for n in some]), strict=True):
            found[n] = replace(examples[n], answer=answer)
    recommender.model.train(learning)
    return found


def _greedy(world: World, examples: list[ChatExample]) -> list[tuple[int, ...]]:
    """ANSWER tokens of each at most, cut after the end of the turn."""
    recommender, model = world.recommender, world.recommender.model
    tokenizer, cache = recommender.processor.tokenizer, DynamicCache()
    inputs = chat_inputs(recommender.processor, [replace(example, answer=()) for example in examples])
    pixels = torch.from_numpy(recommender.pixels(shown_items(examples)))
    inputs = {key: value.to(recommender.device) for key, value in (inputs | {"pixel_values": pixels}).items()}
    hidden, mask = model.read(**inputs, past_key_values=cache)[:, -1], inputs["attention_mask"]
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
