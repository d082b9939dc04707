"""What `navigator-bench latency` reports, versioned.

    report.json      a SpeedReport
    requests.jsonl   one RequestRow a line: what the percentiles are of, and nothing else

What was not measured is null, never 0; a way that ran out of memory has rows with an error and no times.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from navigator.contracts.report import Latency, Provenance

SCHEMA_VERSION: Literal[1] = 1


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RequestRow(_Row):
    """One answered request, milliseconds: to the device, reading (the tower's place included), writing the tokens after the
    first (null where only one is written), and all of it; `processor_ms` is processor time, all threads, of a run on a CPU,
    which other programs on the machine lengthen less than the clock's."""

    shape: str
    history: int
    candidates: int
    side: int
    way: str
    round: int
    copy_ms: float | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None
    total_ms: float | None = None
    processor_ms: float | None = None
    error: str | None = None


class Memory(_Row):
    """What a way's first answers took beyond all weights, MiB; null where the machine cannot tell."""

    way: str
    peak_mb: float | None


class BatchRow(_Row):
    """`batch` requests answered at once: the median of some answers; null with the reason where there is none."""

    way: str
    batch: int
    ms: float | None = None
    peak_mb: float | None = None
    error: str | None = None

    @property
    def per_s(self) -> float | None:
        return None if self.ms is None else self.batch / self.ms * 1000


class Saturation(_Row):
    """The most requests a second of a way, and the batch that gives it; `ended` says why no larger one was tried."""

    requests_per_s: float
    batch: int
    ended: str


class PaperCost(_Row):
    """Counted, see bench.speed.count: of one stage of one request."""

    gflops: float
    mb: float


class Measured(_Row):
    """One way on one request.

    Attributes:
        n, failed: requests behind the times, and how many more ended with an error.
        tokens: read by the language model in the request; `kept`: of an earlier one, read again from memory.
        cost: stage -> counted cost; `whole_gflops`: all stages at the published number of layers.
        weights_mb: of the language model and what stands in the tower's place.
        peak_mb: beyond all weights.
        roofline: the least time that the counted work can take here, over the median prefill + decode.
        floor_ms: the weights alone at this machine's copy bandwidth; over_floor: the median over it.
    """

    letter: str
    n: int
    failed: int
    total_ms: Latency | None
    copy_ms: Latency | None
    prefill_ms: Latency | None
    decode_ms: Latency | None
    tokens: int
    kept: int
    cost: dict[str, PaperCost]
    whole_gflops: float
    weights_mb: float
    peak_mb: float | None
    roofline: float | None
    floor_ms: float
    over_floor: float | None


class Pair(_Row):
    """How many times longer the native way takes.

    Attributes:
        median: of the ratios round by round, with its 95 % bootstrap interval over rounds.
        p50, p95: ratio of the two percentiles.
        processor: median of the ratios of processor time, of a run on a CPU.
        flops: ratio of the counted work, here and at the published number of layers.
    """

    median: float
    ci95: tuple[float, float]
    p50: float
    p95: float
    processor: float | None
    flops: float
    whole_flops: float


class PointRow(_Row):
    """One request of the grid."""

    shape: str
    history: int
    candidates: int
    side: int
    ways: dict[str, Measured]
    native_over: dict[str, Pair]
    eager: dict[str, dict[str, str]]


class SameOutput(_Row):
    """The flags' path beside the plain one: largest difference of a logit after the prompt, the logits' standard deviation,
    and how many of the written tokens agree."""

    shape: str
    way: str
    max_difference: float
    std: float
    tokens_agree: float


class Verdict(_Row):
    """One claim on one shape's base point; `value` is null where it was not measured, `met` also where it is not what the
    claim is about: a CPU, or a cut shape."""

    shape: str
    claim: str
    value: float | None
    bar: float
    met: bool | None


class SpeedReport(Provenance):
    """A whole run.

    Attributes:
        matmul_tflops, copy_gb_per_s: of this machine, measured in the run.
        saturation: shape -> way -> the most requests a second, on the base point; batches: what it was found among.
        cut: shapes that were measured with fewer layers than published.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    matmul_tflops: float
    copy_gb_per_s: float
    points: list[PointRow]
    batches: dict[str, list[BatchRow]]
    saturation: dict[str, dict[str, Saturation]]
    same_output: list[SameOutput]
    verdicts: list[Verdict]
    cut: list[str]
