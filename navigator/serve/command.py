"""The command `navigator serve`."""

import os
from pathlib import Path
from typing import Any

from navigator.contracts import UserError
from navigator.contracts.manifest import read_manifest
from navigator.serve.options import ServeOptions


def serve(
    model: Path, index: Path, catalog: Path, vectors: Path | None = None, encoder: str | None = "auto",
    native: Path | None = None, host: str = "127.0.0.1", port: int = 8000, batching: ServeOptions = ServeOptions(),  # noqa: B008
    keys: Path | None = None, insecure: bool = False, events: Path | None = None, blocked: Path | None = None,
    device: str = "auto", dtype: str = "auto", drain_s: float = 30.0, notice_s: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """Answer searches, recommendations and conversations about a catalogue over HTTP, with a page for people.

    The page is at http://HOST:PORT/, the description of the API at /openapi.json. SIGTERM and Ctrl-C finish what is inside
    and take no more.

    Args:
        model: a swapped, trained model folder.
        index: an index of the item vectors that the model reads.
        catalog: the catalogue: titles, pictures, boards.
        vectors: those item vectors; by default found beside the index by the fingerprint it was built from.
        encoder: what made the vectors' content, to read words and pictures with; "auto" is the name that the vectors (or
            those they were refined from) remember, "none" serves item ids alone.
        native: a native model folder, for the side-by-side of the page.
        host: address to listen on; other than loopback only with keys or --insecure.
        port: to listen on; 0 takes a free one, which is printed.
        batching: how requests are batched, queued and given up.
        keys: file of API keys (navigator keys create); without one nobody is asked for a key.
        insecure: listen beyond loopback without keys all the same.
        events: folder in which impressions, clicks and saves are kept (POST /v1/events), made where there is none; without
            one they are refused.
        blocked: block list of words that are not answered; by default a short one.
        device: auto, cpu, cuda, ...
        dtype: auto, float32, bfloat16, float16.
        drain_s: how long the requests inside may take when the server is stopped.
        notice_s: seconds between a SIGTERM, when /readyz begins to say 503, and the end of listening.
    """
    from navigator.serve.door.headers import check_binding
    from navigator.serve.door.options import DoorOptions

    check_binding(host, keys is not None, insecure)
    found = vectors or vectors_of(index)
    reader = encoder_of(found) if encoder == "auto" else None if encoder in (None, "none") else encoder
    from navigator.events.store import EventStore
    from navigator.serve.engine import Engine
    from navigator.serve.run import run
    from navigator.serve.service import Service

    engine = Engine.open(model.name, model, index, found, catalog, reader, native, device=device, dtype=dtype)
    door = DoorOptions(host=host, keys=keys, insecure=insecure)
    store = None if events is None else EventStore.open(events)
    return run(Service(engine, batching), door, port, blocked, drain_s, notice_s, events=store)


def vectors_of(index: Path) -> Path:
    """The vector store that an index was built from, found beside it; UserError where it is not there."""
    from navigator.serve.shelf import find_vectors

    built_from = read_manifest(index, "index", f"navigator index VECTORS --out {index}").inputs.get("vectors", "")
    found = find_vectors(index, built_from)
    if found is None:
        raise UserError(
            f"beside index {index} there are no vectors {built_from} that it was built from; give --vectors"
        )
    return found


def encoder_of(vectors: Path) -> str:
    """The name of the encoder that made the content of a store, as the store remembers it.

    Refined vectors name the store they were made from by its fingerprint; it is looked for beside them.

    Raises:
        UserError: it is not remembered, or is a folder that is no longer there.
    """
    from navigator.serve.shelf import find_vectors

    manifest = read_manifest(vectors, "vectors", f"navigator embed CATALOG --out {vectors}")
    name = manifest.config.get("encoder_name")
    if name is None and (source := find_vectors(vectors, manifest.inputs.get("vectors", ""))) is not None:
        name = read_manifest(source, "vectors", "navigator embed").config.get("encoder_name")
    if name is None:
        raise UserError(f"vectors {vectors} do not say which encoder made them; give --encoder, or --encoder none")
    beside = vectors.resolve().parent / Path(name).name
    looks_local = os.sep in name and not name.startswith("hf-hub:")
    if looks_local and not Path(name).is_dir() and beside.is_dir():
        return str(beside)  # the whole folder of artefacts was moved
    return name
