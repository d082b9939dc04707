"""What is live, and how that changes: one small file, replaced at once, so that there is always the old or the new.

A switch becomes durable in current.json first and a line of the history then. Killed between the two, the line is missing;
whoever switches next writes it from current.json, which says the same (`_settle`).
"""

import datetime
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from graph.audit import Entry, actor
from navigator.contracts.errors import UserError
from navigator.contracts.manifest import write_text
from navigator.release.gate import Passed, check_shadow
from navigator.release.history import PURPOSE, alone, history_file, switches, written
from navigator.release.store import Release, check_root

CURRENT = "current.json"
SCHEMA_VERSION: Literal[1] = 1
REMEMBERED = 100  # releases that one can roll back through


class Live(BaseModel):
    """current.json.

    Attributes:
        change: number of the switch, from 1.
        name, fingerprint, parts: the release, see navigator.release.store.
        before: names of those that were live before it, the latest last; rolling back goes there.
        what, came_from, who, when, why: the switch that made it live; came_from is None for the first.
        shadow: the report that let it; None where there was none: the first, forced or rolled back.
        overruled: what spoke against it, where it was forced.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    change: int
    name: str
    fingerprint: str
    parts: dict[str, str]
    before: list[str]
    what: Literal["promote", "rollback"]
    came_from: str | None
    who: str
    when: str
    why: str
    shadow: dict[str, str] | None = None
    overruled: str | None = None

    def told(self) -> dict[str, Any]:
        """For the history and for people."""
        return self.model_dump(exclude={"schema_version", "parts", "before"})


def read_live(root: Path) -> Live | None:
    """What is live; None in a root where nothing was promoted yet.

    Raises:
        UserError: current.json is not ours.
    """
    path = Path(root) / CURRENT
    try:
        return Live.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(
            f"{path} does not say what is live (was it written by hand?); move it away and promote a release again"
        ) from error


def promote_release(
    root: Path, name: str, shadow: Path | None = None, max_age_days: float = 7, force: str | None = None, why: str = ""
) -> dict[str, Any]:
    """Make a release live; refusals are in the history too.

    Args:
        root: folder of releases.
        name: the release.
        shadow: report that compared it with what is live; the first release of a root needs none.
        max_age_days: the report may be so old.
        force: promote whatever the report says, or without one, for this reason.
        why: for people.

    Raises:
        UserError: no such release, files changed since it was made, no report that lets it go live, an empty reason, or
            somebody else switches now.
    """
    check_root(root)
    asked = {"name": name, "shadow": None if shadow is None else str(shadow), "force": force, "why": why}
    with written(root, "promote", asked) as entry, alone(root, "switch"):
        _check_reason("force", force)
        live, release = _settle(root), Release.read(root, name)
        entry.artefacts = {"to": release.manifest.fingerprint} | ({} if live is None else {"from": live.fingerprint})
        if live is not None and live.name == name:
            return {"live": name, "unchanged": True}
        release.check()
        passed, overruled = None, None
        if live is None:
            why = why or "the first release of this root: nothing was live that it could be compared with"
        else:
            passed, overruled = _judge(shadow, release, live, max_age_days, force)
        before = [] if live is None else [*live.before, live.name][-REMEMBERED:]
        why = force or why or "the shadow report lets it"
        return _switch(root, entry, live, release, "promote", before, why, passed, overruled)


def roll_back(root: Path, why: str, to: str | None = None) -> dict[str, Any]:
    """Go back to the release that was live before, or to an earlier one.

    Args:
        root: folder of releases.
        why: for the history.
        to: one of those that were live before.

    Raises:
        UserError: nothing was live before, `to` was not, the release is gone, no reason, or somebody else switches now.
    """
    check_root(root)
    with written(root, "rollback", {"name": to, "why": why}) as entry, alone(root, "switch"):
        _check_reason("why", why)
        live = _settle(root)
        if live is None or not live.before:
            now = "nothing is live" if live is None else f"nothing was live before {live.name}"
            raise UserError(f"{now} in {root}; allowed is `navigator release promote {root} NAME`")
        if to is not None and to not in live.before:
            raise UserError(
                f"release {to[:80]!r} was not live before {live.name}; allowed are {', '.join(dict.fromkeys(live.before))}"
            )
        place = len(live.before) - 1 - (live.before[::-1].index(to) if to is not None else 0)
        release = Release.read(root, live.before[place])
        entry.artefacts = {"to": release.manifest.fingerprint, "from": live.fingerprint}
        return _switch(root, entry, live, release, "rollback", live.before[:place], why)


def _judge(
    shadow: Path | None, release: Release, live: Live, max_age_days: float, force: str | None
) -> tuple[Passed | None, str | None]:
    """The report that lets the release go live, or what spoke against it and was overruled."""
    try:
        return check_shadow(shadow, release.parts, live.parts, max_age_days, datetime.datetime.now(datetime.UTC)), None
    except UserError as error:
        if force is None:
            raise UserError(f"release {release.name} stays away, {live.name} stays live: {error}") from error
        return None, str(error)


def _switch(
    root: Path, entry: Entry, live: Live | None, release: Release, what: Literal["promote", "rollback"],
    before: list[str], why: str, passed: Passed | None = None, overruled: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The new current.json, durable on return, and with it the files of the release."""
    now = Live(
        change=1 if live is None else live.change + 1, name=release.name, fingerprint=release.manifest.fingerprint,
        parts=release.parts, before=before, what=what, came_from=live and live.name, who=actor(),
        when=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"), why=why,
        shadow=passed and asdict(passed), overruled=overruled,
    )  # fmt: skip
    for path in (*release.path.rglob("*"), release.path, root):
        _sync(path)
    write_text(root / CURRENT, now.model_dump_json(indent=2))
    _sync(root)
    entry.parameters = now.told()
    told = {name: value for name, value in now.told().items() if value is not None}
    return {"live": told.pop("name"), "unchanged": False, **told}


def _settle(root: Path) -> Live | None:
    """What is live, and it is in the history."""
    live = read_live(root)
    if live is not None and not any(told["change"] == live.change for told in switches(root)):
        late = Entry(f"release {live.what}", PURPOSE, parameters=live.told())
        late.write(history_file(root), "done", "written later: the switch was stopped before this line")
    return live


def _check_reason(name: str, said: str | None) -> None:
    if said is not None and not said.strip():
        raise UserError(f"--{name} is empty; it takes the reason, in words that somebody understands next year")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
