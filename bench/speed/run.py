"""`navigator-bench latency`: build each shape, measure every point of its grid and its batches, judge, write.

What is finished is kept in the work folder point by point, so that an interrupted run goes on with the next one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel

from bench.device import describe_device
from bench.documents import DOCUMENTS, where, write_documents
from bench.provenance import came_about
from bench.speed.agree import changes_path, compared, plainly
from bench.speed.captured import Assembled
from bench.speed.figures import SCHEMA_VERSION, BatchRow, Memory, PointRow, RequestRow, SameOutput, SpeedReport
from bench.speed.measure import fill, prepare, release, rounds
from bench.speed.models import build_models, compile_parts, use_attention
from bench.speed.options import Options, Point
from bench.speed.roofline import Roof, measure_roof
from bench.speed.summary import is_cut, point_row, saturation, verdicts
from bench.speed.tables import compact, markdown
from bench.speed.ways import WAYS
from navigator.contracts import UserError, is_current, publish
from navigator.contracts.manifest import write_text
from navigator.recommend import pick_device
from navigator.shapes import named_shape

KIND = "latency-report"
PROTOCOL = [
    "A request: half of the text tokens, the history, the candidates, the other half; greedy tokens after it. The same for all "
    "ways; around a picture the stock template's two tokens. Weights, words, pictures and vectors are random: time does not "
    "depend on them.",
    "Outside the clock: decoding and resizing pictures, tokenizing, rotary positions, and what an earlier request left (stored "
    "features, keys and values of a kept history). Inside: the way of words and items from the host's (page-locked) memory to "
    "the device, already in the run's number format; the tower's place; reading; writing; the tokens back on the host.",
    "Native ways run the stock Qwen3-VL forward with pixel_values, swapped ones navigator's item tower in the tower's place "
    "and its own read. All share one language model and one head.",
    "Ways take turns, the first of a round moves on; warm-up answers are not recorded; the device is synchronised before the "
    "clock is read. Ratios are paired by round; their interval resamples rounds. Claims are judged on a GPU with all layers.",
    "Saturation: batches of equal requests on the base point until a larger batch brings less than 3 %, memory ends or it "
    "would take too long; the median of three answers. Cheaper: 1 - native requests/s over swapped requests/s, same machine.",
    "GFLOP and MB moved are counted (bench.speed.count), not measured. Roofline: the least time for them at the measured "
    "matrix rate or copy bandwidth (bytes read + written), stage by stage, over the median of prefill + decode. Floor: the "
    "weights alone, the language model once a written token, at the copy bandwidth.",
    "Peak MB: beyond all weights; on a GPU of the allocator, on a CPU resident memory of the first answers, a lower bound, and "
    "a dash where all of it was memory used before.",
    "A shape cut to N layers has as large a share of its vision layers and DeepStack levels, at least one of each; word "
    "embedding, head and the last merger stay whole and so weigh more than in the published model.",
]
_Model = TypeVar("_Model", bound=BaseModel)


class _PointRaw(BaseModel):
    rows: list[RequestRow]
    held: list[Memory]
    eager: dict[str, dict[str, str]]


class _ShapeRaw(BaseModel):
    batches: list[BatchRow]
    same: list[SameOutput]


class _Roof(BaseModel):
    flops_per_s: float
    bytes_per_s: float


def measure_latency(options: Options) -> dict[str, Any]:
    """Write the report, or find it current; see bench.speed.command.

    Raises:
        UserError: a flag that this machine cannot follow.
    """
    device = pick_device(options.device)
    _check_machine(options, device)
    config = options.config() | {"schema_version": SCHEMA_VERSION}
    machine = describe_device(options.dtype, device.type == "cuda")
    inputs = {"machine": machine.accelerator or machine.cpu}
    if is_current(options.out, KIND, config, inputs):
        return _answer(options, SpeedReport.model_validate_json((options.out / "report.json").read_text()), True)
    with publish(options.out, KIND, config, inputs, options.seed) as work:
        raw = work.path / "raw"
        measured = _kept(raw / "roof.json", _Roof, lambda: _Roof(**vars(measure_roof(device, _dtype(options)))))
        roof = Roof(measured.flops_per_s, measured.bytes_per_s)
        found = {}
        for name in options.shape:
            found[name] = _measure_shape(name, options, raw, device)
            release(device)
        report = _report(options, found, roof, config, inputs, device)
        _write(work.path, report, found)
        work.metrics = {v.shape + ": " + v.claim: v.value for v in report.verdicts}
        for path in [*raw.iterdir(), raw]:
            path.unlink() if path.is_file() else path.rmdir()
    return _answer(options, report, False)


def _check_machine(options: Options, device: torch.device) -> None:
    if options.cuda_graphs and device.type != "cuda":
        raise UserError(
            "--cuda_graphs needs a CUDA device, this run is on the CPU; leave it out, or give --device cuda on a GPU"
        )
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device {options.device}: this machine has no CUDA device; give --device cpu")


def _dtype(options: Options) -> torch.dtype:
    return getattr(torch, options.dtype)


def _measure_shape(
    name: str, options: Options, raw: Path, device: torch.device
) -> tuple[list[_PointRaw], _ShapeRaw]:  # fmt: skip
    """The raw figures of a shape's points, and of its batches; what lies in `raw` is not measured again."""
    points, stem = options.points(name), name.replace(":", "-")
    files = [raw / f"{stem}-{number}.json" for number in range(len(points))]
    last = raw / f"{stem}-batches.json"
    if last.is_file():
        return [_PointRaw.model_validate_json(f.read_text()) for f in files], _ShapeRaw.model_validate_json(
            last.read_text()
        )
    ways = [WAYS[way] for way in options.ways]
    models = build_models(named_shape(name), ways, options.dim, device, _dtype(options), options.seed)
    before = plainly(models, points[0], options) if changes_path(options) else {}
    use_attention(models["stock"], options.attention)
    if options.compile:
        compile_parts(models["stock"])
    same = compared(models, points[0], options, before)
    found = [
        _kept(file, _PointRaw, lambda point=point: _measure_point(models, point, options))
        for file, point in zip(files, points, strict=True)
    ]
    return found, _kept(
        last, _ShapeRaw, lambda: _ShapeRaw(batches=fill(models, points[0], found[0].rows, options), same=same)
    )


