"""A log of requests, read strictly: a field that nobody knows is refused, so that no misspelt target goes unnoticed.

LOG.jsonl     one JSON object a line
LOG.parquet   the same fields as columns
LOG.txt       one text query a line
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from navigator.contracts import UserError


class LogRow(BaseModel):
    """One request; what is null or absent was not asked or is not known.

    Attributes:
        request_id: by default its place in the log, from 0.
        history: item ids, oldest first.
        text: words that were asked with, or a board's title.
        k: how many answers were asked for.
        targets: item ids, what was saved next.
        user: who asked; requests of one user are resampled together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: str | None = None
    history: list[str] | None = None
    text: str | None = None
    k: Annotated[int, Field(ge=1)] | None = None
    targets: list[str] | None = None
    user: str | None = None


def read_log(path: Path) -> list[LogRow]:
    """All requests of a log.

    Raises:
        UserError: no such file, another ending, an empty or unreadable log, an unknown field or a value of a wrong kind.
    """
    readers = {".jsonl": _json_lines, ".parquet": _parquet, ".txt": _text_lines}
    if path.suffix not in readers:
        raise UserError(f"log {path}: allowed are files that end in {', '.join(readers)}")
    if not path.is_file():
        raise UserError(f"log {path} does not exist; give a file with a request a line")
    try:
        rows = [_checked(path, number, row) for number, row in readers[path.suffix](path)]
    except (UnicodeDecodeError, json.JSONDecodeError, pa.ArrowException) as error:
        raise UserError(f"log {path} is not readable ({' '.join(str(error).split())[:120]}); write it again") from error
    if not rows:
        raise UserError(f"log {path} holds no request; give one with a request a line")
    return rows


def _checked(path: Path, number: int, row: Any) -> LogRow:
    try:
        return LogRow.model_validate(row)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in found["loc"]) or "the row"
        what = f"{place} is {str(found['input'])[:80]!r}: {found['msg']}"
        if found["type"] == "extra_forbidden":
            what = f"{place} is not a field; fields: {', '.join(LogRow.model_fields)}"
        raise UserError(f"log {path}, row {number}: {what}") from error


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, json.loads(line)


def _text_lines(path: Path) -> Iterator[tuple[int, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return ((number, {"text": line}) for number, line in enumerate(lines, 1) if line.strip())


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    return iter(enumerate(pq.read_table(path).to_pylist(), 1))
