"""A frozen gold set: written once, checked whenever it is opened.

    gold.parquet     query_id, item_id, grade, how, pooled, p_item, item_band
    queries.parquet  what is asked: kind, band, title, history, owner, p_query
    grades.parquet   the same judgements for `python -m train.prefer --grades`: board_title, history, item, grade
    qrels.trec       the same for TREC tools: grade - 1, so that "wrong" gains nothing
    manifest.json    written last; its fingerprint is of the bytes of the other files

A set that is trained on says nothing about that model any more.
"""

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.gold.scale import LOWEST
from bench.gold.settle import Settled
from bench.trec import escape
from navigator.contracts import UserError, publish, read_manifest
from navigator.contracts.manifest import MANIFEST, Manifest, content_fingerprint, digest

KIND = "gold"
MADE_BY = "navigator-bench gold check ... --freeze FOLDER"
GOLD = pa.schema(
    [
        ("query_id", pa.string()), ("item_id", pa.string()), ("grade", pa.int8()), ("how", pa.string()),
        ("pooled", pa.bool_()), ("p_item", pa.float64()), ("item_band", pa.string()),
    ]
)  # fmt: skip
GRADES = pa.schema(
    [("board_title", pa.string()), ("history", pa.list_(pa.string())), ("item", pa.string()), ("grade", pa.int8())]
)


@dataclass(frozen=True)
class Gold:
    """An opened set.

    Attributes:
        queries: rows of queries.parquet.
        judged: query id -> item id -> row of gold.parquet.
    """

    manifest: Manifest
    queries: list[dict[str, Any]]
    judged: dict[str, dict[str, dict[str, Any]]]

    @property
    def simulated(self) -> bool:
        return bool(self.manifest.config["simulated"])

    def grades_of(self, query_id: str) -> dict[str, int]:
        """Item id -> grade."""
        return {item: row["grade"] for item, row in self.judged.get(query_id, {}).items()}


def open_gold(folder: Path, expect: str | None = None) -> Gold:
    """A set whose files are what they were when it was frozen.

    Raises:
        UserError: no set, a changed one, or another than expected; both fingerprints are named.
    """
    manifest = read_manifest(folder, KIND, MADE_BY)
    present = content_fingerprint(folder, KIND)
    if present != manifest.fingerprint:
        raise UserError(
            f"gold set {folder} was changed after it was frozen: fingerprint {manifest.fingerprint} then, {present} now; "
            f"restore it, or freeze the new grades under another name with `{MADE_BY}`"
        )
    if expect is not None and expect != present:
        raise UserError(
            f"gold set {folder} has fingerprint {present}, but {expect} is expected; give the set of that one"
        )
    judged: dict[str, dict[str, dict[str, Any]]] = {}
    for row in pq.read_table(folder / "gold.parquet").to_pylist():
        judged.setdefault(row["query_id"], {})[row["item_id"]] = row
    return Gold(manifest, pq.read_table(folder / "queries.parquet").to_pylist(), judged)


def freeze(
    folder: Path, task: Path, pairs: list[dict[str, Any]], settled: Mapping[str, Settled], config: dict[str, Any],
    inputs: dict[str, str],
) -> str:  # fmt: skip
    """Write the set and return its fingerprint; a set that is there already is left alone.

    Args:
        folder: where to.
        task: folder of `gold make`, for the queries.
        pairs: rows of its pairs.parquet.
        settled: pair -> grade; those without a grade are unjudged.
        config: how grades were settled.
        inputs: fingerprints of the task and the files.

    Raises:
        UserError: another set is frozen there.
    """
    rows = [
        {name: pair[name] for name in ("query_id", "item_id", "pooled", "p_item", "item_band")}
        | {"grade": settled[pair["pair"]].grade, "how": settled[pair["pair"]].how}
        for pair in pairs
        if settled[pair["pair"]].grade is not None
    ]
    content = digest([task_rows(task), rows, config["simulated"]])
    if (folder / MANIFEST).is_file():
        return _unchanged(folder, content)
    with publish(folder, KIND, config | {"content": content}, inputs) as work:
        shutil.copyfile(task / "queries.parquet", work.path / "queries.parquet")
        queries = {row["query_id"]: row for row in task_rows(task)}
        pq.write_table(pa.Table.from_pylist(rows, GOLD), work.path / "gold.parquet")
        grades = [
            {
                "board_title": queries[row["query_id"]]["title"], "history": queries[row["query_id"]]["history"],
                "item": row["item_id"], "grade": row["grade"],
            }
            for row in rows
        ]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(grades, GRADES), work.path / "grades.parquet")
        lines = (f"{escape(r['query_id'])} 0 {escape(r['item_id'])} {r['grade'] - LOWEST}\n" for r in rows)
        (work.path / "qrels.trec").write_text("".join(lines))
        work.metrics = {
            "queries": len({row["query_id"] for row in rows}), "judged": len(rows),
            "grades": {str(grade): n for grade, n in sorted(Counter(row["grade"] for row in rows).items())},
        }  # fmt: skip
    return read_manifest(folder, KIND, MADE_BY).fingerprint


def task_rows(task: Path) -> list[dict[str, Any]]:
    """The queries of a task."""
    return pq.read_table(task / "queries.parquet").to_pylist()


def _unchanged(folder: Path, content: str) -> str:
    there = open_gold(folder).manifest
    if there.config.get("content") != content:
        raise UserError(
            f"{folder} is frozen (fingerprint {there.fingerprint}) with other grades; a frozen set is never changed: give "
            "--freeze a new folder"
        )
    return there.fingerprint
