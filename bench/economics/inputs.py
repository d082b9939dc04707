"""All inputs of a run, opened and checked: what is assumed, what was measured, and what nobody has measured yet."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from bench.cost import frontier_cost, load_prices, model_price
from bench.economics.assumptions import Assumption, Assumptions, assumptions
from bench.economics.lines import Part, Scene
from bench.economics.options import Options
from bench.economics.speeds import (
    BY_HAND,
    CUT,
    ONE_WORKER,
    Device,
    Report,
    Speed,
    by_hand,
    read_embedding,
    read_requests,
)
from navigator.contracts.errors import UserError
from navigator.contracts.manifest import digest

PARTS: tuple[Part, ...] = get_args(Part)
MEASURE = {
    "ours_rps": "`navigator-bench latency --shape qwen3-vl-2b` (then --latency REPORT)",
    "native_rps": "`navigator-bench latency --shape qwen3-vl-2b` (then --latency REPORT)",
    "items_embedded_per_s": "`navigator-bench encoder ... --throughput 512` (then --embed REPORT)",
}


@dataclass(frozen=True)
class Inputs:
    """What a report is made of.

    Attributes:
        table: every input by name, measured ones included, with its source.
        scene: their values, for the calculation.
        models: hosted system -> its name in the price list.
        how: how ours, native and the embedding were measured; those that were not are left out.
        fingerprints: of the reports and the price lists.
        caveats: what a reader of the verdict must know about the measurements.
    """

    table: Assumptions
    scene: Scene
    models: dict[str, str]
    how: dict[Part, str]
    fingerprints: dict[str, str]
    caveats: list[str]

    @property
    def missing(self) -> dict[str, str]:
        """Unmeasured input -> the command that measures it."""
        return {name: MEASURE[name] for name, entry in self.table.items() if entry.value is None}

    def priced(self, system: str) -> list[str]:
        """The prices and tokens behind a hosted system's cost."""
        items = int(self.scene.known("history_items")), int(self.scene.known("candidate_items"))
        return frontier_cost(self.models[system], *items)[1]


def open_inputs(options: Options) -> Inputs:
    """Raises UserError: a report that is none, an unknown name, a value that is not allowed, shapes that contradict."""
    prices = load_prices()
    models = {f"frontier:{name}": name for name in (prices.default if options.frontier is None else options.frontier)}
    for name in models.values():
        model_price(name)
    report = read_requests(options.latency, options.shape) if options.latency else None
    measured_on: list[Device] = [speed.device for speed in report.speeds.values()] if report else []
    by: Device = options.device or (measured_on[0] if measured_on else "cuda")
    fingerprints = {"prices": digest(prices.model_dump(mode="json"))}
    fingerprints |= {"latency": report.fingerprint} if report else {}
    found = _request_speeds(options, report, by)
    if options.embed:
        found["embedding"], fingerprints["embed"] = read_embedding(options.embed, options.encoder)
    if options.embed_per_second is not None:
        found["embedding"] = by_hand({"items": options.embed_per_second}, by, "--embed_per_second")["items"]
    table = _shaped(assumptions(options.assume), options.assume, report) | {
        "ours_rps": _measured(
            found.get("ours"), "requests a second", f"what one machine (one GPU) of {options.ours} answers"
        ),
        "native_rps": _measured(
            found.get("native"), "requests a second", f"what one machine (one GPU) of {options.native} answers"
        ),
        "items_embedded_per_s": _measured(
            found.get("embedding"), "items a second", "what one machine (one GPU) embeds"
        ),
    }
    devices: dict[Part, Device] = {part: found[part].device if part in found else by for part in PARTS}
    scene = Scene({name: entry.value for name, entry in table.items()}, devices)
    how: dict[Part, str] = {part: f"{speed.how} ({speed.device})" for part, speed in found.items()}
    return Inputs(table, scene, models, how, fingerprints, _caveats(options, found, report))


def _caveats(options: Options, found: Mapping[Part, Speed], report: Report | None) -> list[str]:
    """Where a throughput is not the saturation of the whole model, or the rivals do not answer the same request."""
    asked = {name: found[part] for part, name in _names(options).items() if part in found}
    lines = [f"{', '.join(n for n, s in asked.items() if s.how == how)}: {how}." for how in (ONE_WORKER, CUT, BY_HAND)]
    lines = [line for line in lines if not line.startswith(":")]
    if len({speed.device for speed in asked.values()}) > 1:
        said = " and ".join(f"{name} on {speed.device}" for name, speed in asked.items())
        lines.append(f"Measured on different devices, each paid at the price of its own: {said}.")
    priced = load_prices().request.picture_px
    if report and report.side not in (None, priced):
        lines.append(f"{options.native} reads pictures of {report.side} px, hosted models are priced for {priced} px.")
    return lines


def _request_speeds(options: Options, report: Report | None, by: Device) -> dict[Part, Speed]:
    """Ours and native, as far as they are known; what is typed goes before what a report says."""
    names = _names(options)
    foreign = next((name for name in options.throughput if name not in names.values()), None)
    if foreign is not None:
        raise UserError(
            f"--throughput {foreign}: allowed are {' and '.join(names.values())}; name other systems with --ours, --native"
        )
    speeds = (report.speeds if report else {}) | by_hand(options.throughput, by, "--throughput")
    if report and options.ours not in (*report.names, *options.throughput):
        raise UserError(
            f"{options.latency} has no system {options.ours!r}; it has {', '.join(report.names)}: name one with --ours"
        )
    return {part: speeds[name] for part, name in names.items() if name in speeds}


def _names(options: Options) -> dict[Part, str]:
    return {"ours": options.ours, "native": options.native}


def _shaped(table: Assumptions, given: Mapping[str, float], report: Report | None) -> Assumptions:
    """History and candidate items as in the measured request, which the throughput belongs to."""
    if report is None or report.items is None:
        return table
    for name, items in zip(("history_items", "candidate_items"), report.items, strict=True):
        if name in given and given[name] != items:
            raise UserError(
                f"--assume.{name} {given[name]:g}: the report's requests have {items}; its throughput holds for those alone"
            )
        table[name] = table[name].model_copy(update={"value": float(items), "source": "the measured request"})
    return table


def _measured(speed: Speed | None, unit: str, what: str) -> Assumption:
    if speed is None:
        return Assumption(value=None, unit=unit, allowed=(0, None), what=what, source="not measured", as_of=None)
    day = datetime.date.fromisoformat(speed.day) if speed.day else None
    source = f"{speed.source}; {speed.how}, {speed.device}"
    return Assumption(value=speed.per_second, unit=unit, allowed=(0, None), what=what, source=source, as_of=day)
