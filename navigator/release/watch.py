"""A server follows what is live: a promoted release is opened beside the one that answers, then takes its place at once.

Whoever answers a request takes `watcher.current` once and keeps it to the end: the release of an answer cannot change under
it, and the old engine's memory is released when the last request that holds it ends. While both are open, both are in
memory. If the new one cannot be opened, the old one goes on; `failed` says what and why, and is tried again when
current.json changes or when somebody asks for it (`look`).
"""

import datetime
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from navigator.contracts.errors import UserError
from navigator.release.live import CURRENT, read_live
from navigator.release.store import Release, check_root

Engine = TypeVar("Engine")
_Stamp = tuple[int, int, int]
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveRelease:
    """The release that is live, as a server opens it.

    Attributes:
        name, fingerprint: which.
        change: number of the switch that made it live.
        model, vectors, index, catalog: folders.
        encoder: folder or name of what reads words and pictures; None for nothing.
    """

    name: str
    fingerprint: str
    change: int
    model: Path
    vectors: Path
    index: Path
    catalog: Path
    encoder: str | None

    def same_as(self, other: "LiveRelease") -> bool:
        """Whether it is the same release, whichever switch made it live."""
        return (self.name, self.fingerprint) == (other.name, other.fingerprint)


@dataclass(frozen=True)
class Held(Generic[Engine]):
    """An opened release."""

    release: LiveRelease
    engine: Engine


@dataclass(frozen=True)
class Failed:
    """Why what is live could not be opened, and since when."""

    reason: str
    at: datetime.datetime


def current_release(root: Path) -> LiveRelease:
    """Read what is live.

    Raises:
        UserError: nothing is, or its folder is missing or another than was promoted.
    """
    live = read_live(check_root(root))
    if live is None:
        raise UserError(f"nothing is live in {root}; `navigator release promote {root} NAME` makes a release live")
    found = Release.read(root, live.name)
    if found.manifest.fingerprint != live.fingerprint:
        raise UserError(
            f"release {found.path} is {found.manifest.fingerprint}, but {live.fingerprint} went live; promote a release again"
        )
    path = found.path
    return LiveRelease(
        live.name, live.fingerprint, live.change, path / "model", path / "vectors", path / "index", found.catalog,
        found.encoder,
    )  # fmt: skip


class Watcher(Generic[Engine]):
    """Keeps `current` what is live.

    Attributes:
        current: the opened release that answers; read it once a request.
        failed: what could not be opened; None when all is well.
    """

    def __init__(self, root: Path, open_release: Callable[[LiveRelease], Engine], poll_s: float = 1.0):
        """Open what is live, here and now; call `start` to follow.

        Args:
            root: folder of releases.
            open_release: makes an engine; later ones are made in a thread of their own.
            poll_s: seconds between two looks at current.json, which take microseconds.

        Raises:
            UserError: nothing is live, or it cannot be opened.
        """
        self._root, self._open, self._poll_s = Path(root), open_release, poll_s
        self._looking, self._stop = threading.Lock(), threading.Event()
        self._opener = ThreadPoolExecutor(1, "release-opener")
        self._follower = threading.Thread(target=self._follow, name="release-watcher", daemon=True)
        self._use: Callable[[Engine], None] = lambda engine: None
        self._failing: Callable[[], None] = lambda: None
        self._seen = self._stamp()
        self.failed: Failed | None = None
        release = current_release(self._root)
        self.current: Held[Engine] = Held(release, open_release(release))

    def start(self, use: Callable[[Engine], None], failing: Callable[[], None] = lambda: None) -> None:
        """Look every `poll_s` seconds, in a thread, until `close`.

        Args:
            use: called with each new engine.
            failing: called when what is live could not be opened; `failed` says why.
        """
        self._use, self._failing = use, failing
        self._follower.start()

    def close(self) -> None:
        """Stop looking; an opening that is under way is finished first."""
        self._stop.set()
        if self._follower.is_alive():
            self._follower.join()
        self._opener.shutdown()

    def look(self) -> Held[Engine]:
        """Look now, open what is live if another answers, and switch; what could not be opened is tried again.

        Returns:
            What answers then: the old one where `failed` is not None.
        """
        with self._looking:
            before = self.current.release.name
            error = self._opener.submit(self._catch_up).exception()  # whatever it is, the old one goes on
            if error is None:
                self.failed = None
                if self.current.release.name != before:
                    _LOG.info("release %s answers, after %s", self.current.release.name, before)
            else:
                trace = None if isinstance(error, UserError) else error
                _LOG.error("what is live cannot be opened, %s answers on: %s", before, error, exc_info=trace)
                self.failed = Failed(f"{type(error).__name__}: {error}", datetime.datetime.now(datetime.UTC))
                self._failing()
            return self.current

    def _catch_up(self) -> None:
        """Open what is live now; if that changed meanwhile, what was opened is not used."""
        while True:
            self._seen = self._stamp()  # before it is read: what changes from here on is noticed
            release, held = current_release(self._root), self.current
            same = release.same_as(held.release)
            engine = held.engine if same else self._open(release)
            if self._stamp() == self._seen:
                self.current = Held(release, engine)
                if not same:
                    self._use(engine)
                return

    def _follow(self) -> None:
        while not self._stop.wait(self._poll_s):
            if self._stamp() != self._seen:
                self.look()

    def _stamp(self) -> _Stamp | None:
        """Changes whenever current.json is replaced; None while there is none."""
        try:
            found = (self._root / CURRENT).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
