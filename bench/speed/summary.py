"""From raw rows to figures: percentiles, paired ratios, roofline, saturation, and the verdicts."""

from collections.abc import Sequence

import numpy as np

from bench.latency import percentiles
from bench.speed.count import pass_weights, request, tower_weights, weight_floor_bytes
from bench.speed.figures import BatchRow, Measured, Memory, Pair, PaperCost, PointRow, RequestRow, Saturation, Verdict
from bench.speed.options import Options, Point
from bench.speed.roofline import Roof
from bench.speed.ways import WAYS, Way
from navigator.contracts.report import Latency
from navigator.shapes import SHAPES, Shape, named_shape

RESAMPLES = 2000
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
NATIVE, SWAPPED = "native", "swapped"
FASTER, CHEAPER, OVER_FLOOR = 20.0, 0.9, 3.0  # the bars of the issue


def latency(values: Sequence[float | None]) -> Latency | None:
    """Percentiles of the values that are there (linear interpolation); None when there is none."""
    return percentiles([value for value in values if value is not None])


def point_row(
    point: Point, rows: Sequence[RequestRow], held: Sequence[Memory], eager: dict[str, dict[str, str]], roof: Roof,
    options: Options,
) -> PointRow:  # fmt: skip
    """The figures of one grid point."""
    peaks = {memory.way: memory.peak_mb for memory in held}
    ways = {
        name: _measured(point, WAYS[name], [r for r in rows if r.way == name], peaks.get(name), roof, options)
        for name in options.ways
    }
    pairs = {name: _pair(rows, ways, name, options.seed) for name in options.ways if name != NATIVE}
    return PointRow(
        shape=point.shape, history=point.history, candidates=point.candidates, side=point.side, ways=ways,
        native_over={name: pair for name, pair in pairs.items() if pair is not None}, eager=eager,
    )  # fmt: skip


def saturation(batches: Sequence[BatchRow]) -> dict[str, Saturation]:
    """Way -> its best batch."""
    found = {}
    for name in dict.fromkeys(row.way for row in batches):
        own = [row for row in batches if row.way == name]
        best = max(own, key=lambda row: row.per_s or 0)
        if best.per_s is not None:
            ended = own[-1].error or (
                "no larger batch was asked for" if best is own[-1] else "a larger batch brings less"
            )
            found[name] = Saturation(requests_per_s=best.per_s, batch=best.batch, ended=ended)
    return found


def verdicts(base: PointRow, full: dict[str, Saturation], judged: bool) -> list[Verdict]:
    """The claims on the base point of a shape; without `judged` the values alone, since they are those of a CPU or a cut."""
    pair, swapped = base.native_over.get(SWAPPED), base.ways.get(SWAPPED)
    cheaper = None
    if NATIVE in full and SWAPPED in full:
        cheaper = 1 - full[NATIVE].requests_per_s / full[SWAPPED].requests_per_s
    over = None if swapped is None else swapped.over_floor
    rows = [
        ("native over swapped, P50, times", None if pair is None else pair.p50, FASTER, 1),
        ("native over swapped, P95, times", None if pair is None else pair.p95, FASTER, 1),
        ("cheaper a request at saturation, share", cheaper, CHEAPER, 1),
        ("swapped over the weight-streaming floor, times", over, OVER_FLOOR, -1),
    ]
    return [
        Verdict(shape=base.shape, claim=claim, value=value, bar=bar, met=_met(value, bar, sign, judged))
        for claim, value, bar, sign in rows
    ]  # fmt: skip


def _met(value: float | None, bar: float, sign: int, judged: bool) -> bool | None:
    return sign * value >= sign * bar if judged and value is not None else None


def is_cut(name: str) -> bool:
    """Whether a shape has fewer layers than published."""
    return ":" in name and named_shape(name) != _whole(name)


def _whole(name: str) -> Shape:
    return SHAPES[name.partition(":")[0]]


def _measured(
    point: Point, way: Way, rows: Sequence[RequestRow], peak_mb: float | None, roof: Roof, options: Options
) -> Measured:  # fmt: skip
    shape, width = named_shape(point.shape), BYTES[options.dtype]
    cost = request(shape, way, point, options.dim, width)
    whole = request(_whole(point.shape), way, point, options.dim, width)
    read = [row.prefill_ms + (row.decode_ms or 0) for row in rows if row.prefill_ms is not None]
    median = float(np.median(read)) if read else None
    least_ms = 1000 * sum(roof.seconds(stage.flops, stage.bytes) for stage in cost.values())
    floor_ms = 1000 * weight_floor_bytes(shape, way, point, options.dim, width) / roof.bytes_per_s
    return Measured(
        letter=way.letter, n=len(read), failed=sum(row.error is not None for row in rows),
        total_ms=latency([row.total_ms for row in rows]), copy_ms=latency([row.copy_ms for row in rows]),
        prefill_ms=latency([row.prefill_ms for row in rows]), decode_ms=latency([row.decode_ms for row in rows]),
        tokens=way.read(point), kept=way.kept(point),
        cost={name: PaperCost(gflops=own.flops / 1e9, mb=own.bytes / 2**20) for name, own in cost.items()},
        whole_gflops=sum(own.flops for own in whole.values()) / 1e9,
        weights_mb=width * (pass_weights(shape) + tower_weights(shape, way, options.dim) + _embedding(shape)) / 2**20,
        peak_mb=peak_mb, roofline=None if median is None else least_ms / median, floor_ms=floor_ms,
        over_floor=None if median is None else median / floor_ms,
    )  # fmt: skip


def _embedding(shape: Shape) -> int:
    """Weights of a word embedding that is not the head as well."""
    return 0 if shape.tied else shape.vocab_size * shape.hidden_size


def _pair(rows: Sequence[RequestRow], ways: dict[str, Measured], name: str, seed: int) -> Pair | None:
    """The native way against another, round by round; None where no round has both."""
    times = {(row.way, row.round): row.total_ms for row in rows if row.total_ms is not None}
    processor = {(row.way, row.round): row.processor_ms for row in rows if row.processor_ms}
    shared = [number for way, number in times if way == NATIVE and (name, number) in times]
    native, own = ways.get(NATIVE), ways[name]
    if not shared or native is None or native.total_ms is None or own.total_ms is None:
        return None
    ratios = np.array([times[NATIVE, number] / times[name, number] for number in shared])
    busy = [
        processor[NATIVE, n] / processor[name, n] for n in shared if (NATIVE, n) in processor and (name, n) in processor
    ]
    drawn = np.random.default_rng(seed).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), [2.5, 97.5])
    return Pair(
        median=float(np.median(ratios)), ci95=(float(low), float(high)),
        p50=native.total_ms.p50 / own.total_ms.p50, p95=native.total_ms.p95 / own.total_ms.p95,
        processor=float(np.median(busy)) if busy else None,
        flops=_gflops(native) / _gflops(own), whole_flops=native.whole_gflops / own.whole_gflops,
    )  # fmt: skip


def _gflops(measured: Measured) -> float:
    return sum(stage.gflops for stage in measured.cost.values())
