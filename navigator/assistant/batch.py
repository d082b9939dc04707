"""Many answers at once: one thread steps all rows together, a row joins between two steps and leaves when it ends.

A step of one row reads all weights of the model to make one token; a step of sixteen reads them once as well. So requests do
not wait for a batch to end: the newest are read (prefilled) while the others pause for that moment, then all go on together.
Greedy answers are those that each request would get alone, up to the rounding of the arithmetic.

Transformers' own continuous batching is not used: its requests are lists of token ids, with no way to give the vectors of
items or pictures (docs/LOG.md).
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from navigator.admission import Overloaded
from navigator.assistant.choice import next_token
from navigator.assistant.kept_rows import joined, without
from navigator.assistant.requests import Generated, Prompt, Row, gone, tell
from navigator.layout import plain_positions
from navigator.refusal import Refusal

PREFILL_TOKENS = 2048  # read at once, so that a crowd of newcomers does not hold up those under way for long
_MEMORY = 0.1  # weight of the newest request in the running mean of a row's seconds


class ContinuousBatch:
    """Args:
    model, processor: a swapped model and its processor.
    max_rows: answers that are generated together.
    max_tokens: of keys and values, padding included, that all rows may come to.
    waiting: requests that may wait for a row.
    """

    def __init__(self, model: Any, processor: Any, max_rows: int = 16, max_tokens: int = 32_768, waiting: int = 32):
        if max_rows < 1 or waiting < 0 or max_tokens < 2:
            raise ValueError(f"rows {max_rows}, waiting {waiting}, tokens {max_tokens}: allowed are >= 1, >= 0, >= 2")
        self.model, self.processor, self.device = model, processor, next(model.parameters()).device
        self.max_rows, self.max_tokens, self.waiting = max_rows, max_tokens, waiting
        tokenizer = processor.tokenizer
        self._end = tokenizer.eos_token_id
        self._forbidden = torch.tensor([n for n in tokenizer.all_special_ids if n != self._end], device=self.device)
        self._rows: list[Row] = []
        self._cache: DynamicCache | None = None
        self._mask = torch.zeros(0, 0, dtype=torch.long, device=self.device)
        self._line: deque[Row] = deque()
        self._changed, self._closing, self._mean_s = threading.Condition(), False, 0.0
        self._thread = threading.Thread(target=self._run, name="generate", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Requests that wait now."""
        return len(self._line)

    @property
    def running(self) -> int:
        """Rows under way now."""
        return len(self._rows)

    def submit(
        self, prompt: Prompt, max_new_tokens: int, temperature: float = 0.0, seed: int | None = None,
        on_token: Callable[[int], None] | None = None, deadline: float = float("inf"), no_repeat: int = 0,
    ) -> "Future[Generated]":  # fmt: skip
        """The answer to come; cancelling it frees its place at the next step.

        Args:
            prompt: what is read.
            max_new_tokens: of the answer, the end included, at least 1.
            temperature, no_repeat: see navigator.assistant.choice.
            seed: of the draws; None draws anew each time.
            on_token: called in the batch's thread with every token but the end; must be quick.
            deadline: of time.monotonic(), after which the answer is not wanted: Refusal 504.

        Raises:
            Overloaded: as many wait as may.
            Refusal: longer than the batch can hold, or the server is stopping.
        """
        drawn_by = None
        if temperature > 0:
            drawn_by = torch.Generator(self.device)
            drawn_by.manual_seed(seed) if seed is not None else drawn_by.seed()
        row = Row(
            prompt, max_new_tokens, temperature, no_repeat, deadline, on_token, drawn_by, time.monotonic()
        )  # fmt: skip
        if row.longest > self.max_tokens or max_new_tokens < 1:
            raise Refusal(
                400, "context_length_exceeded",
                f"the conversation and its answer are {row.longest} tokens, allowed are {self.max_tokens}", "messages",
            )  # fmt: skip
        with self._changed:
            if self._closing:
                raise Refusal(503, "stopping", "the server is stopping", retry_after_s=1)
            if len(self._rows) + len(self._line) >= self.max_rows + self.waiting:
                raise Overloaded(self.waiting, self._mean_s * (len(self._line) + 1) / self.max_rows)
            self._line.append(row)
            self._changed.notify()
        return row.future

    def close(self, timeout_s: float | None = None) -> None:
        """Take no more, finish what is under way or waits, and return when that is done or the time is up."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        with torch.inference_mode():
            while self._wait():
                try:
                    self._sweep()
                    if newcomers := self._take():
                        self._join(newcomers)
                    elif self._rows:
                        self._step()
                except Exception as error:  # whatever it is, who was inside hears it, and those who wait are answered
                    self._fail(error)

    def _wait(self) -> bool:
        """Whether there is something to do; False when all is done and the batch is closed."""
        with self._changed:
            while not self._rows and not self._line:
                if self._closing:
                    return False
                self._changed.wait()
        return True

    def _sweep(self) -> None:
        """Whoever gave up or is too late leaves the line and the batch."""
        now = time.monotonic()
        with self._changed:
            self._line = deque(row for row in self._line if not gone(row, now))
        self._leave([n for n, row in enumerate(self._rows) if gone(row, now)])

    def _take(self) -> list[Row]:
        """Newcomers that fit: rows, tokens of all of them when each is as long as the longest may get, one reading."""
        taken: list[Row] = []
        with self._changed:
            while self._line and len(self._rows) + len(taken) < self.max_rows:
                row = self._line[0]
                inside = [*self._rows, *taken, row]
                longest = max(len(own.prompt.ids) for own in [*taken, row])
                if len(inside) * max(own.longest for own in inside) > self.max_tokens:
                    break
                if taken and longest * (len(taken) + 1) > PREFILL_TOKENS:
                    break
                taken.append(self._line.popleft())
        return taken

    def _join(self, rows: list[Row]) -> None:
        """Read the prompts of newcomers, say their first tokens, and lay their keys and values beside the others'."""
        now = time.monotonic()
        for row in rows:
            row.begun = now
        first = len(self._rows)
        self._rows.extend(rows)
        inputs = {k: v.to(self.device) for k, v in self.processor.pad([row.prompt.ids for row in rows]).items()}
        shown = np.concatenate([row.prompt.items for row in rows])
        if len(shown):
            inputs["pixel_values"] = torch.from_numpy(np.ascontiguousarray(shown)).to(self.device)
            inputs["image_grid_thw"] = self.processor.grid(len(shown)).to(self.device)
        fresh, mask = DynamicCache(), inputs["attention_mask"]
        hidden = self.model.read(**inputs, past_key_values=fresh)[:, -1]
        self._cache, self._mask = joined(self._cache, self._mask, fresh, mask)
        self._say(hidden, range(first, len(self._rows)))

    def _step(self) -> None:
        """One more token for every row."""
        ids = torch.tensor([row.said[-1:] for row in self._rows], device=self.device)
        mask = torch.nn.functional.pad(self._mask, (0, 1), value=1)
        positions = plain_positions(mask, mask, None)[:, :, -1:]
        hidden = self.model.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=self._cache, use_cache=True
        ).last_hidden_state[:, -1]
        self._mask = mask
        self._say(hidden, range(len(self._rows)))

    def _say(self, hidden: torch.Tensor, numbers: range) -> None:
        """The next token of these rows from their hidden states (R, H); whoever is done leaves."""
        logits, done = self.model.lm_head(hidden).float(), dict[int, tuple[Row, str]]()
        for own, n in zip(logits, numbers, strict=True):
            row = self._rows[n]
            allowed = row.prompt.guide(row.said) if row.prompt.guide else None
            token = next_token(own, row.said, self._forbidden, row.temperature, row.no_repeat, row.drawn_by, allowed)
            if token != self._end:
                row.said.append(token)
                tell(row, token)
            if token == self._end or len(row.said) >= row.max_new:
                done[n] = (row, "stop" if token == self._end else "length")
        self._leave(list(done))
        for row, finish in done.values():  # told when its place is free
            self._finish(row, finish)

    def _finish(self, row: Row, finish: str) -> None:
        now = time.monotonic()
        self._mean_s += (now - row.begun - self._mean_s) * (_MEMORY if self._mean_s else 1)
        if row.future.set_running_or_notify_cancel():
            row.future.set_result(Generated(row.said, finish, row.begun - row.came, now - row.begun))

    def _leave(self, numbers: list[int]) -> None:
        if numbers and self._cache is not None:
            stay = [n for n in range(len(self._rows)) if n not in set(numbers)]
            self._cache, self._mask = without(self._cache, self._mask, stay)
            self._rows = [self._rows[n] for n in stay]

    def _fail(self, error: Exception) -> None:
        for row in self._rows:
            if not row.future.done() and row.future.set_running_or_notify_cancel():
                row.future.set_exception(error)
        self._rows, self._cache, self._mask = [], None, self._mask[:0, :0]
