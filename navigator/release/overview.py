"""What `navigator release list` shows."""

from pathlib import Path
from typing import Any

from navigator.release.history import problems, switches
from navigator.release.live import read_live
from navigator.release.store import Release, check_root, names


def overview(root: Path) -> dict[str, Any]:
    """Rows of all releases, oldest first, and the same as text.

    Raises:
        UserError: no such folder, or a broken current.json.
    """
    live, told = read_live(check_root(root)), switches(root)
    rows = []
    for name in names(root):
        went_live = [change for change in told if change["name"] == name and change["what"] == "promote"]
        state = "live" if live and name == live.name else "previous" if live and name in live.before[-1:] else ""
        rows.append(
            {**Release.read(root, name).row(), "state": state, "went_live": went_live[-1] if went_live else None}
        )
    wrong = problems(root)
    lines = [f"live: {live.name} since {live.when[:19]} by {live.who}: {live.why}" if live else "nothing is live yet"]
    lines += [_line(row) for row in rows] + [f"warning: the history: {problem}" for problem in wrong]
    return {
        "root": str(root), "live": live and live.name, "releases": rows, "history_problems": wrong,
        "text": "\n".join(lines), "exit_code": int(bool(wrong)),
    }  # fmt: skip


def _line(row: dict[str, Any]) -> str:
    parts = " ".join(f"{part}={value}" for part, value in sorted(row["parts"].items()))
    size = f"{row['bytes'] / 1e6:,.1f} MB ({row['shared_bytes'] / 1e6:,.1f} MB of it shared by hard links)"
    return "\n".join(
        [
            f"{row['name']:12} {row['state']:9} {row['created_at'][:19]}  {row['fingerprint']}  {size}",
            *([f"    {row['note']}"] if row["note"] else []),
            f"    {parts}",
            f"    {_went_live(row['went_live'])}",
        ]
    )


def _went_live(change: dict[str, Any] | None) -> str:
    if change is None:
        return "was never live"
    report, against = change["shadow"], change["overruled"]
    by = f"shadow {report['verdict']} ({report['fingerprint']}, {report['report']})" if report else "no shadow report"
    forced = f"; forced against: {against}" if against else ""
    return f"went live {change['when'][:19]} by {change['who']}, {by}; why: {change['why']}{forced}"
