"""The bench report: raw request rows first, derived figures after, both versioned.

    report.json      a BenchReport
    requests.jsonl   one RequestRecord a line; latency figures are derived from these rows and from nothing else

What was not measured is null. An empty distribution is null too, never 0: a run whose requests all failed must not look
fast.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from navigator.contracts.errors import UserError

SCHEMA_VERSION: Literal[1] = 1
METRICS = ("hr@10", "ndcg@10", "recall@50")


class _Row(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )


class RequestRecord(_Row):
    """One request as it happened.

    Attributes:
        system: name of the system that answered.
        request_id: the query id (phase quality) or the position in the timed sequence (phase timed).
        phase: ``timed`` rows carry the latency; ``quality`` rows are kept for systems that answer over a network.
        latency_ms: wall-clock milliseconds; null when the request failed.
        tokens: tokens the model read, by the system's own count; null when it reads none or it is unknown.
        error: null, or what went wrong in one line.
    """

    system: str
    request_id: str
    phase: Literal["timed", "quality"]
    n_history: int
    n_candidates: int
    latency_ms: float | None = None
    tokens: int | None = None
    error: str | None = None


class Interval(_Row):
    """A mean with the ends of its 95 % percentile bootstrap interval over queries."""

    mean: float
    ci95: tuple[float, float]


class Quality(_Row):
    """Means over queries of the ranking of the whole catalogue (definitions: bench/metrics.py)."""

    hr_10: Interval = Field(alias="hr@10")
    ndcg_10: Interval = Field(alias="ndcg@10")
    recall_50: Interval = Field(alias="recall@50")

    def of(self, metric: str) -> Interval:
        """The interval of one of METRICS."""
        return getattr(self, metric.replace("@", "_"))


class ColdQuality(Quality):
    """Quality over the `n` queries whose targets are all cold."""

    n: int


class Latency(_Row):
    """Percentiles of the successful timed requests, milliseconds."""

    p50: float
    p95: float
    p99: float


class SystemReport(_Row):
    """One system's row; null means not measured.

    Attributes:
        quality: over the `n_queries` queries of the row.
        quality_cold: over those whose targets are all cold; null when there are none.
        paired: metric -> this system minus the content system on the queries both answered.
        throughput_rps: requests a second of one closed-loop worker (1 / mean latency).
        peak_memory_mb: how it was measured is in BenchReport.protocol.
        n_requests, n_failed: timed and networked requests behind the row, and how many of them failed.
        note: what a reader must know about this row alone.
    """

    quality: Quality | None = None
    quality_cold: ColdQuality | None = None
    paired: Quality | None = None
    latency_ms: Latency | None = None
    throughput_rps: float | None = None
    tokens_per_request: float | None = None
    peak_memory_mb: float | None = None
    cost_usd_per_1000: float | None = None
    cost_assumptions: list[str] = []
    n_queries: int | None = None
    n_requests: int = 0
    n_failed: int = 0
    note: str = ""


class Device(_Row):
    """Where the run happened. Latencies of different devices are not comparable."""

    cpu: str
    cores: int
    torch_threads: int | None = None
    accelerator: str | None = None
    dtype: str | None = None


class Split(_Row):
    """What was asked: `queries` is a digest of every query's id, history and targets."""

    description: str
    part: str
    queries: str


class Provenance(_Row):
    """What every report says of how it came about."""

    seed: int
    device: Device
    commit: str | None
    versions: dict[str, str]
    created_at: str
    command: str
    config: dict[str, Any]
    inputs: dict[str, str]
    protocol: list[str]


class BenchReport(Provenance):
    """A whole run: systems side by side on the same queries and the same timed requests."""

    schema_version: Literal[1] = SCHEMA_VERSION
    task: str
    split: Split
    n_queries: int
    n_items: int
    n_cold_queries: int
    systems: dict[str, SystemReport]


def read_report(path: str | Path) -> BenchReport:
    """A report from report.json or from the folder that holds it.

    Raises:
        UserError: no such file, another schema version, or not a report.
    """
    path = Path(path)
    path = path / "report.json" if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"report {path} does not exist; make one with `navigator-bench run`")
    try:
        return BenchReport.model_validate_json(path.read_text())
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a bench report (not text); make one with `navigator-bench run`") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(
            f"{path} is not a bench report of schema {SCHEMA_VERSION} ({where}: {first['msg']}); run the bench again"
        ) from error
