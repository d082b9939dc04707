"""The list of people that a graph has forgotten, kept so that the list itself does not name them.

    OUT.forgotten.txt   beside the graph: one SHA-256 a line, of the salt (the first line) and the user's id

Builds leave out whoever is on it, so a catalogue that still has their rows does not bring them back. The salt keeps the
hashes from being matched with those of another list; it does not keep somebody who has the list from asking about an id
that he already knows, which is what a build does.
"""

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

import duckdb

from graph.audit import append_locked
from navigator.contracts import UserError
from navigator.contracts.manifest import digest

REASON = "forgotten"
_SALT = "salt "
_COLUMNS = {  # where a catalogue's tables name users and boards
    "interactions": {"user_id": "users"},
    "boards": {"board_id": "boards"},
    "board_items": {"board_id": "boards"},
    "follows": {"user_id": "users", "board_id": "boards"},
}


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


@dataclass(frozen=True)
class Theirs:
    """What of a catalogue belongs to some of its users.

    Attributes:
        users: their ids, as far as the catalogue has them.
        boards: ids of the boards they own.
        rows: how many rows of each table are theirs: their interactions, boards, the saves on these boards, their
            follows and other people's follows of their boards. Tables without any are left out.
    """

    users: list[str]
    boards: list[str]
    rows: dict[str, int]

    def stay(self, table: str) -> str:
        """SQL condition on the columns of a table: true for rows that are not theirs."""
        return _stay(table, {"users": self.users, "boards": self.boards})


def forgotten_rows(catalog: Path, forgotten: Forgotten) -> Theirs:
    """What a build from the catalogue leaves out; reads the columns of owners only, and nothing for an empty list."""
    if not forgotten.hashes:
        return Theirs([], [], {})
    hashes = _literals(sorted(forgotten.hashes))
    people = f"WITH people AS MATERIALIZED (SELECT DISTINCT id FROM ({_people(catalog)}))"  # each id is hashed once
    return _theirs(catalog, f"{people} SELECT id FROM people WHERE sha256('{forgotten.salt}|' || id) IN ({hashes})")


def rows_of_user(catalog: Path, user: str) -> Theirs:
    """What of a catalogue is one user's.

    Raises:
        UserError: the catalogue has no such user.
    """
    found = _theirs(catalog, f"SELECT DISTINCT id FROM ({_people(catalog)}) WHERE id = {_literals([user])}")
    if not found.users:
        with duckdb.connect() as db:
            n = db.execute(f"SELECT count(DISTINCT id) FROM ({_people(catalog)})").fetchall()[0][0]
        raise UserError(
            f"user {user!r} is not among the {n:,} who have interactions, boards or follows in catalog {catalog}; give "
            "the id as the catalogue has it"
        )
    return found


def _theirs(catalog: Path, who: str) -> Theirs:
    """Of the users that the SQL query `who` gives."""
    with duckdb.connect() as db:
        users = sorted(row[0] for row in db.execute(who).fetchall())
        query = f"SELECT board_id FROM {_file(catalog, 'boards')} WHERE NOT {is_not('owner_id', users)} ORDER BY 1"
        boards = [row[0] for row in db.execute(query).fetchall()]
        rows = {}
        for table in _present(catalog):
            stay = _stay(table, {"users": users, "boards": boards})
            rows[table] = db.execute(f"SELECT count(*) FROM {_file(catalog, table)} WHERE NOT ({stay})").fetchall()[0][
                0
            ]
    return Theirs(users, boards, {table: n for table, n in rows.items() if n})


def _people(catalog: Path) -> str:
    """SQL of every user id there is; a board without an owner is nobody's."""
    parts = [
        f"SELECT user_id AS id FROM {_file(catalog, table)}"
        for table in _present(catalog)
        if "user_id" in _COLUMNS[table]
    ]
    parts.append(f"SELECT owner_id AS id FROM {_file(catalog, 'boards')}")
    return f"SELECT id FROM ({' UNION ALL '.join(parts)}) WHERE id IS NOT NULL"


def _stay(table: str, ids: dict[str, list[str]]) -> str:
    return " AND ".join(is_not(column, ids[whose]) for column, whose in _COLUMNS[table].items())


def is_not(column: str, ids: list[str]) -> str:
    """SQL condition: true for rows whose column is none of the ids."""
    return f"({column} IS NULL OR {column} NOT IN ({_literals(ids)}))" if ids else "true"


def _present(catalog: Path) -> list[str]:
    return [table for table in _COLUMNS if (catalog / f"{table}.parquet").is_file()]


def _file(catalog: Path, table: str) -> str:
    return _literals([str(catalog / f"{table}.parquet")])


def _literals(values: list[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)
