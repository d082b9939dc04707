"""The files of a report folder of `navigator-bench graph rank`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.documents import DOCUMENTS, write_documents
from bench.graph.figures import RankReport
from bench.graph.tables import markdown
from navigator.contracts.signals import Query

Values = dict[str, np.ndarray]
Cold = tuple[np.ndarray, np.ndarray]
_PER_OWNER, _PICTURE = "per_owner.parquet", "ndcg.png"


def write_rank(
    folder: Path, report: RankReport, answers: dict[str, tuple[Values, Cold]], queries: Sequence[Query]
) -> None:
    """Write per-owner values, the plot and the documents.

    Args:
        folder: the work folder.
        report: the figures.
        answers: run -> (metric -> (q,) values, the positions and recalls of owners with a cold target).
        queries: what was asked.
    """
    from bench.interval_plot import interval_plot

    _write_per_owner(folder / _PER_OWNER, answers, queries)
    metric = f"ndcg@{report.k}"
    panel = {name: row.figures[metric] for name, row in report.systems.items()}
    interval_plot({f"{report.n_owners:,} owners": panel}, f"{metric.upper()}, 95 % interval", folder / _PICTURE)
    write_documents(folder, report, markdown(report, [*DOCUMENTS, _PER_OWNER], _PICTURE))


def _write_per_owner(path: Path, answers: dict[str, tuple[Values, Cold]], queries: Sequence[Query]) -> None:
    """per_owner.parquet: system, owner, n_history, n_targets, the metrics, and cold recall (null without a cold target)."""
    shared = {
        "owner": pa.array([q.query_id for q in queries], pa.string()),
        "n_history": pa.array([len(q.history) for q in queries], pa.int32()),
        "n_targets": pa.array([len(set(q.targets)) for q in queries], pa.int32()),
    }
    tables = []
    for name, (metrics, cold) in answers.items():
        recall = np.full(len(queries), np.nan)
        recall[cold[0]] = cold[1]
        named = {"system": pa.array([name] * len(queries), pa.string()).dictionary_encode()}
        values = {metric: pa.array(value, pa.float64()) for metric, value in metrics.items()}
        tables.append(pa.table(named | shared | values | {"cold_recall": pa.array(recall, from_pandas=True)}))
    pq.write_table(
        pa.concat_tables(tables, promote_options="permissive").unify_dictionaries(), path, compression="zstd"
    )
