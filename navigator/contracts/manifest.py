"""Artefacts: folders that are whole or absent, and that can name their parents.

A stage writes into ``OUT.work`` beside ``OUT``; the manifest is written last and the folder is renamed into place, so a
folder that carries a ``manifest.json`` is complete and a kill at any moment leaves nothing half-visible. The work folder
remembers the key (kind, config, inputs) it was begun with: a stage that can resume finds its own leftovers there, any
other key empties it first.
"""

import datetime
import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from navigator.contracts.errors import UserError
from navigator.contracts.exchange import exchange

MANIFEST = "manifest.json"
_KEY = "key.json"
_PACKAGES = ("torch", "transformers", "open_clip_torch", "timm", "torch-geometric", "faiss-cpu", "accelerate", "peft")


class Manifest(BaseModel):
    """What an artefact is, what it was made from and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    schema_version: int = 1
    fingerprint: str
    config: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    seed: int | None = None
    metrics: dict[str, Any] = {}
    commit: str | None = None
    versions: dict[str, str] = {}
    created_at: str


def digest(value: Any) -> str:
    """SHA-256 of a JSON-able value, written canonically; 16 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_fingerprint(folder: Path, kind: str) -> str:
    """Fingerprint of a folder's files (names and bytes), the manifest and the work key left out."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (MANIFEST, _KEY))
    return digest([kind, [(p.relative_to(folder).as_posix(), file_digest(p)) for p in files]])


def read_manifest(folder: Path, kind: str, made_by: str) -> Manifest:
    """The manifest of a complete artefact of `kind`.

    Raises:
        UserError: the folder is missing, incomplete or of another kind; `made_by` names the command that makes one.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        state = "is not complete (no manifest.json)" if Path(folder).is_dir() else "does not exist"
        raise UserError(f"{kind} folder {folder} {state}; make one with `{made_by}`")
    try:
        manifest = Manifest.model_validate_json(path.read_text())
    except (ValidationError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not a readable manifest ({type(error).__name__}); make it again with `{made_by}`"
        ) from error
    if manifest.kind != kind:
        raise UserError(f"{folder} holds {_a(manifest.kind)}, but {_a(kind)} is needed; make one with `{made_by}`")
    return manifest


def check_free(out: Path, kind: str) -> None:
    """What an artefact may replace: nothing, an empty folder, or an older artefact of its kind.

    Raises:
        UserError: `out` is a file, or a folder with anything else in it; neither is touched.
    """
    if out.is_file():
        raise UserError(f"{out} is a file, but {_a(kind)} is a folder; give another --out")
    if not out.is_dir() or not any(out.iterdir()):
        return
    held = "other things"
    if (out / MANIFEST).is_file():
        try:
            held = Manifest.model_validate_json((out / MANIFEST).read_text()).kind
        except (ValidationError, UnicodeDecodeError):
            return  # an artefact of ours whose manifest broke
    if held != kind:
        raise UserError(
            f"{out} holds {held if held == 'other things' else _a(held)} and would be replaced by {_a(kind)}; give --out a new "
            f"or empty folder, or an older {kind} folder"
        )


def is_current(out: Path, kind: str, config: dict[str, Any], inputs: dict[str, str]) -> bool:
    """Whether `out` is complete and was made by this very config from these very inputs."""
    if not (Path(out) / MANIFEST).is_file():
        return False
    try:
        manifest = read_manifest(out, kind, "")
    except UserError:
        return False
    return (manifest.config, manifest.inputs) == (json.loads(json.dumps(config, default=str)), inputs)


class Work:
    """A folder being filled. `path` takes the files, `metrics` ends up in the manifest."""

    def __init__(self, path: Path, resumed: bool):
        self.path = path
        self.resumed = resumed
        self.metrics: dict[str, Any] = {}


@contextmanager
def publish(
    out: Path, kind: str, config: dict[str, Any], inputs: dict[str, str], seed: int | None = None
) -> Iterator[Work]:
    """Fill a work folder beside `out`; when the block ends without an error, make it `out` by renaming.

    After an interruption the next call with the same kind, config and inputs gets the leftovers (`work.resumed`).

    Raises:
        UserError: see check_free.
    """
    out = Path(out)
    check_free(out, kind)
    work_path = out.with_name(out.name + ".work")
    key = {"kind": kind, "config": json.loads(json.dumps(config, default=str)), "inputs": inputs, "seed": seed}
    resumed = _same_key(work_path / _KEY, key)
    if not resumed:
        shutil.rmtree(work_path, ignore_errors=True)
        work_path.mkdir(parents=True)
        write_text(work_path / _KEY, json.dumps(key))
    work = Work(work_path, resumed)
    yield work
    manifest = Manifest(
        kind=kind, fingerprint=content_fingerprint(work_path, kind), config=key["config"], inputs=inputs, seed=seed,
        metrics=work.metrics, commit=commit(), versions=versions(),
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
    (work_path / _KEY).unlink()
    write_text(work_path / MANIFEST, manifest.model_dump_json(indent=2))
    replace_folder(work_path, out)


def replace_folder(new: Path, out: Path) -> None:
    """Rename `new` to `out`; an older `out` trades places with it first and is removed after (see `exchange`)."""
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if not out.exists():
        new.rename(out)
        return
    exchange(new, out)
    new.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is whole or absent (write beside, fsync, rename)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".tmp")
    with beside.open("w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    beside.replace(path)


def commit() -> str | None:
    """The commit of the source tree this package runs from, with ``+dirty`` after local changes; None outside git."""
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        head = git("rev-parse", "--short", "HEAD")
        return head + ("+dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries whose change could change a figure."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _a(kind: str) -> str:
    return kind if kind.endswith("s") else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _same_key(path: Path, key: dict[str, Any]) -> bool:
    try:
        return json.loads(path.read_text()) == key
    except (OSError, ValueError):
        return False
