"""API keys: made of 256 random bits, shown once, kept as hashes in a file that only its owner can read.

What is stored of a key is its SHA-256, plain. A password needs a slow, salted hash because people choose from few: whoever
has the file tries them all. A key of 256 random bits leaves nothing to try, as many as there are is out of reach of any
hash speed, and equal keys, which a salt would hide, do not occur. A slow hash would only make every request slow.
"""

import datetime
import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from navigator.contracts import UserError
from navigator.contracts.manifest import write_text

PREFIX = "nav_"
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
Scope = Literal["search", "chat", "events", "admin"]
State = Literal["good", "revoked", "expired"]


class Key(BaseModel):
    """What is kept of a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=f"^{NAME}$")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    per_minute: float = Field(gt=0, allow_inf_nan=False)
    burst: int = Field(ge=1)
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None

    def state(self, now: datetime.datetime) -> State:
        """Whether the key opens anything at `now`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "good"


class KeysFile(BaseModel):
    """All keys, revoked ones too: their names stay taken, so that a name in the audit log means one key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    keys: tuple[Key, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> "KeysFile":
        names = [key.name for key in self.keys]
        if len(set(names)) < len(names):
            raise ValueError("two keys have one name")
        return self


def new_secret() -> str:
    """A key as its holder gets it: nav_ and 256 bits from the system's generator."""
    return PREFIX + secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """SHA-256, 64 hex digits; see the top of this file why that is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def utc_now() -> datetime.datetime:
    """Now, in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def read_keys(path: Path) -> KeysFile:
    """All keys of the file.

    Raises:
        UserError: it is not there, not readable, not a keys file, or others than its owner may read or change it.
    """
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise UserError(
                f"keys file {path} has mode {mode:03o}, so that others can reach it; run `chmod 600 {path}`"
            )
        return KeysFile.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(
            f"keys file {path} does not exist; make one with `navigator keys create {path} NAME`"
        ) from error
    except OSError as error:
        raise UserError(f"keys file {path} cannot be read ({error.strerror}); make it readable for yourself") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path} is not a file of `navigator keys`: {where}: {first['msg']}") from error


@contextmanager
def changing(path: Path) -> Iterator[list[Key]]:
    """The keys as a list to change; written whole, mode 0600, when the block ends without an error.

    One change at a time: a lock file beside it makes the others wait. A missing file counts as one without keys.

    Raises:
        UserError: see read_keys; or the folder cannot be written.
    """
    umask = os.umask(0o077)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(path.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = list(read_keys(path).keys) if path.exists() else []
            yield keys
            write_text(path, KeysFile(keys=tuple(keys)).model_dump_json(indent=2))
    except OSError as error:
        raise UserError(f"keys file {path} cannot be written ({error.strerror}); give a folder that can") from error
    finally:
        os.umask(umask)


class KeyRing:
    """The keys of a file as the server sees them; read again at the next question after the file changed.

    Asking costs one look at the file's date and size, so a key that is revoked stops with the next request. A file that
    broke or is gone raises: a server that was started with keys never becomes open.
    """

    def __init__(self, path: Path):
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[Key, ...] = ()
        self._fresh()

    def find(self, secret: str) -> Key | None:
        """The key, good or not; None if there is no such key.

        Every stored hash is compared, in constant time each, so that the time tells nothing about any of them.

        Raises:
            UserError: see read_keys.
        """
        given, found = hashed(secret), None
        for key in self._fresh():
            if hmac.compare_digest(key.sha256, given):
                found = key
        return found

    def stands(self, key: Key) -> bool:
        """Whether a key that was found earlier is still there and good.

        Raises:
            UserError: see read_keys.
        """
        now = utc_now()
        return any(key.sha256 == other.sha256 and other.state(now) == "good" for other in self._fresh())

    def _fresh(self) -> tuple[Key, ...]:
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError:
            seen = None
        if seen is None or seen != self._seen:
            self._keys, self._seen = read_keys(self._path).keys, seen
        return self._keys
