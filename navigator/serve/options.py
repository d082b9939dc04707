"""How a server batches, queues and gives up; no torch in here, because the command line reads it."""

from dataclasses import dataclass

from navigator.contracts import UserError


@dataclass(frozen=True)
class ServeOptions:
    """Attributes:
    batch_size: requests answered together, at most; 1 is no batching.
    window_ms: how long the first of a batch waits to be joined while the worker is idle.
    queue: requests of one kind that may wait; over it 429. By default one batch: whoever is let in waits for the batch at
        work and is in the next, so even in an overload an answer takes two batches at most.
    timeout_s: deadline of a request that names none (X-Timeout-Ms); over it 504.
    chat_rows: conversations that are answered at the same time.
    chat_queue: conversations that may wait.
    usd_per_hour: price of the machine, for the cost in /metrics and comparisons; None: no cost is told.
    """

    batch_size: int = 16
    window_ms: float = 2.0
    queue: int = 16
    timeout_s: float = 30.0
    chat_rows: int = 16
    chat_queue: int = 32
    usd_per_hour: float | None = None

    def __post_init__(self):
        for name, least in (("batch_size", 1), ("queue", 1), ("chat_rows", 1), ("chat_queue", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name} is {getattr(self, name)}; allowed are {least} and more")
        if not 0 <= self.window_ms <= 1000:
            raise UserError(f"window_ms is {self.window_ms}; allowed are 0 (answer at once) to 1000")
        if not 0 < self.timeout_s <= 3600:
            raise UserError(f"timeout_s is {self.timeout_s}; allowed are numbers above 0 to 3600")
        if self.usd_per_hour is not None and not 0 <= self.usd_per_hour < float("inf"):
            raise UserError(f"usd_per_hour is {self.usd_per_hour}; allowed are 0 and more")
