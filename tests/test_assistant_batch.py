"""Answers generated together are those of each request alone; rows join and leave between steps; the line is bounded."""

import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch

from navigator.admission import Overloaded
from navigator.assistant.batch import ContinuousBatch
from navigator.assistant.choice import next_token
from navigator.assistant.requests import Prompt
from navigator.refusal import Refusal

RNG = np.random.default_rng(3)


def prompts(processor, count: int) -> list[Prompt]:
    """Prompts of unlike lengths with 0, 1, 2, ... items among the words."""
    made = []
    for n in range(count):
        items = [processor.item_token_id] * processor.tokens_per_item * (n % 3)
        ids = [7 + n % 5, 9, *items, *[8 + (n + j) % 7 for j in range(1 + 3 * n)]]
        made.append(Prompt(ids, RNG.normal(size=(n % 3, 6)).astype(np.float32)))
    return made


def alone(model, processor, prompt: Prompt, tokens: int) -> list[int]:
    """The likeliest token each time, everything read anew for each: no cache, no batch."""
    said: list[int] = []
    barred = [n for n in processor.tokenizer.all_special_ids if n != processor.tokenizer.eos_token_id]
    shown = {}
    if len(prompt.items):
        shown = {"pixel_values": torch.from_numpy(prompt.items), "image_grid_thw": processor.grid(len(prompt.items))}
    while len(said) < tokens:
        with torch.no_grad():
            hidden = model.read(torch.tensor([prompt.ids + said]), **shown)
            logits = model.lm_head(hidden[0, -1]).float().clone()
        logits[barred] = -torch.inf
        token = int(logits.argmax())
        if token == processor.tokenizer.eos_token_id:
            break
        said.append(token)
    return said


@pytest.fixture
def batch(swapped):
    """Builds batches over the swapped model; all are closed after the test."""
    opened: list[ContinuousBatch] = []

    def build(**more) -> ContinuousBatch:
        opened.append(ContinuousBatch(*swapped, **more))
        return opened[-1]

    yield build
    for one in opened:
        one.close(5)


def test_rows_that_join_midway_say_what_each_says_alone(swapped, batch):
    """Six prompts, three rows at most, the later ones handed in while the first are under way."""
    model, processor = swapped
    asked = prompts(processor, 6)
    wanted = [alone(model, processor, prompt, 4 + 5 * n) for n, prompt in enumerate(asked)]
    assert len({tuple(own) for own in wanted}) > 3  # the world tells them apart
    running = batch(max_rows=3)
    under_way = threading.Event()
    first = [
        running.submit(asked[n], 4 + 5 * n, on_token=lambda token: under_way.set()) for n in (5, 0)
    ]  # fmt: skip
    assert under_way.wait(5)
    later = [running.submit(asked[n], 4 + 5 * n) for n in (1, 2, 3, 4)]
    said = [future.result(10).tokens for future in [*first, *later]]
    assert said == [wanted[n] for n in (5, 0, 1, 2, 3, 4)]


def test_tokens_are_told_as_they_come_and_the_end_is_not_one(swapped, batch):
    heard: list[int] = []
    done = batch().submit(prompts(swapped[1], 3)[2], 12, on_token=heard.append).result(5)
    assert heard == done.tokens
    assert swapped[1].tokenizer.eos_token_id not in heard
    assert done.finish == ("length" if len(heard) == 12 else "stop")


def test_what_is_drawn_depends_on_the_seed_alone_and_not_on_the_company(swapped, batch):
    running, prompt = batch(), prompts(swapped[1], 2)[1]
    lonely = running.submit(prompt, 8, temperature=1.0, seed=5).result(5).tokens
    crowd = [running.submit(prompt, 8, temperature=1.0, seed=seed) for seed in range(12)]
    drawn = [future.result(5).tokens for future in crowd]
    assert drawn[5] == lonely
    assert len({tuple(own) for own in drawn}) > 1


