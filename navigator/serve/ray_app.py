"""The same app on Ray Serve: replicas that Ray starts, moves and multiplies (extra `ray-serve`; configs/serve/ray.yaml).

    serve run configs/serve/ray.yaml            # on this machine
    serve deploy configs/serve/ray.yaml         # to the cluster at RAY_DASHBOARD_ADDRESS

Each replica opens the release itself and has its own lines and batches. Index and vectors are memory maps, so the replicas of
one machine share one copy of them; the model's weights each has for itself. A replica batches with navigator.serve.batching
and not with `@serve.batch`: that one has no bound on its queue, so no 429 before the wait is long, works on requests whose
deadline has passed, and fails a whole batch for one bad request. What keys and addresses may do a minute counts by replica.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from navigator.contracts import UserError
from navigator.serve.options import ServeOptions

DEPLOYMENT = "navigator"
REPLICA_HEADER = "X-Navigator-Replica"


class RayArgs(BaseModel):
    """`args` of the application in Ray's YAML; the paths must be there on every machine that runs a replica.

    Attributes:
        model, index, catalog, vectors, encoder, releases, native, keys, events, blocked, hosts, per_minute, device, dtype: as
            `navigator serve` takes them; each replica follows its --releases by itself.
        batching: fields of navigator.serve.options.ServeOptions.
        threads: of torch in each replica; None leaves it to torch, which takes every core.
    """

    model_config = ConfigDict(extra="forbid")

    model: Path | None = None
    index: Path | None = None
    catalog: Path | None = None
    vectors: Path | None = None
    encoder: str | None = "auto"
    releases: Path | None = None
    native: Path | None = None
    keys: Path | None = None
    events: Path | None = None
    blocked: Path | None = None
    hosts: list[str] = []
    per_minute: float = 600.0
    device: str = "auto"
    dtype: str = "auto"
    batching: ServeOptions = ServeOptions()
    threads: int | None = Field(None, ge=1)


def application(args: RayArgs) -> Any:
    """What `import_path` names: the Ray Serve application.

    Raises:
        UserError: Ray Serve is not installed.
    """
    return deployment(args).bind()


def deployment(args: RayArgs) -> Any:
    """The deployment alone, whose options (replicas, autoscaling, resources) the YAML gives.

    Raises:
        UserError: Ray Serve is not installed.
    """
    try:
        from ray import serve
    except ImportError as error:
        raise UserError('Ray Serve is not installed; run `pip install "navigator[ray-serve]"`') from error

    def open_app() -> ASGIApp:  # called by Ray in each replica
        return Named(replica_app(args), serve.get_replica_context().replica_tag)

    return serve.deployment(serve.ingress(open_app)(), name=DEPLOYMENT)  # type: ignore[call-overload]


def replica_app(args: RayArgs) -> ASGIApp:
    """One opened release and the app around it.

    Raises:
        UserError: an artefact is missing, broken, or not of the others.
    """
    import torch

    from navigator.events.store import EventStore
    from navigator.serve.app import build_app
    from navigator.serve.command import open_service
    from navigator.serve.door.content_filter import load_filter
    from navigator.serve.door.options import DoorOptions

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    service = open_service(
        args.model, args.index, args.catalog, args.vectors, args.encoder, args.releases, 1.0, args.native, args.batching,
        args.device, args.dtype,
    )  # fmt: skip
    door = DoorOptions(keys=args.keys, hosts=tuple(args.hosts), per_minute=args.per_minute)
    events = None if args.events is None else EventStore.open(args.events)
    return build_app(service, door, load_filter(args.blocked), events)


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
