"""Commands `navigator keys create|list|revoke|audit`: who may call the server, for what, and what the door wrote down."""

import datetime
import hashlib
import math
import re
from pathlib import Path
from typing import Any

from graph.audit import actor, audit_path
from navigator.contracts import UserError
from navigator.serve.door.audit import AuditLog, Line, verify
from navigator.serve.door.keys import NAME, Key, Scope, changing, hashed, new_secret, read_keys, utc_now


def create_key(
    keys: Path, name: str, scopes: list[Scope] | None = None, per_minute: float = 600.0, burst: int = 100,
    days: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Make an API key; it is shown this once, the file keeps only its hash.

    Args:
        keys: file of keys (JSON, readable by you alone); made if it is not there. A running server sees the change.
        name: of the key, in the audit log and in `navigator keys list`; never given twice.
        scopes: what it opens, among search, chat, events and admin; search and chat by default. None contains another.
        per_minute: requests a minute that it may make.
        burst: requests that it may make at once after a rest.
        days: after how many days it expires; never by default.
    """
    now = utc_now()
    scopes = list(dict.fromkeys(scopes or ["search", "chat"]))
    _check(name, per_minute, burst, days)
    expires_at = None if days is None else now + datetime.timedelta(days=days)
    secret = new_secret()
    key = Key(
        name=name, sha256=hashed(secret), scopes=tuple(scopes), per_minute=per_minute, burst=burst, created_at=now,
        expires_at=expires_at,
    )  # fmt: skip
    log = AuditLog(audit_path(keys))
    with changing(keys) as held:
        if any(name == other.name for other in held):
            raise UserError(f"{keys} has had a key {name!r}, and names stay taken; give another name")
        log.check()
        held.append(key)
    log.write(Line(who=actor(), what="keys create", outcome="done", reason=f"{name}: {', '.join(scopes)}"))
    shown = _shown(key, now)
    text = f"{secret}\nThis is key {name!r} ({', '.join(scopes)}); keep it now, it is not shown again."
    return {"key": secret, **shown, "keys": str(keys), "text": text}


def list_keys(keys: Path) -> dict[str, Any]:
    """What is known of every key; the keys themselves are not known.

    Args:
        keys: file of keys.
    """
    now = utc_now()
    shown = [_shown(key, now) for key in read_keys(keys).keys]
    lines = [
        f"{key['name']:20} {key['state']:8} {','.join(key['scopes']):26} {key['per_minute']:g}/min burst {key['burst']}"
        + (f", expires {key['expires_at']}" if key["expires_at"] else "")
        for key in shown
    ]
    return {"keys": shown, "text": "\n".join(lines) or f"{keys} has no keys"}


def revoke_key(keys: Path, name: str) -> dict[str, Any]:
    """End a key for good; running servers refuse it with the next request, and streams that it opened are cut.

    Args:
        keys: file of keys.
        name: of the key, see `navigator keys list`.
    """
    now = utc_now()
    read_keys(keys)  # a mistyped file is said, not made
    log = AuditLog(audit_path(keys))
    with changing(keys) as held:
        at = next((row for row, key in enumerate(held) if key.name == name), None)
        if at is None:
            known = ", ".join(key.name for key in held) or "none"
            raise UserError(f"{keys} has no key {name!r}; it has {known}")
        unchanged = held[at].revoked_at is not None
        if not unchanged:
            log.check()
            held[at] = held[at].model_copy(update={"revoked_at": now})
        key = held[at]
    if not unchanged:
        log.write(Line(who=actor(), what="keys revoke", outcome="done", reason=name))
    text = f"key {name!r} was revoked {'before, ' if unchanged else ''}at {key.revoked_at}; it opens nothing any more"
    return {**_shown(key, now), "unchanged": unchanged, "text": text}


def check_audit(log: Path, head: str = "") -> dict[str, Any]:
    """Check that no line of the door's audit log was altered or removed; exit code 1 if one was.

    Args:
        log: the log: KEYS.audit.jsonl beside the keys, or serve.audit.jsonl of a server without keys.
        head: the head that an earlier check printed; without it, lines cut off the end are not missed.
    """
    beside = audit_path(log)
    if beside.is_file():  # the keys were named, not their log
        raise UserError(f"{log} is not a log; the log beside it is {beside}, give that")
    problems = verify(log, head)
    lines = log.read_bytes().splitlines()
    last = hashlib.sha256(lines[-1]).hexdigest() if lines else ""
    text = "\n".join(problems) or f"{len(lines):,} lines, none altered or removed; head {last}"
    return {"lines": len(lines), "problems": problems, "head": last, "text": text, "exit_code": int(bool(problems))}


def _check(name: str, per_minute: float, burst: int, days: float | None) -> None:
    if not re.fullmatch(NAME, name):
        raise UserError(f"name is {name!r}; allowed are 1 to 64 letters, digits and . _ -, a letter or digit first")
    if not (math.isfinite(per_minute) and per_minute > 0):
        raise UserError(f"per_minute is {per_minute}; allowed are numbers above 0")
    if burst < 1:
        raise UserError(f"burst is {burst}; allowed are 1 and more")
    if days is not None and not 0 < days <= 36_500:
        raise UserError(f"days is {days}; allowed are numbers above 0 to 36500")


def _shown(key: Key, now: datetime.datetime) -> dict[str, Any]:
    return {**key.model_dump(mode="json", exclude={"sha256"}), "state": key.state(now)}
