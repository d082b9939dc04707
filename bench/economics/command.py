"""The command `navigator-bench cost`: what a request costs by component, and from how many requests a day the swap pays."""

from pathlib import Path
from typing import Any

from bench.economics.lines import Capacity
from bench.economics.options import Options
from bench.economics.speeds import Device
from navigator.contracts.errors import UserError


def cost(
    latency: Path | None = None,
    out: Path = Path("runs/cost-report"),
    shape: str | None = None,
    throughput: dict[str, float] | None = None,
    embed: Path | None = None,
    encoder: str | None = None,
    embed_per_second: float | None = None,
    device: Device | None = None,
    ours: str = "swapped",
    native: str = "native",
    frontier: list[str] | None = None,
    capacity: Capacity = "whole",
    assume: dict[str, float] | None = None,
    list_assumptions: bool = False,
) -> dict[str, Any]:
    """Cost per 1,000 requests by component, the demand from which the swap pays, and what that hangs on.

    Args:
        latency: report of `navigator-bench latency`, `run` or `candidates`, for the measured throughput of ours and native.
        out: report folder to write.
        shape: which model of a latency report that has several, such as qwen3-vl-2b.
        throughput: requests a second at saturation of one machine (one GPU), such as swapped=120,native=6; goes before
            what the report says. A system without any has no cost: nothing is guessed.
        embed: report of `navigator-bench encoder --throughput N`, for the speed of embedding.
        encoder: which of its encoders, where there are several.
        embed_per_second: items a second that one machine (one GPU) embeds, instead of a report.
        device: cpu or cuda, what the numbers given by hand were measured on; by default what the latency report was
            measured on, cuda without one.
        ours: name of the swapped system in the report.
        native: name of the system that reads pictures at request time.
        frontier: hosted models to compare with (bench/prices.json names them); default is the table's own choice, [] is
            none.
        capacity: which the verdict, the sensitivity and its plots are for: whole machines, planned for the busiest time
            and never fewer than the replicas; or fractional, paid by the busy second over an assumed utilisation. Costs
            and break-evens are always given for both.
        assume: name=value for any assumption, or one at a time as --assume.requests_per_day 50000. All of them, with units
            and sources, are in bench/economics/assumptions.yaml and in every report.
        list_assumptions: print them and stop.

    Returns:
        Where the report is, the verdict, costs and break-evens, and the tables as text.

    Raises:
        UserError: not such a report, an unknown system, model or assumption, a value that its unit does not allow.
    """
    if list_assumptions:
        from bench.economics.tables import assumption_lines

        return {"text": "\n".join(assumption_lines())}
    for name, value, report in (("encoder", encoder, embed), ("shape", shape, latency)):
        if value is not None and report is None:
            option = "--embed" if name == "encoder" else "--latency"
            raise UserError(f"--{name} {value!r} chooses from a report; add it with {option} REPORT")
    if ours == native:
        raise UserError(f"--ours and --native are both {ours!r}; name two systems")
    options = Options(
        out, latency, shape, throughput or {}, embed, encoder, embed_per_second, device, ours, native,
        None if frontier is None else list(dict.fromkeys(frontier)), capacity, assume or {},
    )  # fmt: skip
    from bench.economics.run import compare_costs

    return compare_costs(options)
