"""The same app on Ray Serve: replicas that Ray starts, moves and multiplies (extra `ray-serve`; configs/serve/ray.yaml).

    serve run configs/serve/ray.yaml            # on this machine
    serve deploy configs/serve/ray.yaml         # to the cluster at RAY_DASHBOARD_ADDRESS

Each replica opens the release itself and has its own lines and batches. Index and vectors are memory maps, so the replicas of
one machine share one copy of them; the model's weights each has for itself. A replica batches with navigator.serve.batching
and not with `@serve.batch`: that one has no bound on its queue, so no 429 before the wait is long, works on requests whose
deadline has passed, and fails a whole batch for one bad request. What keys and addresses may do a minute counts by replica.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from navigator.contracts import UserError

DEPLOYMENT = "navigator"
REPLICA_HEADER = "X-Navigator-Replica"


class RayArgs(BaseModel):
    """`args` of the application in Ray's YAML; the paths must be there on every machine that runs a replica.

    Attributes:
        model, index, catalog, vectors, encoder, native, keys, events, blocked, device, dtype: as `navigator serve` takes them.
        hosts: names under which people reach the proxy, where it is not loopback.
        per_minute: requests a minute of one address without a key; 0 is no limit.
        batching: fields of navigator.serve.options.ServeOptions.
        threads: of torch in each replica; None leaves it to torch, which takes every core.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    index: str
    catalog: str
    vectors: str | None = None
    encoder: str | None = "auto"
    native: str | None = None
    keys: str | None = None
    events: str | None = None
    blocked: str | None = None
    hosts: list[str] = []
    per_minute: float = 600.0
    device: str = "auto"
    dtype: str = "auto"
    batching: dict[str, float | None] = {}
    threads: int | None = Field(None, ge=1)


def application(args: RayArgs) -> Any:
    """What `import_path` names: the Ray Serve application.

    Raises:
        UserError: Ray Serve is not installed.
    """
    try:
        from ray import serve
    except ImportError as error:
        raise UserError('Ray Serve is not installed; run `pip install "navigator[ray-serve]"`') from error

    def open_app() -> ASGIApp:  # called by Ray in each replica
        return Named(replica_app(args), serve.get_replica_context().replica_tag)

    return serve.deployment(serve.ingress(open_app)(), name=DEPLOYMENT).bind()  # type: ignore[call-overload]


def replica_app(args: RayArgs) -> ASGIApp:
    """One opened release and the app around it.

    Raises:
        UserError: an artefact is missing, broken, or not of the others.
    """
    from pathlib import Path

    import torch

    from navigator.events.store import EventStore
    from navigator.serve.app import build_app
    from navigator.serve.command import encoder_of, vectors_of
    from navigator.serve.door.content_filter import load_filter
    from navigator.serve.door.options import DoorOptions
    from navigator.serve.engine import Engine
    from navigator.serve.options import ServeOptions
    from navigator.serve.service import Service

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    index = Path(args.index)
    vectors = vectors_of(index) if args.vectors is None else Path(args.vectors)
    reader = encoder_of(vectors) if args.encoder == "auto" else None if args.encoder == "none" else args.encoder
    native = None if args.native is None else Path(args.native)
    model = Path(args.model)
    engine = Engine.open(
        model.name, model, index, vectors, Path(args.catalog), reader, native, device=args.device, dtype=args.dtype
    )
    keys, blocked = (None if path is None else Path(path) for path in (args.keys, args.blocked))
    events = None if args.events is None else EventStore.open(Path(args.events))
    service = Service(engine, ServeOptions(**args.batching))  # type: ignore[arg-type]
    door = DoorOptions(keys=keys, hosts=tuple(args.hosts), per_minute=args.per_minute)
    return build_app(service, door, load_filter(blocked), events)


class Named:
    """Says in a header which replica answered."""

    def __init__(self, app: ASGIApp, replica: str):
        self.app, self.replica = app, replica

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REPLICA_HEADER] = self.replica
            await send(message)

        await self.app(scope, receive, sent)
