"""`navigator-bench graph scale`: build, open and sample synthetic graphs of growing size, each step in its own process.

The build is the real command in a fresh process, so that its peak memory is its own; so is opening, which is what a
service pays at its start. Every catalogue and graph is deleted after its turn.
"""

import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.documents import where, write_documents
from bench.graph.scale_figures import SCHEMA_VERSION, ScaleReport, Size
from bench.graph.scale_tables import growth, markdown, table
from bench.graph.synthetic import write_synthetic
from bench.provenance import came_about, command_words
from navigator.contracts import UserError, is_current, publish
from navigator.contracts.manifest import write_text

KIND = "graph-scale-report"
OPENINGS = 5
BUILD_OPTIONS = ("--walks", "0", "--prune", "false")  # every training save is an edge
_PROTOCOL = [
    "Catalogue: users and items with power-law degrees (20 saves a user, 50 an item on average), times over two years; "
    "an edge is one save, stored in both directions.",
    f"Build: `navigator graph build CATALOG --out GRAPH {' '.join(BUILD_OPTIONS)}` in a fresh process, wall time; "
    "peak memory is that process's largest resident set (getrusage of children).",
    "Bytes an edge: size of csr/ over the edges of the relation saved, and the whole folder over the same edges.",
    f"Open: a fresh process, imports done, TasteGraph.open and the relation saved; median of {OPENINGS} processes.",
    "Samples: graph.walk from random items (walks of 20 steps at most, restart 0.3), after a warm-up; a sample is one seed "
    "item with all its walks. Steps are counted as visits.",
    "Growth: the slope of log time (or memory) against log edges between one size and the next; 1 is linear.",
]


def measure_scale(edges: list[int], out: Path, work: Path, samples: int, walks: int, seed: int) -> dict[str, Any]:
    """Measure every size and write the report; see bench.graph.commands.scale."""
    from bench.graph.scale_plot import plot

    config: dict[str, Any] = {
        "edges": edges, "samples": samples, "walks": walks, "seed": seed, "schema_version": SCHEMA_VERSION,
    }  # fmt: skip
    if is_current(out, KIND, config, {}):
        return _answer(out, ScaleReport.model_validate_json((out / "report.json").read_text()), unchanged=True)
    with publish(out, KIND, config, {}, seed) as published:
        sizes = []
        for number in edges:
            kept = published.path / f"size-{number}.json"  # an interrupted run goes on with the next size
            if not kept.is_file():
                write_text(kept, _measure(number, work, samples, walks, seed).model_dump_json(indent=2))
            sizes.append(Size.model_validate_json(kept.read_text()))
        words = {"edges": edges, "out": out, "work": work, "samples": samples, "walks": walks, "seed": seed}
        line = command_words(["navigator-bench", "graph", "scale"], words)
        report = ScaleReport(sizes=sizes, growth=growth(sizes), **came_about(seed, line, config, {}, _PROTOCOL))
        plot(report.sizes, published.path / "scale.png")
        write_documents(published.path, report, markdown(report))
        for number in edges:
            (published.path / f"size-{number}.json").unlink()
        published.metrics = dict(report.growth)
    return _answer(out, report, unchanged=False)


def _measure(edges: int, work: Path, samples: int, walks: int, seed: int) -> Size:
    """One size, in a folder of its own that is removed afterwards, also after an error."""
    folder = work / f"scale-{edges}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        catalog, graph = folder / "catalog", folder / "graph"
        counts = write_synthetic(catalog, edges, seed)
        seconds, peak = _build(catalog, graph)
        probe = [str(catalog), str(graph), str(samples), str(walks), str(seed)]
        opened = [_probe("open", probe) for _ in range(OPENINGS)]
        walked = _probe("walk", probe)
        csr, whole = _bytes(graph / "csr"), _bytes(graph)
        return Size(
            saves=edges, items=counts["items"], users=counts["users"], edges=walked["edges"],
            catalog_bytes=_bytes(catalog), build_s=seconds, build_peak_mb=peak, csr_bytes=csr, graph_bytes=whole,
            csr_bytes_per_edge=csr / walked["edges"], graph_bytes_per_edge=whole / walked["edges"],
            open_ms=median(o["open_ms"] for o in opened), open_ms_runs=[o["open_ms"] for o in opened],
            samples_per_s={int(t): v for t, v in walked["samples_per_s"].items()},
        )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _build(catalog: Path, graph: Path) -> tuple[float, float]:
    """Wall seconds and peak MiB of the build command.

    Raises:
        UserError: it failed; its last line is in the message.
    """
    script = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
    )
    command = [
        sys.executable,
        "-m",
        "navigator.cli",
        "graph",
        "build",
        str(catalog),
        "--out",
        str(graph),
        *BUILD_OPTIONS,
    ]
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"the build of {catalog} failed ({last}); run `{shlex.join(command[1:])}` to see why")
    unit = 2**20 if sys.platform == "darwin" else 1024  # bytes there, kilobytes on Linux
    return seconds, int(done.stdout.strip().splitlines()[-1]) / unit


def _probe(what: str, arguments: list[str]) -> dict[str, Any]:
    """What bench.graph.scale_probe prints, from a fresh process."""
    command = [sys.executable, "-m", "bench.graph.scale_probe", what, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{what} failed ({last}); run `{shlex.join(command[1:])}` to see why")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _answer(out: Path, report: ScaleReport, unchanged: bool) -> dict[str, Any]:
    text = f"{table(report.sizes)}\n\n{where(out, unchanged)}"
    sizes = {str(size.saves): size.model_dump() for size in report.sizes}
    return {"out": str(out), "unchanged": unchanged, "sizes": sizes, "growth": report.growth, "text": text}