def _held(running: ContinuousBatch, prompt: Prompt) -> tuple[threading.Event, object]:
    """A row that stops after its first token until it is let go."""
    go, begun = threading.Event(), threading.Event()

    def hold(token: int) -> None:
        begun.set()
        go.wait(10)

    future = running.submit(prompt, 30, on_token=hold)
    assert begun.wait(5)
    return go, future


def test_a_full_line_refuses_and_a_cancelled_row_makes_room(swapped, batch):
    running, prompt = batch(max_rows=1, waiting=1), prompts(swapped[1], 2)[1]
    go, first = _held(running, prompt)
    second = running.submit(prompt, 3)
    with pytest.raises(Overloaded) as refused:
        running.submit(prompt, 3)
    assert refused.value.waiting == 1
    assert first.cancel()  # type: ignore[attr-defined]
    go.set()
    assert second.result(5).tokens == alone(*swapped, prompt, 3)
    with pytest.raises(CancelledError):
        first.result(1)  # type: ignore[attr-defined]
    assert (running.running, running.depth) == (0, 0)


def test_a_deadline_ends_rows_that_wait_and_rows_under_way(swapped, batch):
    running, prompt = batch(max_rows=1, waiting=2), prompts(swapped[1], 2)[1]
    soon = time.monotonic() + 0.2
    slow = running.submit(prompt, 10_000, deadline=soon, on_token=lambda token: time.sleep(0.3))
    waits = running.submit(prompt, 3, deadline=soon)
    for future in (slow, waits):
        with pytest.raises(Refusal) as late:
            future.result(5)
        assert late.value.status == 504


def test_more_than_the_batch_can_hold_is_refused_at_once_and_a_tight_bound_only_makes_rows_wait(swapped, batch):
    model, processor = swapped
    asked = prompts(processor, 6)
    longest = len(asked[5].ids) + 9
    running = batch(max_tokens=longest)
    with pytest.raises(Refusal, match=f"allowed are {longest}"):
        running.submit(asked[5], 10)
    futures = [running.submit(prompt, 9) for prompt in asked]
    assert [f.result(10).tokens for f in futures] == [alone(model, processor, prompt, 9) for prompt in asked]


def test_an_error_of_the_model_reaches_who_was_inside_and_the_next_is_answered(swapped, batch):
    running, asked = batch(), prompts(swapped[1], 2)
    broken = Prompt(asked[1].ids, RNG.normal(size=(7, 6)).astype(np.float32))  # more vectors than placeholders
    with pytest.raises((RuntimeError, ValueError)):
        running.submit(broken, 3).result(5)
    assert running.submit(asked[1], 3).result(5).tokens == alone(*swapped, asked[1], 3)


def test_a_listener_that_is_gone_costs_nobody_else(swapped, batch):
    running, asked = batch(), prompts(swapped[1], 2)

    def closed(token: int) -> None:
        raise RuntimeError("Event loop is closed")

    gone, other = running.submit(asked[0], 5, on_token=closed), running.submit(asked[1], 5)
    assert other.result(5).tokens == alone(*swapped, asked[1], 5)
    with pytest.raises(CancelledError):
        gone.result(1)


def test_closing_answers_who_is_inside_and_takes_no_more(swapped, batch):
    running, prompt = batch(), prompts(swapped[1], 2)[1]
    inside = running.submit(prompt, 6)
    running.close(10)
    assert inside.result(0).tokens == alone(*swapped, prompt, 6)
    with pytest.raises(Refusal) as stopping:
        running.submit(prompt, 6)
    assert stopping.value.status == 503


def test_the_next_token_is_never_forbidden_and_no_three_come_twice():
    logits, none = torch.tensor([5.0, 4.0, 3.0, 2.0]), torch.zeros(0, dtype=torch.long)
    assert next_token(logits, [], none, 0.0, 0, None) == 0
    assert next_token(logits, [], torch.tensor([0]), 0.0, 0, None) == 1
    assert next_token(logits, [1, 2, 0, 1, 2], none, 0.0, 3, None) == 1  # 1 2 0 was said
    assert next_token(logits, [1, 2, 0, 1, 2], none, 0.0, 0, None) == 0
    assert logits[0] == 5.0  # not changed
