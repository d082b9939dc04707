"""Downloads that are whole or absent: into a partial folder, checked against a pinned SHA-256, then renamed into place.

A verified file is never fetched again, so that everything works offline after the first time.
"""

import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from navigator.contracts import UserError
from navigator.contracts.manifest import file_digest


@contextmanager
def partial_folder(store: Path, name: str) -> Iterator[Path]:
    """An empty folder in the store for one download; removed after, whatever happened (a leftover is emptied first)."""
    folder = store / "partial" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def verified(candidates: Iterable[Path], sha: str) -> Path | None:
    """The candidate with this SHA-256. Others are left alone: they may be another version's."""
    return next((path for path in sorted(candidates) if file_digest(path) == sha), None)


def keep(partial: Path, pattern: str, sha: str | None, what: str, store: Path) -> Path:
    """Move the downloaded file that matches `pattern` into the store, after its SHA-256 was checked (None: no check).

    Raises:
        UserError: no file, or another SHA-256 (the file is removed).
    """
    path = next(iter(sorted(partial.glob(pattern))), None)
    if path is None:
        raise UserError(f"the download of {what} left no file {pattern}; run the command again")
    found = file_digest(path)
    if sha is not None and found != sha:
        path.unlink()
        raise UserError(
            f"{what} has SHA-256 {found}, but {sha} is pinned: the file was removed; the package source serves "
            f"something else than this release was tested with, check it and run the command again"
        )
    store.mkdir(parents=True, exist_ok=True)
    return path.replace(store / path.name)


def run(command: Sequence[str], folder: Path, failure: str, advice: str) -> str:
    """Run a tool in `folder` and return its standard output.

    Raises:
        UserError: the tool is missing or fails; carries `failure`, the last line the tool said, and `advice`.
    """
    try:
        done = subprocess.run(list(command), cwd=folder, capture_output=True, text=True)
    except OSError as error:
        raise UserError(f"{failure}: {command[0]} cannot be run ({error}); install it") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(f"{failure}: {said[-1]}; {advice}, then run the command again")
    return done.stdout
