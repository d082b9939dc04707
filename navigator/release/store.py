"""Releases on disk: their names, what they are made of, whether they still are what they were."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from navigator.contracts.errors import UserError
from navigator.contracts.manifest import MANIFEST, Manifest, content_fingerprint, read_manifest

KIND = "release"
PARTS = ("model", "vectors", "index")
MADE_BY = "navigator release create"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TAKEN = (".work", ".old", ".tmp", ".json", ".jsonl")  # endings of what else lies in a root


@dataclass(frozen=True)
class Release:
    """One complete release.

    Attributes:
        path: its folder.
        manifest: its inputs are the fingerprints of its parts and of the catalogue.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def read(cls, root: Path, name: str) -> "Release":
        """Raises UserError where there is no complete release of this name; the names that there are are said."""
        check_name(name)
        path = Path(root) / name
        if not (path / MANIFEST).is_file():
            there = ", ".join(names(root)) or "none"
            raise UserError(f"there is no release {name!r} in {root}; there are: {there}; make one with `{MADE_BY}`")
        return cls(path, read_manifest(path, KIND, MADE_BY))

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def parts(self) -> dict[str, str]:
        """Part -> fingerprint: model, vectors, index, and encoder where there is one."""
        return {part: value for part, value in self.manifest.inputs.items() if part != "catalog"}

    @property
    def encoder(self) -> str | None:
        """What reads words: the folder in the release, a name that open_clip knows, or nothing."""
        return str(self.path / "encoder") if (self.path / "encoder").is_dir() else self.manifest.config["encoder_name"]

    @property
    def catalog(self) -> Path:
        """Where the catalogue was; it is no part of the release."""
        return Path(self.manifest.config["catalog"])

    def check(self) -> None:
        """Read every byte again.

        Raises:
            UserError: a file was changed, added or removed since the release was made.
        """
        changed = content_fingerprint(self.path, KIND) != self.manifest.fingerprint
        for part in PARTS:
            held = read_manifest(self.path / part, part, MADE_BY).fingerprint
            changed = changed or held != self.parts[part]
        if changed:
            raise UserError(
                f"release {self.path} was changed after it was made (linked files change where their source is written in "
                f"place); make another with `{MADE_BY}`, with --copy where that may happen"
            )

    def sizes(self) -> dict[str, int]:
        """bytes of all files, and shared_bytes of those whose blocks other folders hold too (hard links)."""
        found = [file.stat() for file in self.path.rglob("*") if file.is_file()]
        return {
            "bytes": sum(s.st_size for s in found), "shared_bytes": sum(s.st_size for s in found if s.st_nlink > 1)
        }  # fmt: skip

    def row(self) -> dict[str, Any]:
        """What `navigator release list` says about the release alone."""
        config = self.manifest.config
        return {
            "name": self.name, "created_at": self.manifest.created_at, "note": config["note"],
            "fingerprint": self.manifest.fingerprint, "parts": self.parts, "catalog": config["catalog"], **self.sizes(),
        }  # fmt: skip


def check_name(name: str) -> None:
    """Raises UserError for a name that a folder, a header and a log cannot all carry."""
    if not _NAME.fullmatch(name) or name.endswith((*_TAKEN, ".")):
        raise UserError(
            f"release name {name[:80]!r}; allowed are 1 to 64 letters, digits, dots, dashes and underscores, a letter or "
            f"digit first, no {', '.join(_TAKEN)} at the end"
        )


def names(root: Path) -> list[str]:
    """Complete releases, oldest first."""
    found = [
        (read_manifest(path, KIND, MADE_BY).created_at, path.name)
        for path in Path(root).iterdir()
        if _NAME.fullmatch(path.name) and not path.name.endswith(_TAKEN) and (path / MANIFEST).is_file()
    ]
    return [name for _, name in sorted(found, key=lambda own: (own[0], _natural(own[1])))]


def check_root(root: Path) -> Path:
    """Raises UserError where there is no such folder."""
    if not Path(root).is_dir():
        raise UserError(f"{root} is not a folder of releases; make the first one with `{MADE_BY} {root} --model ...`")
    return Path(root)


def _natural(name: str) -> tuple[int, str]:
    """r2 before r10."""
    return len(name), name
