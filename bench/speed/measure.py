"""Timing: the ways take turns on the same request, raw rows kept; then batches of it until the machine is full.

Turns, because a shared machine speeds up and slows down within minutes: what disturbs one way disturbs its rivals in the same
seconds. The clock is perf_counter; the device is synchronised before it is read.
"""

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from tqdm import tqdm

from bench.device import peak_memory
from bench.latency import no_collection
from bench.speed.captured import Assembled
from bench.speed.figures import BatchRow, Memory, RequestRow
from bench.speed.options import Options, Point
from bench.speed.plain import Plain
from bench.speed.prompts import make_prompt
from bench.speed.roofline import synchronise
from bench.speed.ways import WAYS, Way

LEAST_ROUNDS = 3  # also when the time is used up
BATCH_REPEATS = 3
FULL = 1.03  # a larger batch that brings less than 3 % is the last
Runner = Plain | Assembled


def runner_of(model: Any, way: Way, point: Point, batch: int, options: Options) -> Runner:
    """What answers `batch` requests of a point at once, in the way that the options say."""
    prompt = make_prompt(model, way, point, batch, options.dim, options.seed)
    if options.cuda_graphs:
        return Assembled(model, way, prompt, point.generated).capture()
    return Plain(model, way, prompt, point.generated)


def timed(runner: Runner, device: torch.device) -> tuple[float, float, float, float]:
    """Milliseconds of one answer: to the device, read, and write until the tokens are back on the host; and of processor time
    in all three."""
    ends = []
    synchronise(device)
    begun, processor = time.perf_counter(), time.process_time()
    for step in (runner.put, runner.prefill, runner.decode):
        step()
        synchronise(device)
        ends.append((time.perf_counter() - begun) * 1000)
    return ends[0], ends[1] - ends[0], ends[2] - ends[1], (time.process_time() - processor) * 1000


def prepare(
    models: dict[str, Any], point: Point, options: Options
) -> tuple[dict[str, Runner], dict[str, str], list[Memory]]:
    """Warm runners of a point by way; way -> why it has none; and what each took of memory beyond the weights."""
    runners: dict[str, Runner] = {}
    failed: dict[str, str] = {}
    held: list[Memory] = []
    device = models["stock"].device
    for name in options.ways:
        with peak_memory(device.type == "cuda") as peak:
            error = _out_of_memory(lambda name=name: runners.update({name: _warm(models, name, point, options)}))
        if error:
            failed[name] = error
            runners.pop(name, None)
        held.append(Memory(way=name, peak_mb=None if error else peak.mb or None))
    return runners, failed, held


def rounds(
    runners: dict[str, Runner], failed: dict[str, str], point: Point, options: Options, device: torch.device
) -> list[RequestRow]:
    """Every way once a round, in turns, until the repeats are done or the time is used up."""
    rows, begun = [], time.perf_counter()
    with no_collection():
        for number in tqdm(range(options.repeats), desc=point.label(), unit="round"):
            if number >= LEAST_ROUNDS and time.perf_counter() - begun > options.seconds:
                break
            turn = number % len(options.ways)
            for name in [*options.ways[turn:], *options.ways[:turn]]:
                rows.append(_row(runners.get(name), failed.get(name), name, point, number, device))
    return rows


def fill(models: dict[str, Any], point: Point, rows: Sequence[RequestRow], options: Options) -> list[BatchRow]:
    """Requests a second by batch, each way until a larger batch brings next to nothing, memory ends, or it takes too long.

    The batch of one is what the rounds measured.
    """
    found = []
    for name in tqdm(options.ways, desc="batches", unit="way"):
        alone = [row.total_ms for row in rows if row.way == name and row.total_ms is not None]
        if not alone:
            continue
        last = BatchRow(way=name, batch=1, ms=sum(alone) / len(alone))
        found.append(last)
        for batch in options.batches:
            expected = (last.ms or 0) / last.batch * batch * (BATCH_REPEATS + 1) / 1000
            if expected > options.batch_seconds:
                found.append(BatchRow(way=name, batch=batch, error=f"not run: would take about {expected:.0f} s"))
                break
            row = _batch(models[name], WAYS[name], point, batch, options)
            found.append(row)
            if row.ms is None or row.ms / batch * FULL > (last.ms or 0) / last.batch:
                break
            last = row
    return found


def _batch(model: Any, way: Way, point: Point, batch: int, options: Options) -> BatchRow:
    times: list[float] = []
    device = model.device

    def run() -> None:
        runner = runner_of(model, way, point, batch, options)
        times.extend(sum(timed(runner, device)[:3]) for _ in range(BATCH_REPEATS + 1))

    with peak_memory(device.type == "cuda") as peak:
        error = _out_of_memory(run)
    if error:
        return BatchRow(way=way.name, batch=batch, error=error)
    return BatchRow(way=way.name, batch=batch, ms=sorted(times[1:])[BATCH_REPEATS // 2], peak_mb=peak.mb or None)


def _warm(models: dict[str, Any], name: str, point: Point, options: Options) -> Runner:
    runner = runner_of(models[name], WAYS[name], point, 1, options)
    for _ in range(options.warm_up):
        timed(runner, models[name].device)
    return runner


def _row(
    runner: Runner | None, error: str | None, name: str, point: Point, number: int, device: torch.device
) -> RequestRow:  # fmt: skip
    times: list[float] = []
    if runner is not None:
        error = _out_of_memory(lambda: times.extend(timed(runner, device)))
    asked = {"shape": point.shape, "history": point.history, "candidates": point.candidates, "side": point.side}
    if error or not times:
        return RequestRow(**asked, way=name, round=number, error=error)
    copy, prefill, decode, processor = times
    return RequestRow(
        **asked, way=name, round=number, copy_ms=copy, prefill_ms=prefill,
        decode_ms=decode if point.generated > 1 else None, total_ms=copy + prefill + decode,
        processor_ms=processor if device.type == "cpu" else None,
    )  # fmt: skip


def _out_of_memory(work: Callable[[], object]) -> str | None:
    """Does the work; a line where memory ended, which is a row and not the end of the run."""
    try:
        work()
        return None
    except torch.OutOfMemoryError as error:
        line = f"out of memory: {str(error).splitlines()[0]}"
    except RuntimeError as error:
        if "allocate memory" not in str(error):  # how the CPU's allocator says it
            raise
        line = f"out of memory: {str(error).splitlines()[0]}"
    release(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return line


def release(device: torch.device) -> None:
    """Give back the memory of what nobody holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
