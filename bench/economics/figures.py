"""What `navigator-bench cost` reports: report.json, versioned. What cannot be known without a measurement is null, never 0."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from bench.economics.breakeven import State
from bench.economics.lines import Capacity
from navigator.contracts.report import Provenance

SCHEMA_VERSION: Literal[1] = 1


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputRow(_Row):
    """One input: `day` is that of its source; `value` is null where it was not measured."""

    value: float | None
    unit: str
    what: str
    source: str
    day: str | None


class CostRow(_Row):
    """One system at the assumed demand, with one way to buy machines.

    Attributes:
        usd_per_1000: component -> US$ per 1,000 requests.
        total_usd_per_1000, usd_a_month: null where a component is unknown.
        machines: running; null where none is bought as a whole, or the throughput is unknown.
        busy: share of their saturation throughput that the mean demand takes; null as before.
    """

    usd_per_1000: dict[str, float | None]
    total_usd_per_1000: float | None
    usd_a_month: float | None
    machines: int | None
    busy: float | None


class SystemRow(_Row):
    """One system: ours, native (own machines) or hosted (paid by the token).

    Attributes:
        device, measured: where and how its speed was measured; null where it was not, and of hosted ones.
        priced: of hosted ones, the prices and tokens behind the cost.
    """

    kind: Literal["ours", "native", "hosted"]
    device: str | None
    measured: str | None
    priced: list[str]
    cost: dict[Capacity, CostRow]


class Point(_Row):
    """A break-even in requests a day; see bench.economics.breakeven.BreakEven for the states."""

    state: State
    requests_a_day: float | None
    first_requests_a_day: float | None = None


class SwingRow(_Row):
    """A break-even with one input at a lower and at a higher value."""

    input: str
    unit: str
    low_value: float
    high_value: float
    low: Point
    high: Point


class RivalRow(_Row):
    """Ours against one rival.

    Attributes:
        sensitivity: with the report's capacity, what moves the break-even, the widest first.
        unmoved: inputs that move nothing there when halved and doubled; empty where the break-even is unknown.
    """

    break_even: dict[Capacity, Point]
    sensitivity: list[SwingRow]
    unmoved: list[str]


class Curves(_Row):
    """US$ per 1,000 requests of every system whose cost is known, at each of these demands."""

    requests_a_day: list[float]
    usd_per_1000: dict[str, dict[Capacity, list[float]]]


class CostReport(Provenance):
    """A whole run.

    Attributes:
        capacity: of the verdict and the sensitivity.
        requests_a_day: the assumed demand.
        caveats: what a reader of the verdict must know about the measurements.
        missing: input that nobody measured -> the command that does.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    verdict: str
    capacity: Capacity
    ours: str
    requests_a_day: float
    inputs_table: dict[str, InputRow]
    systems: dict[str, SystemRow]
    rivals: dict[str, RivalRow]
    curves: Curves
    caveats: list[str]
    missing: dict[str, str]
