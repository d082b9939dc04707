"""Annotators' files -> grades by pair, with every row that could not be used named."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.gold.scale import HIGHEST, LOWEST
from navigator.contracts.errors import UserError
from navigator.importers.files import batches, file_schema, quoted, scan

COLUMNS = ("pair", "grade")
CONTRADICTS = "pair graded twice, differently"


@dataclass(frozen=True)
class BadRow:
    """A row that was refused: `row` counts from 1 below the head."""

    annotator: str
    row: int
    pair: str
    grade: str
    reason: str


@dataclass
class Graded:
    """One annotator's file, read.

    Attributes:
        grades: pair -> grade.
        bad: refused rows.
        missing: pairs of theirs without a grade, empty cells and refused ones among them.
    """

    rows: int = 0
    grades: dict[str, int] = field(default_factory=dict)
    bad: list[BadRow] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def reasons(self) -> dict[str, int]:
        return dict(Counter(row.reason for row in self.bad))


def read_grades(annotator: str, path: Path, theirs: Sequence[str], known: Mapping[str, object]) -> Graded:
    """Read one file.

    A pair that comes twice counts once when the grades are equal; when they differ none of them is believed.

    Args:
        annotator: whose it is.
        path: CSV, TSV or Parquet with the columns pair and grade.
        theirs: the pairs that this annotator was given.
        known: every pair of the task.

    Raises:
        UserError: no such file or a missing column.
    """
    present = file_schema(path).names
    lacking = next((name for name in COLUMNS if name not in present), None)
    if lacking is not None:
        raise UserError(
            f"{path} lacks the column {lacking}; it has {', '.join(present)}; hand in the file that was given out"
        )
    found, wanted = Graded(), set(theirs)
    first_row: dict[str, int] = {}
    for batch in batches(f"SELECT {', '.join(map(quoted, COLUMNS))} FROM {scan(path)}"):
        for raw in batch.to_pylist():
            found.rows += 1
            pair, given = str(raw["pair"] or "").strip(), "" if raw["grade"] is None else str(raw["grade"]).strip()
            reason = _refused(pair, given, wanted, known, found.grades, first_row)
            if reason:
                found.bad.append(BadRow(annotator, found.rows, pair, given, reason))
            elif given:
                found.grades[pair] = _number(given) or 0
                first_row[pair] = found.rows
    for pair in {row.pair for row in found.bad if row.reason == CONTRADICTS} & found.grades.keys():
        found.bad.append(BadRow(annotator, first_row[pair], pair, str(found.grades.pop(pair)), CONTRADICTS))
    found.missing = [pair for pair in theirs if pair not in found.grades]
    return found


def _refused(
    pair: str,
    given: str,
    wanted: set[str],
    known: Mapping[str, object],
    taken: Mapping[str, int],
    first: Mapping[str, int],
) -> str | None:
    """Why a row is of no use; None where it is, or where its grade is simply empty."""
    if pair not in known:
        return "unknown pair"
    if pair not in wanted:
        return "pair that was not theirs"
    if not given:
        return None
    grade = _number(given)
    if grade is None:
        return f"grade is not a whole number from {LOWEST} to {HIGHEST}"
    if pair in first:
        return "pair graded twice, equally" if taken[pair] == grade else CONTRADICTS
    return None


def _number(given: str) -> int | None:
    """A grade: 4, also as a spreadsheet may write it (4.0)."""
    try:
        value = float(given)
    except ValueError:
        return None
    return int(value) if value in range(LOWEST, HIGHEST + 1) else None
