"""TREC run and qrels files, so that anybody's evaluation tool can check ours.

run.SYSTEM.trec   query Q0 item rank score system     the ranked list, best first, depth 100
qrels.trec        query 0 item 1                      the held-out items

The score column is strictly decreasing with rank: tools break ties their own way, and the order here already follows
our tie rule. Ids with white space or "%" are percent-encoded, because the format separates by white space.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from navigator.contracts.errors import UserError
from navigator.contracts.signals import Query


def escape(external_id: str) -> str:
    """An id without white space; reversible with urllib.parse.unquote, and one-to-one.

    Raises:
        UserError: the id is empty, which a TREC file cannot say.
    """
    if not external_id:
        raise UserError("an empty id cannot be written to a TREC file; give every board, user and item an id")
    return "".join(quote(c, safe="") if c.isspace() or c == "%" else c for c in external_id)


def file_name(system: str) -> str:
    """run.SYSTEM.trec, with ":" and "/" of the system's name as "-"."""
    return f"run.{system.replace(':', '-').replace('/', '-')}.trec"


def write_run(path: Path, system: str, queries: Iterable[Query], indices: np.ndarray, item_ids: Sequence[str]) -> None:
    """Write (q, k) ranked item indices; -1 (no item) is left out."""
    tag = system.replace(" ", "_")
    with path.open("w") as handle:
        for query, row in zip(queries, indices, strict=True):
            query_id = escape(query.query_id)
            for rank, item in enumerate(i for i in row.tolist() if i >= 0):
                handle.write(f"{query_id} Q0 {escape(str(item_ids[item]))} {rank + 1} {len(row) - rank} {tag}\n")


def write_qrels(path: Path, queries: Iterable[Query], item_ids: Sequence[str]) -> None:
    """Write every target with relevance 1."""
    with path.open("w") as handle:
        for query in queries:
            for item in dict.fromkeys(query.targets):
                handle.write(f"{escape(query.query_id)} 0 {escape(str(item_ids[item]))} 1\n")