def _measure_point(models: dict[str, Any], point: Point, options: Options) -> _PointRaw:
    runners, failed, held = prepare(models, point, options)
    eager = {name: own.eager for name, own in runners.items() if isinstance(own, Assembled) and own.eager}
    return _PointRaw(rows=rounds(runners, failed, point, options, models["stock"].device), held=held, eager=eager)


def _kept(path: Path, kind: type[_Model], make: Callable[[], _Model]) -> _Model:
    """What an interrupted run has left there; else made and left there."""
    if not path.is_file():
        write_text(path, make().model_dump_json())
    return kind.model_validate_json(path.read_text())


def _report(
    options: Options, found: dict[str, tuple[list[_PointRaw], _ShapeRaw]], roof: Roof, config: dict[str, Any],
    inputs: dict[str, str], device: torch.device,
) -> SpeedReport:  # fmt: skip
    points: list[PointRow] = []
    bases: dict[str, PointRow] = {}
    for name, (raws, _) in found.items():
        own = [
            point_row(point, raw.rows, raw.held, raw.eager, roof, options)
            for point, raw in zip(options.points(name), raws, strict=True)
        ]
        bases[name] = own[0]
        points += own
    full = {name: saturation(shape.batches) for name, (_, shape) in found.items()}
    return SpeedReport(
        matmul_tflops=roof.flops_per_s / 1e12, copy_gb_per_s=roof.bytes_per_s / 1e9, points=points,
        batches={name: shape.batches for name, (_, shape) in found.items()}, saturation=full,
        same_output=[row for _, shape in found.values() for row in shape.same],
        verdicts=[
            verdict
            for name in found
            for verdict in verdicts(bases[name], full[name], device.type == "cuda" and not is_cut(name))
        ],
        cut=[name for name in options.shape if is_cut(name)],
        **came_about(
            options.seed, options.command_line(), config, inputs, PROTOCOL, options.dtype, device.type == "cuda"
        ),
    )  # fmt: skip


def _write(folder: Path, report: SpeedReport, found: dict[str, tuple[list[_PointRaw], _ShapeRaw]]) -> None:
    from bench.speed.plots import growth

    rows = [row for raws, _ in found.values() for raw in raws for row in raw.rows]
    write_text(folder / "requests.jsonl", "".join(row.model_dump_json() + "\n" for row in rows))
    growth(report.points, folder / "growth.png")
    write_documents(folder, report, markdown(report, [*DOCUMENTS, "requests.jsonl", "growth.png"]))


def _answer(options: Options, report: SpeedReport, unchanged: bool) -> dict[str, Any]:
    text = f"{compact(report)}\n\n{where(options.out, unchanged)}"
    return {
        "out": str(options.out), "unchanged": unchanged, "verdicts": [v.model_dump() for v in report.verdicts],
        "cut": report.cut, "text": text,
    }  # fmt: skip
