"""How many requests a second a system answers, and items a second an encoder embeds: read from reports, never invented.

Three kinds of report are read, by the keys named here and no others:

    navigator-bench latency      saturation.SHAPE.WAY.requests_per_s, cut, points[0] (history, candidates, side)
    navigator-bench run          systems.SYSTEM.throughput_rps (one closed-loop worker)
    navigator-bench candidates   ways.WAY.seconds, protocol (history, candidates); the systems are named as its ways

with the device's accelerator, and for embedding `navigator-bench encoder --throughput N`, throughput.ENCODER.embed_items_per_s.
What a report does not say stays unknown.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from navigator.contracts.errors import UserError
from navigator.contracts.manifest import file_digest

Device = Literal["cpu", "cuda"]

SATURATED = "measured at saturation"
CUT = (
    "measured at saturation of a model cut to fewer layers, which answers faster and costs less than the published one"
)
ONE_WORKER = "one request at a time, not at saturation: throughput is a lower bound, cost an upper one"
BY_HAND = "given by hand"


@dataclass(frozen=True)
class Speed:
    """A measured rate.

    Attributes:
        per_second: requests or items a second of one machine (of one GPU on cuda); above 0.
        how: how it was measured.
        source: the report it is from.
        day: of the report, as ISO date.
    """

    per_second: float
    device: Device
    how: str
    source: str
    day: str | None = None


@dataclass(frozen=True)
class Report:
    """A report's speeds by system, and the shape of its request where it says so.

    Attributes:
        names: all its systems, those without a speed included.
        items: history and candidate items of the timed request; None where the report does not say.
        side: of the pictures that the native model reads in it, pixels; None likewise.
    """

    names: tuple[str, ...]
    speeds: dict[str, Speed]
    fingerprint: str
    items: tuple[int, int] | None = None
    side: int | None = None


def by_hand(rates: Mapping[str, float], device: Device, option: str) -> dict[str, Speed]:
    """Speeds typed by the user.

    Raises:
        UserError: a rate that is not above 0.
    """
    bad = next((name for name, rate in rates.items() if not 0 < rate < float("inf")), None)
    if bad is not None:
        raise UserError(f"{option} {bad}={rates[bad]:g}: allowed are numbers above 0; leave it out where it is unknown")
    return {name: Speed(float(rate), device, BY_HAND, option) for name, rate in rates.items()}


def read_requests(path: Path, shape: str | None = None) -> Report:
    """Requests a second by system, from a report of latency, run or candidates: the file, or the folder of report.json.

    Args:
        path: the report.
        shape: which model of a latency report; None takes the only one.

    Raises:
        UserError: not such a report, or several shapes of which none is named.
    """
    file, found = _open(path, "navigator-bench latency, run or candidates")
    rates: dict[str, float | None]
    items, side, how = None, None, ONE_WORKER
    try:
        if "saturation" in found:
            chosen, base = _shape(file, found, shape), found["points"][0]
            rates = {name: row["requests_per_s"] for name, row in found["saturation"][chosen].items()}
            items, side = (base["history"], base["candidates"]), base["side"]
            how = CUT if chosen in found["cut"] else SATURATED
        elif "ways" in found:
            rates = {name: 1 / row["seconds"] for name, row in found["ways"].items()}
            items = (found["protocol"]["history"], found["protocol"]["candidates"])
        else:
            rates = {name: row["throughput_rps"] for name, row in found["systems"].items()}
        device = _where(found["machine"] if "ways" in found else found["device"])
        speeds = {n: Speed(float(rate), device, how, str(path), _day(found)) for n, rate in rates.items() if rate}
    except (KeyError, TypeError, AttributeError, IndexError, ZeroDivisionError) as error:
        raise UserError(
            f"{file} has no throughput by system ({type(error).__name__}: {error}); give the report of `navigator-bench "
            "latency`, `run` or `candidates`, or numbers with --throughput"
        ) from error
    return Report(tuple(rates), speeds, file_digest(file)[:16], items, side)


def _shape(file: Path, found: Mapping[str, Any], shape: str | None) -> str:
    known = list(found["saturation"])
    if shape is None and len(known) == 1:
        return known[0]
    if shape is None or shape not in known:
        raise UserError(f"{file} has the shapes {', '.join(known)}; name one with --shape, not {shape!r}")
    return shape


def read_embedding(path: Path, encoder: str | None) -> tuple[Speed, str]:
    """Items a second that `navigator embed` embeds, and the report's fingerprint.

    Raises:
        UserError: no such report, nothing measured in it, or several encoders of which none is named.
    """
    file, found = _open(path, "navigator-bench encoder --throughput N")
    measured = found.get("throughput")
    if not isinstance(measured, dict) or not measured:
        raise UserError(f"{file} has no embedding speed; make one with `navigator-bench encoder ... --throughput 512`")
    name = encoder if encoder is not None else next(iter(measured))
    if name not in measured or (encoder is None and len(measured) > 1):
        raise UserError(f"{file} has the speed of {', '.join(measured)}; name one with --encoder, not {encoder!r}")
    rate = float(measured[name]["embed_items_per_s"])
    how = "`navigator embed`, reading and writing included"
    return Speed(rate, _where(found["device"]), how, str(path), _day(found)), file_digest(file)[:16]


def _open(path: Path, made_by: str) -> tuple[Path, dict[str, Any]]:
    file = path / "report.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"report {file} does not exist; make one with `{made_by}`")
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise UserError(f"{file} is not JSON; give the report of `{made_by}`") from error
    if not isinstance(found, dict):
        raise UserError(f"{file} is not a report; give the one of `{made_by}`")
    return file, found


def _where(device: Mapping[str, Any]) -> Device:
    return "cuda" if device.get("accelerator") else "cpu"


def _day(report: Mapping[str, Any]) -> str | None:
    written = report.get("created_at") or report.get("date")
    return str(written)[:10] if written else None
