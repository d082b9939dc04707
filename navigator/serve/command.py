"""The command `navigator serve`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from navigator.contracts import UserError
from navigator.serve.beside import encoder_of, vectors_of
from navigator.serve.options import ServeOptions

if TYPE_CHECKING:
    from navigator.serve.service import Service


def serve(
    model: Path | None = None, index: Path | None = None, catalog: Path | None = None, vectors: Path | None = None,
    encoder: str | None = "auto", releases: Path | None = None, poll_s: float = 1.0, native: Path | None = None,
    host: str = "127.0.0.1", port: int = 8000, batching: ServeOptions = ServeOptions(),  # noqa: B008
    keys: Path | None = None, insecure: bool = False, hosts: list[str] | None = None, per_minute: float = 600.0,
    burst: int = 100, audit: Path | None = None, events: Path | None = None, blocked: Path | None = None,
    device: str = "auto", dtype: str = "auto", drain_s: float = 30.0, notice_s: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """Answer searches, recommendations and conversations about a catalogue over HTTP, with a page for people.

    The page is at http://HOST:PORT/, the description of the API at /openapi.json. SIGTERM and Ctrl-C finish what is inside
    and take no more.

    It takes either --releases, and follows what is promoted there without a break, or --model, --index and --catalog.

    Args:
        model: a swapped, trained model folder.
        index: an index of the item vectors that the model reads.
        catalog: the catalogue: titles, pictures, boards.
        vectors: those item vectors; by default found beside the index by the fingerprint it was built from.
        encoder: what made the vectors' content, to read words and pictures with; "auto" is the name that the vectors (or
            those they were refined from) remember, "none" serves item ids alone.
        releases: instead of all above: a folder of releases (navigator release), of which the live one answers. Another that
            goes live is opened beside it, which takes the memory of both, and answers from then on.
        poll_s: seconds between two looks at which release is live.
        native: a native model folder, for the side-by-side of the page.
        host: address to listen on; other than loopback only with keys or --insecure.
        port: to listen on; 0 takes a free one, which is printed.
        batching: how requests are batched, queued and given up.
        keys: file of API keys (navigator keys create); without one nobody is asked for a key.
        insecure: listen beyond loopback without keys all the same.
        hosts: further names under which people reach the server, such as those of a proxy before it.
        per_minute: requests a minute of one address that comes without a key (keys have limits of their own); 0 is no limit.
        burst: requests that such an address may make at once after a rest.
        audit: log of admin calls and refused keys; by default beside the keys.
        events: folder in which impressions, clicks and saves are kept (POST /v1/events), made where there is none; without
            one they are refused.
        blocked: block list of words that are not answered; by default a short one.
        device: auto, cpu, cuda, ...
        dtype: auto, float32, bfloat16, float16.
        drain_s: how long the requests inside may take when the server is stopped.
        notice_s: seconds between a SIGTERM, when /readyz begins to say 503, and the end of listening.
    """
    from navigator.serve.door.headers import check_binding
    from navigator.serve.door.keys import read_keys
    from navigator.serve.door.options import DoorOptions

    check_binding(host, keys is not None, insecure)
    if keys is not None:
        read_keys(keys)
    from navigator.events.store import EventStore
    from navigator.serve.run import bound, run

    listening = bound(host, port)
    print(f"opening {releases or model}", file=sys.stderr, flush=True)
    service = open_service(model, index, catalog, vectors, encoder, releases, poll_s, native, batching, device, dtype)
    door = DoorOptions(host, tuple(hosts or ()), keys, insecure, audit, per_minute, burst)
    store = None if events is None else EventStore.open(events)
    return run(service, door, listening, blocked, drain_s, notice_s, events=store)


def open_service(
    model: Path | None, index: Path | None, catalog: Path | None, vectors: Path | None, encoder: str | None,
    releases: Path | None, poll_s: float, native: Path | None, batching: ServeOptions, device: str, dtype: str,
) -> "Service":  # fmt: skip
    """What answers, of one model or of the live release; the arguments are those of `serve`.

    Raises:
        UserError: parts are missing, broken, not of each other, or given besides --releases.
    """
    if releases is None:
        one, its_index, its_vectors, shown = _parts(model, index, catalog, vectors)
        reader = encoder_of(its_vectors) if encoder == "auto" else None if encoder in (None, "none") else encoder
    elif (given := model or index or catalog or vectors) is not None:
        raise UserError(
            f"--releases was given beside {given}; a release has its own model, index, vectors and catalogue: leave "
            "--releases or these away"
        )
    from navigator.serve.engine import Engine
    from navigator.serve.following import follow_releases
    from navigator.serve.service import Service

    if releases is not None:
        return follow_releases(releases, poll_s, native, batching, device, dtype)
    engine = Engine.open(one.name, one, its_index, its_vectors, shown, reader, native, device=device, dtype=dtype)
    return Service(engine, batching)


def _parts(
    model: Path | None, index: Path | None, catalog: Path | None, vectors: Path | None
) -> tuple[Path, Path, Path, Path]:
    """Model, index, vectors and catalogue of one engine."""
    if model is None or index is None or catalog is None:
        given = {"model": model, "index": index, "catalog": catalog}
        missing = ", ".join(f"--{name}" for name, path in given.items() if path is None)
        raise UserError(f"{missing} missing; give --model, --index and --catalog, or --releases ROOT")
    return model, index, vectors or vectors_of(index), catalog
