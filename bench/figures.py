"""Raw rows and ranked lists -> the figures of a report; all of it can be derived again from a run's files."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.assemble import MODELS
from bench.cost import Machine, frontier_cost, load_prices, machine_cost
from bench.evaluate import Evaluated, Measured, cold_quality, paired_to
from bench.inputs import World, queries_digest
from bench.intervals import RESAMPLES, quality
from bench.latency import CANDIDATES, HISTORY, WARM_UP, latency, throughput_rps
from bench.provenance import came_about
from bench.systems.base import System
from bench.systems.content import Content
from bench.systems.ease import LAMBDA
from bench.systems.navigator_models import NavigatorSystem
from navigator.contracts.report import BenchReport, Split, SystemReport
from navigator.metrics import DEPTH

RIVAL = "content"


def build_report(
    world: World,
    measured: Measured,
    hosted: Sequence[str],
    config: dict[str, Any],
    inputs: dict[str, str],
    command: str,
) -> BenchReport:
    """The whole report.

    Args:
        world: what was asked.
        measured: what the systems did.
        hosted: frontier models to price, whether they answered or not.
        config: the run's options, seed included.
        inputs: fingerprints of what the run read.
        command: the command line that repeats the run.
    """
    seed = config["seed"]
    rows = {s.name: _system_row(s, world, measured, seed) for s in measured.systems}
    for name, row in rows.items():
        machine = _machine(config["machine_usd_per_hour"], measured.cuda and name in MODELS)
        usd, assumptions = machine_cost(row.throughput_rps, machine)
        rows[name] = row.model_copy(update={"cost_usd_per_1000": usd, "cost_assumptions": assumptions})
    for model in hosted:
        name = f"frontier:{model}"
        rows[name] = _priced(model, rows.get(name), config["max_history"])
    return BenchReport(
        task=world.task, split=_split(world), n_queries=len(world.queries), n_items=world.n_items,
        n_cold_queries=int(world.cold.sum()), systems=rows,
        **came_about(seed, command, config, inputs, protocol(config), measured.dtype, measured.cuda),
    )  # fmt: skip


def protocol(config: dict[str, Any]) -> list[str]:
    """How the figures came about, in sentences."""
    shown = "may read the board's title" if config["titles"] else "do not read the board's title"
    return [
        "Quality: every system ranks the whole catalogue for each test query; items of the history are excluded. "
        "Order: score descending, then catalogue order. HR@10: any target among the first 10; NDCG@10: binary, ideal "
        "cut at min(targets, 10); recall@50: share of the targets among the first 50.",
        f"Intervals: 95 % percentile bootstrap over queries, {RESAMPLES:,} resamples; differences to {RIVAL} are "
        "paired by query.",
        "A query's history is every save before the held-out ones, the validation saves included. popularity, item-knn "
        f"and ease (lambda {LAMBDA:g}) are fitted on the same saves of all boards or users and read the whole history; "
        f"content and the models read its last {config['max_history']} items; the models {shown}, the other systems "
        "cannot.",
        f"Cold: all targets of the query have at most {config['cold_max']} training saves.",
        f"Latency: one request ranks {CANDIDATES} candidates for {HISTORY} history items, drawn from the catalogue "
        f"with the seed, the same for every system; {WARM_UP} warm-up requests each, then {config['requests']} timed "
        "ones, systems interleaved in one process; wall clock, accelerator synchronised. Percentiles over successful "
        "requests.",
        "Throughput: 1 / mean latency, a closed loop of one worker without batching.",
        "Peak memory: opening the system and answering one request, above what the process held before (resident "
        "memory on CPU, torch's allocator on CUDA), MiB. Libraries loaded before and memory the allocator had kept are "
        "not in it.",
        f"TREC files hold the first {DEPTH} items; HR@10 is Success@10 there.",
    ]


def _system_row(system: System, world: World, measured: Measured, seed: int) -> SystemReport:
    own = [r for r in measured.records if r.system == system.name]
    timed = [r for r in own if r.phase == "timed"]
    tokens = [r.tokens for r in timed if r.tokens is not None]
    result = measured.results[system.name]
    rival = measured.results.get(RIVAL)
    return SystemReport(
        quality=quality(result.metrics, seed), quality_cold=cold_quality(result, world.cold, seed),
        paired=paired_to(result, rival, seed) if rival and system.name != RIVAL else None,
        latency_ms=latency(timed), throughput_rps=throughput_rps(timed),
        tokens_per_request=float(np.mean(tokens)) if tokens else None, peak_memory_mb=measured.memory.get(system.name),
        n_queries=len(result.chosen), n_requests=len(own), n_failed=sum(r.error is not None for r in own),
        note=_note(system, result, world),
    )  # fmt: skip


def _priced(model: str, measured: SystemReport | None, max_history: int) -> SystemReport:
    """A hosted model's row: whatever was measured, and the cost by token rule where the table has a price."""
    row = measured or SystemReport(note="not asked (no endpoint): cost by token rule, quality and latency unknown")
    if model not in load_prices().models:
        return row.model_copy(update={"cost_usd_per_1000": None, "cost_assumptions": ["no price in bench/prices.json"]})
    usd, assumptions, tokens = frontier_cost(model, min(HISTORY, max_history), CANDIDATES)
    return row.model_copy(
        update={"cost_usd_per_1000": usd, "cost_assumptions": assumptions, "tokens_per_request": float(tokens)}
    )


def _note(system: System, result: Evaluated, world: World) -> str:
    notes = []
    if len(result.chosen) < len(world.queries):
        notes.append(f"quality over a seeded sample of {len(result.chosen)} of {len(world.queries)} queries")
    if isinstance(system, (Content, NavigatorSystem)) and system.vectors.missing:
        notes.append(f"{system.vectors.missing} catalogue items have no vector and are never recommended")
    if system.name.startswith("frontier:"):
        notes.append("re-ranks the first 20 items that content finds; a failed request counts as a miss")
    return "; ".join(notes)


def _machine(usd_per_hour: float | None, cuda: bool) -> Machine:
    """The price given on the command line, else the table's assumption for this kind of machine."""
    if usd_per_hour is not None:
        return Machine(usd_per_hour=usd_per_hour, what="given on the command line")
    return load_prices().machines["cuda" if cuda else "cpu"]


def _split(world: World) -> Split:
    held_out = "saves of a board" if world.task == "board-completion" else "the last saves of a user"
    return Split(
        description=f"test part of the taste graph's split: {held_out} that no training signal contains",
        part="test",
        queries=queries_digest(world.queries),
    )
