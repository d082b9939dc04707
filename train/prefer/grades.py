"""Pairs from a file of grades: what people (or a judge that agrees with them) said of items for a request.

    board_title   the request's title, may be empty
    history       its items: a list, or ids joined by "|"; may be empty where there is a title
    item          the item that was graded
    grade         1 (wrong) to 5 (exactly right)

A gold set that is trained on says nothing about the model any more: measure with other queries.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from navigator.contracts import UserError
from navigator.contracts.catalog import held_out
from navigator.importers.files import batches, file_schema, scan
from navigator.importers.rows import as_id
from train.prefer.pairs import Pairs, Question

COLUMNS = ("board_title", "history", "item", "grade")
LOWEST, HIGHEST = 1, 5


@dataclass
class Grades:
    """A grades file, read.

    Attributes:
        graded: item index -> its grades, by request.
        rows: rows of the file.
        bad: (row number from 1, item as given, reason) of every row that could not be used.
    """

    graded: dict[Question, dict[int, list[float]]] = field(default_factory=dict)
    rows: int = 0
    bad: list[tuple[int, str, str]] = field(default_factory=list)

    def counts(self) -> dict[str, Any]:
        """For the answer and the manifest; the first few bad rows by name."""
        named = [f"row {row}, item {item!r}: {reason}" for row, item, reason in self.bad[:5]]
        reasons = Counter(reason for _, _, reason in self.bad)
        return {"rows": self.rows, "queries": len(self.graded), "bad_rows": dict(reasons), "first_bad_rows": named}


def read_grades(path: Path, item_index: dict[str, int], strict: bool = False) -> Grades:
    """Read a grades file (Parquet, CSV or TSV).

    Args:
        path: the file.
        item_index: row of each item in the catalogue, by external id.
        strict: stop at the first bad row.

    Raises:
        UserError: no such file, a missing column, or (strict) a bad row.
    """
    present = file_schema(path).names
    missing = [name for name in COLUMNS if name not in present]
    if missing:
        raise UserError(f"{path} lacks the column {missing[0]}; it has {', '.join(present)}")
    grades = Grades()
    for batch in batches(f"SELECT {', '.join(COLUMNS)} FROM {scan(path)}"):
        for row in batch.to_pylist():
            grades.rows += 1
            taken = _taken(row, item_index)
            if isinstance(taken, str):
                if strict:
                    raise UserError(
                        f"{path} row {grades.rows} (item {row['item']!r}): {taken}; mend it or leave --strict out"
                    )
                grades.bad.append((grades.rows, str(row["item"]), taken))
            else:
                question, item, grade = taken
                grades.graded.setdefault(question, {}).setdefault(item, []).append(grade)
    return grades


def grade_pairs(
    grades: Grades, min_margin: float, per_query: int, max_history: int, valid: float, seed: int
) -> tuple[Pairs, Pairs]:  # fmt: skip
    """Pairs of a higher over a lower grade of the same request, weighted by the margin between the two.

    An item that was graded more than once has its mean grade.

    Args:
        grades: from `read_grades`.
        min_margin: smallest difference of grades that makes a pair.
        per_query: pairs a request at most, a seeded choice in proportion to their margins.
        max_history: items of a history at most, the last ones.
        valid: share of the requests that is held out, chosen by what they ask alone.
        seed: of the choice of pairs.

    Returns:
        training pairs and pairs of held-out requests.

    Raises:
        UserError: no training pair results.
    """
    names = [f"{question.title}|{question.history}" for question in grades.graded]
    apart = held_out(names, valid, "grades-v1")
    train, kept = [], []
    for number, (question, graded) in enumerate(grades.graded.items()):
        mean = {item: sum(values) / len(values) for item, values in sorted(graded.items())}
        found = [(a, b, mean[a] - mean[b]) for a in mean for b in mean if mean[a] - mean[b] >= min_margin]
        if len(found) > per_query:
            margins = np.array([margin for _, _, margin in found])
            rng = np.random.default_rng([seed, number, 6])
            picked = rng.choice(len(found), per_query, replace=False, p=margins / margins.sum())
            found = [found[i] for i in np.sort(picked)]
        shown = Question(question.title, question.history[-max_history:])
        (kept if apart[number] else train).extend((shown, a, b, margin) for a, b, margin in found)
    if not train:
        first = f"; the first bad row: {grades.counts()['first_bad_rows'][0]}" if grades.bad else ""
        raise UserError(
            f"the grades ({grades.rows} rows, {len(grades.bad)} bad) give no pair of one request with a margin of "
            f"{min_margin:g} or more{first}; lower --min_margin or --grades_valid, or grade more items a request"
        )
    return Pairs.of(train), Pairs.of(kept)


def _taken(row: dict[str, Any], item_index: dict[str, int]) -> tuple[Question, int, float] | str:
    """(request, item, grade), or why not."""
    history = row["history"] if row["history"] is not None else []
    if isinstance(history, str):
        history = [part.strip() for part in history.split("|") if part.strip()]
    title, item = row["board_title"] or "", as_id(row["item"])
    if not isinstance(history, list) or not isinstance(title, str) or item is None:
        return "wrong type"
    ids = [as_id(i) for i in history]
    if item not in item_index:
        return "unknown item"
    if any(i not in item_index for i in ids):
        return "unknown item in its history"
    try:
        grade = float(row["grade"])
    except (TypeError, ValueError):
        return "grade is not a number"
    if not (math.isfinite(grade) and LOWEST <= grade <= HIGHEST):
        return f"grade outside {LOWEST} to {HIGHEST}"
    if not ids and not title.strip():
        return "neither title nor history"
    if item in ids:
        return "item is in its own history"
    return Question(title.strip(), tuple(item_index[i] for i in ids if i)), item_index[item], grade
