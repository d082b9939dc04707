"""What `navigator-bench load` reports: report.json, versioned, derived from the rows and from nothing else.

    report.json        a LoadReport
    requests.parquet   a row a request, failed ones too (bench.load.rows.Row)

What was not measured is null; a phase that answered nothing has no percentile, and must not look fast.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from navigator.contracts.report import Latency, Provenance

SCHEMA_VERSION: Literal[1] = 1


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerCount(_Row):
    """What our own server counted during a step, and whether it agrees with the rows."""

    received: int
    refused: int
    answered: int
    failed: int
    abandoned: int
    agrees: bool


class Parts(_Row):
    """Mean milliseconds of where the time of an answered request went; they add up to its mean response time.

    Attributes:
        generator: from the intended arrival to the sending.
        queue: waiting for a worker, by the server.
        work: worked on, by the server.
        elsewhere: the rest: connection, HTTP, the network, the event loops of both sides.
    """

    generator: float
    queue: float
    work: float
    elsewhere: float


class PhaseRow(_Row):
    """One phase.

    Attributes:
        loop: closed (a number of clients, each waiting for its answer) or open (arrivals wait for nobody).
        begun_at: of its step, UTC.
        clients: of a closed loop.
        offered_rps: scheduled arrivals a second of an open loop.
        of_saturation: offered_rps over the saturation.
        seconds: the phase's length.
        requests: of the phase, each with its row.
        outcomes: rows by how they ended.
        throughput_rps: 2xx answers that ended within the phase, a second.
        response_ms: of 2xx answers, from the intended arrival.
        service_ms: of the same, from the actual sending.
        queue_ms, work_ms: of the same, by the server's own account (header Server-Timing).
        parts: means of the same, null where the server keeps no account.
        refused_ms: response times of refusals (429).
        lateness_ms: actual minus intended sending, all rows; null in a closed loop, which has no schedule.
        generator_cpu: share of one core that the generator used, of its whole step.
        flags: why the phase's figures must not be believed; empty where nothing is known against them.
    """

    phase: str
    loop: Literal["closed", "open"]
    begun_at: str
    clients: int | None
    offered_rps: float | None
    of_saturation: float | None
    seconds: float
    requests: int
    outcomes: dict[str, int]
    throughput_rps: float
    response_ms: Latency | None
    service_ms: Latency | None
    queue_ms: Latency | None
    work_ms: Latency | None
    parts: Parts | None
    refused_ms: Latency | None
    lateness_ms: Latency | None
    generator_cpu: float
    flags: list[str]


class Check(_Row):
    """A bar: what was measured, what is allowed, and whether it is met; null where it was not measured or is flagged."""

    what: str
    value: float | None
    bar: str
    met: bool | None
    note: str = ""


class LoadReport(Provenance):
    """A whole run.

    Attributes:
        target: what was loaded, in words.
        saturation_rps: see the protocol; `saturation_from` is the phase it comes from, or "given".
        still_growing: how much the last number of clients added to the throughput of the one before, as a fraction: far
            above 0, the sweep ended before the saturation.
        recovery_s: seconds from the end of the overload until the answers are as before; null where they never are, or there
            was no overload.
        server: step -> what our own server counted; empty for a foreign one.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    target: str
    saturation_rps: float
    saturation_from: str
    still_growing: float | None
    recovery_s: float | None
    n_scheduled: int
    n_rows: int
    outcomes: dict[str, int]
    checks: dict[str, Check]
    phases: list[PhaseRow]
    server: dict[str, ServerCount]
