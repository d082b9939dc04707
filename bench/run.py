"""The command `navigator-bench run`: systems side by side, on the same queries and the same timed requests."""

from pathlib import Path
from typing import Any

from tqdm import tqdm

from bench.assemble import MODELS, Settings, choose, known_items, open_endpoint, open_frontier, open_system
from bench.cost import load_prices
from bench.device import peak_memory
from bench.documents import where
from bench.evaluate import Measured, choose_queries, evaluate
from bench.figures import build_report
from bench.inputs import Paths, World, fingerprints, open_world
from bench.latency import TimedRequest, draw_requests, measure
from bench.markdown import comparison_table
from bench.systems.base import System
from bench.systems.frontier import Frontier
from bench.write import command_line, sheet_links, write_report
from navigator.contracts.errors import UserError
from navigator.contracts.manifest import is_current, publish
from navigator.contracts.report import SCHEMA_VERSION, BenchReport, read_report

KIND = "report"


def run(
    catalog: Path,
    vectors: Path,
    graph: Path,
    out: Path = Path("runs/report"),
    refined: Path | None = None,
    tuned: Path | None = None,
    model: Path | None = None,
    model_vectors: Path | None = None,
    native: Path | None = None,
    task: str = "board-completion",
    systems: list[str] | None = None,
    frontier: list[str] | None = None,
    max_history: int = 20,
    titles: bool = True,
    requests: int = 30,
    native_queries: int | None = None,
    frontier_queries: int = 50,
    frontier_base_url: str | None = None,
    cold_max: int = 0,
    machine_usd_per_hour: float | None = None,
    device: str = "auto",
    dtype: str = "auto",
    seed: int = 0,
    sheets: list[Path] | None = None,
) -> dict[str, Any]:
    """Compare systems: quality with intervals, latency, tokens, memory and cost, in one report folder.

    Args:
        catalog: catalogue folder.
        vectors: store of the untuned encoder, read by the content system.
        graph: taste graph folder; its split gives the queries.
        out: report folder to write.
        refined: refined store (content and graph), read by content-graph.
        tuned: store of the encoder that train.clip tuned, read by content-tuned.
        model: swapped model folder.
        model_vectors: store that the swapped and native models read; default is `vectors`.
        native: native model folder.
        task: board-completion or next-item.
        systems: which take part, e.g. content,ease,frontier; default is every one whose input is given.
        frontier: hosted models to price (bench/prices.json names them); default is the table's own choice, [] is none.
        max_history: latest history items that content and the models read; the fitted baselines read all.
        titles: whether the models may read the board's title.
        requests: timed requests per system; 0 measures no latency.
        native_queries: ask the native model only this many queries, drawn with the seed; default is all.
        frontier_queries: ask a hosted model only this many queries.
        frontier_base_url: OpenAI-compatible endpoint (the part before /chat/completions); its key is taken from the
            environment variable NAVIGATOR_FRONTIER_KEY. Without it nothing is sent.
        cold_max: a target is cold when it has at most this many training saves.
        machine_usd_per_hour: price of this machine; default is the assumption in bench/prices.json.
        device: auto, cpu or cuda, for the models.
        dtype: auto, float32, bfloat16 or float16, for the models.
        seed: of drawn requests, subsets and resampling.
        sheets: contact sheet pictures that report.md should link to.

    Returns:
        Where the report is, figures per system, and the comparison table as text.

    Raises:
        UserError: an input is missing or belongs to another catalogue, an unknown name, an empty split.
    """
    if requests < 0 or max_history < 1:
        raise UserError(
            f"requests {requests}, max_history {max_history}: allowed are requests >= 0 and max_history >= 1"
        )
    options = {
        "task": task, "systems": systems, "frontier": frontier, "max_history": max_history, "titles": titles,
        "requests": requests, "native_queries": native_queries, "frontier_queries": frontier_queries,
        "frontier_base_url": frontier_base_url, "cold_max": cold_max, "machine_usd_per_hour": machine_usd_per_hour,
        "device": device, "dtype": dtype, "sheets": sheets,
    }  # fmt: skip
    paths = Paths(catalog, vectors, graph, refined, tuned, model, model_vectors, native)
    local, hosted = choose(systems, frontier, paths)
    endpoint = open_endpoint(frontier_base_url, hosted)
    world = open_world(paths, task, cold_max)
    inputs, config = (
        fingerprints(paths),
        options | {"seed": seed, "prices": load_prices().as_of, "schema_version": SCHEMA_VERSION},
    )
    if is_current(out, KIND, config, inputs):
        return _answer(out, read_report(out), unchanged=True)
    links = sheet_links(sheets or [], out)
    settings = Settings(max_history, titles, device, dtype)
    with publish(out, KIND, config, inputs, seed) as work:
        asked = [open_frontier(name, endpoint, world, settings) for name in hosted] if endpoint else []
        limits = {"native": native_queries} | {system.name: frontier_queries for system in asked}
        measured = _measure(local, asked, world, paths, settings, limits, requests, seed)
        report = build_report(world, measured, hosted, config, inputs, command_line(paths, out, config))
        work.metrics = {name: row.quality.ndcg_10.mean for name, row in report.systems.items() if row.quality}
        write_report(work.path, report, world, measured, links)
    return _answer(out, report, unchanged=False)


def _measure(
    local: list[str], asked: list[Frontier], world: World, paths: Paths, settings: Settings,
    limits: dict[str, int | None], count: int, seed: int,
) -> Measured:  # fmt: skip
    """Open everything, then quality, then latency."""
    dtype, cuda = _model_device(settings) if set(MODELS) & set(local) else (None, False)
    opened: list[System] = []
    memory: dict[str, float | None] = {}
    for name in tqdm(local, desc="opening", unit="system"):
        with peak_memory(accelerator=cuda and name in MODELS) as peak:
            system = open_system(name, world, paths, settings)
            for request in _draw([system], world, 1, seed):
                system.rank_one(request.history, request.candidates)
        opened.append(system)
        memory[name] = peak.mb
    systems = [*opened, *asked]
    total = len(world.queries)
    results = {s.name: evaluate(s, world.queries, choose_queries(total, limits.get(s.name), seed)) for s in systems}
    timed = measure(systems, _draw(systems, world, count, seed)) if count and systems else []
    networked = [record for system in asked for record in system.records]
    return Measured(systems, results, networked + timed, memory, dtype, cuda)


def _model_device(settings: Settings) -> tuple[str, bool]:
    """What the models compute in, and whether on CUDA. Imports the library before anybody's memory is measured."""
    from navigator.recommend import pick_device, pick_dtype

    device = pick_device(settings.device)
    return str(pick_dtype(settings.dtype, device)).removeprefix("torch."), device.type == "cuda"


def _draw(systems: list[System], world: World, count: int, seed: int) -> list[TimedRequest]:
    return draw_requests(known_items(systems, world.n_items), count, seed)


def _answer(out: Path, report: BenchReport, unchanged: bool) -> dict[str, Any]:
    rows = {
        name: {
            "ndcg@10": row.quality.ndcg_10.mean if row.quality else None,
            "p50_ms": row.latency_ms.p50 if row.latency_ms else None,
            "cost_usd_per_1000": row.cost_usd_per_1000,
        }
        for name, row in report.systems.items()
    }
    text = f"{comparison_table(report)}\n\n{where(out, unchanged)}"
    return {"out": str(out), "unchanged": unchanged, "queries": report.n_queries, "systems": rows, "text": text}
