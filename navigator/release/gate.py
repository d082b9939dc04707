"""May this release go live? The shadow report says so, of these very parts against those that are live, and not long ago."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from navigator.contracts.errors import UserError
from navigator.contracts.manifest import read_manifest
from navigator.contracts.shadow import KIND, ShadowSide, read_verdict

JUDGED = ("model", "vectors")  # what `navigator-bench shadow` compares of a release; both sides search exactly


@dataclass(frozen=True)
class Passed:
    """A shadow report that lets a release go live."""

    report: str
    fingerprint: str
    verdict: str
    created_at: str


def check_shadow(
    report: Path | None, new: dict[str, str], old: dict[str, str], max_age_days: float, now: datetime.datetime
) -> Passed:
    """What the report says, if it says that `new` may take the place of `old`.

    Args:
        report: folder that `navigator-bench shadow` wrote.
        new: part -> fingerprint of the release that shall go live.
        old: of the one that is live.
        max_age_days: the report may be so old.
        now: with a time zone.

    Raises:
        UserError: no report, a failed verdict, one of other parts, or one that is too old.
    """
    made_by = "`navigator-bench shadow --old LIVE/model:LIVE/vectors --new NAME/model:NAME/vectors`"
    if report is None:
        raise UserError(
            f"no shadow report was given; compare it with what is live by {made_by} and give --shadow REPORT, or promote "
            'without one by --force "WHY"'
        )
    found = read_verdict(report)
    if found.verdict != "pass":
        stops = ", ".join(f"{rule.metric} is {rule.value}" for rule in found.rules if rule.stops)
        raise UserError(f'shadow report {report} says fail ({stops or "it has no rules"}); --force "WHY" overrules it')
    _check_side("new", found.new, new, report, "the release that shall go live", made_by)
    _check_side("old", found.old, old, report, "what is live now", made_by)
    age = now - datetime.datetime.fromisoformat(found.created_at)
    if age > datetime.timedelta(days=max_age_days):
        raise UserError(
            f"shadow report {report} is {age.total_seconds() / 86400:.1f} days old, --max_age_days is {max_age_days:g}; "
            f"make it again by {made_by}"
        )
    return Passed(str(report), read_manifest(report, KIND, made_by).fingerprint, found.verdict, found.created_at)


def _check_side(label: str, side: ShadowSide, parts: dict[str, str], report: Path, which: str, made_by: str) -> None:
    wanted = {part: parts[part] for part in {*JUDGED, *side.fingerprints} if part in parts}
    if side.fingerprints != wanted:
        raise UserError(
            f"shadow report {report} compares as {label} {_words(side.fingerprints)}, but {which} is {_words(wanted)}; make "
            f"one by {made_by}"
        )


def _words(fingerprints: dict[str, str]) -> str:
    return ", ".join(f"{part} {value}" for part, value in sorted(fingerprints.items()))
