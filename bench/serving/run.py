"""`navigator-bench serving`: draw the requests, measure the servers in turns, write."""

import json
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bench.documents import DOCUMENTS, where, write_documents
from bench.inputs import fingerprint_of
from bench.load.target import read_headers
from bench.provenance import came_about
from bench.serving.bodies import BODIES, ROUTES, write_bodies
from bench.serving.figures import SCHEMA_VERSION, Round, ServingReport
from bench.serving.meters import read_meters
from bench.serving.options import Options
from bench.serving.plots import draw
from bench.serving.summary import Key, gains, points
from bench.serving.tables import markdown, protocol, text_tables
from bench.serving.wrk import find_wrk, load, write_script
from navigator.contracts import Catalog
from navigator.contracts.errors import UserError
from navigator.contracts.manifest import publish

KIND = "serving-report"


def measure_serving(options: Options) -> dict[str, Any]:
    """Measure and write the report.

    Raises:
        UserError: see bench.serving.command.
    """
    program = find_wrk(options.wrk)
    releases = {name: _release(url) for name, url in options.servers.items()}
    inputs = {"catalog": fingerprint_of("catalog", options.catalog)}
    config = options.config() | {"schema_version": SCHEMA_VERSION}
    with tempfile.TemporaryDirectory() as folder:
        rounds = _measure(options, program, Path(folder))
    gained = gains(rounds)
    report = ServingReport(
        generator=_version(program), releases=releases, bar_clients=options.bar_clients, bar=options.bar,
        met={gain.load: gain.throughput >= options.bar for gain in gained if gain.clients == options.bar_clients},
        points=points(rounds), gains=gained,
        **came_about(options.seed, options.command_line(), config, inputs, protocol(options)),
    )  # fmt: skip
    with publish(options.out, KIND, config, inputs, options.seed) as work:
        pictures = draw(report, work.path)
        write_documents(work.path, report, markdown(report, DOCUMENTS, pictures))
        work.metrics = {f"gain of {gain.load} at {gain.clients}": gain.throughput for gain in gained}
    text = f"{text_tables(report)}\n\n{where(options.out, False)}"
    return {"out": str(options.out), "met": report.met, "gains": [gain.model_dump() for gain in gained], "text": text}


def _measure(options: Options, program: str, folder: Path) -> dict[Key, list[Round]]:
    script, headers = folder / "requests.lua", read_headers()
    write_script(script, headers)
    catalog = Catalog.open(options.catalog)
    for name in options.loads:
        write_bodies(catalog, name, folder / name, options.seed)
    found: dict[Key, list[Round]] = {}
    begin = 0
    plan = list(_plan(options))
    for key, keep in tqdm(plan, "measurements"):
        name, server, clients = key
        url, kind = options.servers[server], ROUTES[name].rsplit("/", 1)[-1]
        before = read_meters(url, kind, headers)
        seen = load(
            program, script, url + ROUTES[name], folder / name, begin, clients, options.seconds, options.timeout_s
        )
        begin = (begin + seen.answers + seen.refused + clients) % BODIES  # go on behind what was sent
        told = read_meters(url, kind, headers).since(before)
        if keep:
            cpu = None if told.cpu_s is None or not seen.answers else told.cpu_s * 1000 / seen.answers
            size = told.batched / told.batches if told.batches else None
            found.setdefault(key, []).append(
                Round(
                    throughput_rps=seen.throughput_rps, p50_ms=seen.p50, p95_ms=seen.p95, p99_ms=seen.p99,
                    refused=seen.refused, lost=seen.lost, batch_size=size, busy=told.work_s / seen.seconds, cpu_ms=cpu,
                )
            )  # fmt: skip
    return found


def _plan(options: Options) -> Iterator[tuple[Key, bool]]:
    """Warm-ups, then every point of the first round, of the second, ...; the servers of a point stand next to each other."""
    for load_name in options.loads:
        for server in options.servers:
            yield (load_name, server, options.bar_clients), False
    for _ in range(options.rounds):
        for load_name in options.loads:
            for clients in options.concurrency:
                for server in options.servers:
                    yield (load_name, server, clients), True


def _release(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=30) as answer:
            return str(json.load(answer)["release"])
    except (urllib.error.URLError, OSError, ValueError, KeyError) as error:
        raise UserError(f"nobody is ready at {url} ({error}); start it with `navigator serve`") from error


def _version(program: str) -> str:
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=False)
    return (said.stdout or said.stderr).splitlines()[0].split(" [")[0].strip()
