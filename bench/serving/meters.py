"""What a server says of itself (/metrics): batches, seconds of work, CPU seconds, memory."""

import urllib.error
import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from navigator.contracts.errors import UserError

_TIMEOUT_S = 30


@dataclass(frozen=True)
class Meters:
    """Counters as of one moment; None where the server does not tell."""

    batches: float
    batched: float
    work_s: float
    cpu_s: float | None
    memory_bytes: float | None

    def since(self, before: "Meters") -> "Meters":
        """What was added; memory as it is now."""
        cpu = None if self.cpu_s is None or before.cpu_s is None else self.cpu_s - before.cpu_s
        return Meters(
            self.batches - before.batches, self.batched - before.batched, self.work_s - before.work_s, cpu,
            self.memory_bytes,
        )  # fmt: skip


def read_meters(url: str, kind: str, headers: dict[str, str]) -> Meters:
    """The meters of one kind of request; `headers` are sent.

    Raises:
        UserError: nobody answers there, or not with metrics.
    """
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/metrics", headers=headers), timeout=_TIMEOUT_S
        ) as answer:
            page = answer.read().decode()
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise UserError(f"no /metrics at {url} ({error}); start the server with `navigator serve`") from error
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.labels.get("kind", kind) == kind:
                found[sample.name] = sample.value
    return Meters(
        found.get("navigator_batch_size_count", 0.0), found.get("navigator_batch_size_sum", 0.0),
        found.get("navigator_work_seconds_total", 0.0), found.get("process_cpu_seconds_total"),
        found.get("process_resident_memory_bytes"),
    )  # fmt: skip
