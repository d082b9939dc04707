"""`navigator serve --releases`: a service whose engine is whatever release is live."""

from pathlib import Path

from navigator.contracts import UserError
from navigator.release.watch import LiveRelease, Watcher
from navigator.serve.engine import Engine
from navigator.serve.options import ServeOptions
from navigator.serve.service import Service


def follow_releases(
    root: Path, poll_s: float, native: Path | None, batching: ServeOptions, device: str, dtype: str
) -> Service:
    """Open what is live and follow it until `service.watcher` is closed; `native` stays the same beside every release.

    Raises:
        UserError: nothing is live, it cannot be opened, or poll_s is out of range.
    """
    if not 0 < poll_s <= 3600:
        raise UserError(f"poll_s is {poll_s}; allowed are numbers above 0 to 3600")

    def open_release(live: LiveRelease) -> Engine:
        return Engine.open(
            live.name, live.model, live.index, live.vectors, live.catalog, live.encoder, native, device=device, dtype=dtype
        )  # fmt: skip

    return Service.following(Watcher(root, open_release, poll_s), batching)
