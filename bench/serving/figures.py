"""What `navigator-bench serving` reports: report.json, versioned; what was not measured is null."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from navigator.contracts.report import Provenance

SCHEMA_VERSION: Literal[1] = 1


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Round(_Row):
    """One measurement.

    Attributes:
        throughput_rps: answers with a status below 400, a second.
        p50_ms, p95_ms, p99_ms: of all answers, by wrk; null where none came in time.
        refused: answers with a status of 400 and above. lost: connections, reads, writes and time-outs that failed.
        batch_size: mean requests of a batch, by the server.
        busy: share of the time in which the server's worker was at work.
        cpu_ms: CPU milliseconds of the server's process for each answer, which other work on the machine does not change
            as it changes the clock; null where the server does not tell.
    """

    throughput_rps: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    refused: int
    lost: int
    batch_size: float | None
    busy: float
    cpu_ms: float | None


class Point(_Row):
    """A load on a server by so many clients: medians of its rounds, and the range of their throughput."""

    load: str
    server: str
    clients: int
    median: Round
    lowest_rps: float
    highest_rps: float
    rounds: list[Round]


class Gain(_Row):
    """Batched over unbatched throughput, and the ratio of their CPU times the other way round.

    Attributes:
        throughput: ratio of the medians. lowest, highest: of the rounds, each against its neighbour in time.
        cpu: unbatched over batched CPU milliseconds an answer; null where a server does not tell.
    """

    load: str
    clients: int
    throughput: float
    lowest: float
    highest: float
    cpu: float | None


class ServingReport(Provenance):
    """A whole run.

    Attributes:
        generator: program and version.
        releases: server -> the release that answered.
        bar_clients, bar: the gain that is wanted; `met` is load -> whether it is reached, empty without --compare.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    generator: str
    releases: dict[str, str]
    bar_clients: int
    bar: float
    met: dict[str, bool]
    points: list[Point]
    gains: list[Gain]
