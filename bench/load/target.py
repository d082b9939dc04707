"""What is loaded: somebody's URL, or a system of ours behind a server of ours on the loopback interface."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from bench.load.answers import Serving, draw_bodies
from bench.load.client import Target
from bench.load.options import HEADERS_VARIABLE, Options
from bench.load.served import COUNTS, RANK
from bench.serving.bodies import ROUTES, draw
from navigator.admission import Counts
from navigator.contracts import Catalog
from navigator.contracts.errors import UserError


@dataclass(frozen=True)
class Loaded:
    """A target that is up; `counts_url` is where our own server tells what it received, None for any other."""

    target: Target
    counts_url: str | None

    def after(self, sent: int) -> "Loaded":
        """The same, whose first body is the one after the first `sent` of the cycle."""
        bodies = self.target.bodies
        first = sent % len(bodies) if bodies else 0
        return replace(self, target=replace(self.target, bodies=[*bodies[first:], *bodies[:first]]))

    def counts(self) -> Counts | None:
        """What the server received so far."""
        if self.counts_url is None:
            return None
        with urllib.request.urlopen(self.counts_url, timeout=30) as answer:
            return Counts(**json.load(answer))


@contextmanager
def up(options: Options) -> Iterator[Loaded]:
    """The target of a run; a server that was started for it ends with the block.

    Raises:
        UserError: a missing or unreadable input, or a server that does not start.
    """
    if options.url is not None:
        yield Loaded(_target(options, options.url, read_bodies(options)), None)
        return
    bodies = read_bodies(options)
    with server(serving(options)) as port:
        yield Loaded(_target(options, local(port, RANK), bodies), local(port, COUNTS))


def local(port: int, route: str) -> str:
    """The address of a route of `server`."""
    return f"http://127.0.0.1:{port}{route}"


def serving(options: Options) -> Serving:
    """What the server process is told."""
    return Serving(
        system=options.system or "", model=str(options.model or ""), vectors=str(options.vectors or ""),
        work_ms=options.work_ms, spread=options.spread, workers=options.workers, waiting=options.waiting,
        max_history=options.max_history, device=options.device, dtype=options.dtype, seed=options.seed,
    )  # fmt: skip


def read_bodies(options: Options) -> list[bytes]:
    """The bodies in the order in which they are cycled, drawn with the seed; none for GET.

    Raises:
        UserError: no such file, an empty one, a line that is no JSON, or a url for which no bodies can be drawn.
    """
    if options.catalog is not None:
        return _drawn(options.url or "", options.catalog, options.seed)
    if options.bodies is None:
        if options.system == "sleep":
            return [b"{}"]
        return [] if options.vectors is None else draw_bodies(options.vectors, options.seed)
    if not options.bodies.is_file():
        raise UserError(f"--bodies {options.bodies} does not exist; give a file with one JSON body a line")
    lines = [line for line in options.bodies.read_bytes().splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            json.loads(line)
        except ValueError as error:
            raise UserError(f"--bodies {options.bodies}, body {number} is no JSON: {error}") from error
    if not lines:
        raise UserError(f"--bodies {options.bodies} is empty; give a file with one JSON body a line")
    return [lines[i] for i in np.random.default_rng(options.seed).permutation(len(lines))]


def read_headers() -> dict[str, str]:
    """Headers from the environment, one "Name: value" a line.

    Raises:
        UserError: a line of another form; it is not repeated, as it may hold a key.
    """
    lines = [line for line in os.environ.get(HEADERS_VARIABLE, "").splitlines() if line.strip()]
    pairs = [line.partition(":") for line in lines]
    odd = next((i for i, (name, _, value) in enumerate(pairs, 1) if not name.strip() or not value.strip()), None)
    if odd is not None:
        raise UserError(f'line {odd} of {HEADERS_VARIABLE} is no header; allowed is "Name: value", one a line')
    return {name.strip(): value.strip() for name, _, value in pairs}


def check_url(url: str) -> None:
    """Raises UserError unless it is http(s) with a host and without a password (which the report would show)."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"--url {url!r} is no http:// or https:// address; give one such as http://127.0.0.1:8000/path")
    if parts.username or parts.password:
        raise UserError(f"--url has a user or password, which reports would show; send a header by {HEADERS_VARIABLE}")


def _drawn(url: str, catalog: Path, seed: int) -> list[bytes]:
    path = urlsplit(url).path
    load = next((name for name, route in ROUTES.items() if route == path), None)
    if load is None:
        allowed = ", ".join(dict.fromkeys(ROUTES.values()))
        raise UserError(
            f"no requests can be drawn for {path or '/'}; allowed with --catalog are {allowed}, else give --bodies"
        )
    return [body.encode() for body in draw(Catalog.open(catalog), load, seed)]


def _target(options: Options, url: str, bodies: list[bytes]) -> Target:
    headers = read_headers() if options.url is not None else {}
    return Target(url, bodies, options.timeout_s, options.json_answers, headers)


@contextmanager
def server(served: Serving) -> Iterator[int]:
    """The port of a server process; its own session, so that Ctrl-C reaches the bench alone, which then ends it.

    Raises:
        UserError: it does not start; why, in its words.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load.served"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(served)) + "\n")
        process.stdin.flush()
        told = json.loads(process.stdout.readline() or "{}")
        if "port" not in told:
            raise UserError(told.get("error") or "the server process ended before it was up; its error is above")
        yield told["port"]
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
