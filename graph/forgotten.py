"""The list of people that a graph has forgotten, kept so that the list itself does not name them.

    OUT.forgotten.txt   beside the graph: one SHA-256 a line, of the salt (the first line) and the user's id

Builds leave out whoever is on it, so a catalogue that still has their rows does not bring them back. The salt keeps the
hashes from being matched with those of another list; it does not keep somebody who has the list from asking about an id
that he already knows, which is what a build does.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from graph.audit import append_locked
from navigator.contracts import UserError
from navigator.contracts.manifest import digest

REASON = "forgotten"
_SALT = "salt "


@dataclass(frozen=True)
class Forgotten:
    """Salted hashes of users; empty where nobody was forgotten."""

    salt: str = ""
    hashes: frozenset[str] = frozenset()

    @property
    def fingerprint(self) -> str:
        """Of the list, "" of an empty one: an option of the build that the graph's manifest keeps."""
        return digest([self.salt, sorted(self.hashes)]) if self.hashes else ""

    def hash_of(self, user: str) -> str:
        """The same in DuckDB: sha256(salt || '|' || user_id)."""
        return hashlib.sha256(f"{self.salt}|{user}".encode()).hexdigest()

    def among(self, users: Iterable[str | None]) -> list[str]:
        """Those of the ids that are forgotten, each once, sorted; null is nobody."""
        if not self.hashes:
            return []
        return sorted({user for user in users if user is not None and self.hash_of(user) in self.hashes})


def forgotten_path(graph: Path) -> Path:
    """OUT.forgotten.txt."""
    graph = Path(graph).absolute()
    return graph.with_name(graph.name + ".forgotten.txt")


def read_forgotten(path: Path | None) -> Forgotten:
    """The list in a file; nobody for None and where there is no file.

    Raises:
        UserError: the file is something else.
    """
    if path is None or not path.is_file():
        return Forgotten()
    lines = path.read_bytes().decode("ascii", "replace").splitlines()
    if not lines:
        return Forgotten()
    broken = next(
        (n for n, line in enumerate(lines[1:], 2) if len(line) != 64 or set(line) - set("0123456789abcdef")), 0
    )
    if broken or not lines[0].startswith(_SALT):
        raise UserError(
            f"{path} is not a list of forgotten users (line {broken or 1}); give the .forgotten.txt beside a graph"
        )
    return Forgotten(lines[0].removeprefix(_SALT), frozenset(lines[1:]))


def add_forgotten(path: Path, user: str) -> Forgotten:
    """Put a user on the list, which is begun where there is none; durable on return, twice is once."""
    if not path.is_file():
        append_locked(path, lambda lines: b"" if lines else f"{_SALT}{secrets.token_hex(16)}".encode())
    known = read_forgotten(path)
    mine = known.hash_of(user).encode()
    append_locked(path, lambda lines: b"" if mine in lines else mine)
    return read_forgotten(path)
