"""`navigator-bench gold run`: rank what the frozen set asks, score it, put intervals around it, write.

report.json, report.md   figures by slice and system
per_query.parquet        one row a system, treatment of unjudged items and query, so that others can pair
run.SYSTEM.trec          the ranked lists, so that any tool can check (with qrels.trec of the set)
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.documents import DOCUMENTS, where, write_documents
from bench.encoder.intervals import intervals
from bench.gold.figures import SCHEMA_VERSION, GoldReport, Outside, RankedBy
from bench.gold.frozen import Gold, open_gold
from bench.gold.metrics import TREATMENTS, measures
from bench.gold.options import RunOptions
from bench.gold.rank import kinds, rank_all
from bench.gold.run_tables import run_markdown, run_protocol, run_text
from bench.gold.scale import HIGHEST, LOWEST, RELEVANT
from bench.gold.summary import Values, all_metrics, slice_row
from bench.provenance import came_about
from bench.taste.slices import resampling_unit
from bench.trec import escape, file_name
from navigator.contracts import is_current, publish

KIND = "gold-report"


def run_gold(options: RunOptions) -> dict[str, Any]:
    """Write the report, or find it current.

    Raises:
        UserError: see bench.gold.command.
    """
    gold = open_gold(options.gold, options.expect)
    ranked, systems, inputs = rank_all(gold, options)
    config = options.config() | {"schema_version": SCHEMA_VERSION}
    if is_current(options.out, KIND, config, inputs):
        report = GoldReport.model_validate_json((options.out / "report.json").read_text())
        return _answer(options, report, True)
    values = {name: _values(lists, gold) for name, lists in ranked.items()}
    report = _report(options, gold, systems, values, config, inputs)
    with publish(options.out, KIND, config, inputs, options.seed) as work:
        _write_per_query(work.path / "per_query.parquet", values, gold)
        files = [*DOCUMENTS, "per_query.parquet"]
        for name, lists in ranked.items():
            files.append(file_name(name))
            _write_run(work.path / files[-1], name, lists, gold)
        write_documents(work.path, report, run_markdown(report, files))
        work.metrics = _means(report)
    return _answer(options, report, False)


def _values(lists: Sequence[Sequence[str]], gold: Gold) -> Values:
    """Treatment -> metric -> (q,)."""
    rows = [measures(own, gold.grades_of(q["query_id"])) for own, q in zip(lists, gold.queries, strict=True)]
    return {t: {m: np.array([row[t][m] for row in rows]) for m in rows[0][t]} for t in TREATMENTS}


def _report(
    options: RunOptions, gold: Gold, systems: dict[str, RankedBy], values: Mapping[str, Values], config: dict[str, Any],
    inputs: dict[str, str],
) -> GoldReport:  # fmt: skip
    resampled, clusters = _unit(gold)
    grades = [row["grade"] for own in gold.judged.values() for row in own.values()]
    one, chance = np.ones(len(gold.queries)), np.array([row["p_query"] for row in gold.queries])
    every = np.ones(len(gold.queries), bool)
    strata = np.array([f"{row['kind']}/{row['band']}" for row in gold.queries])
    kind_of = np.array([row["kind"] for row in gold.queries])
    slices = {"all": (every, one)}
    if (chance < 1).any():
        slices["all, weighted to the whole"] = (every, 1 / chance)
    slices |= {kind: (kind_of == kind, one) for kind in kinds(gold) if len(kinds(gold)) > 1}
    slices |= {name: (strata == name, one) for name in dict.fromkeys(strata.tolist())}
    rows = {n: slice_row(values, keep, w, clusters, options.rivals, options.seed) for n, (keep, w) in slices.items()}
    return GoldReport(
        simulated=gold.simulated, gold=gold.manifest.fingerprint, n_queries=len(gold.queries), n_judged=len(grades),
        grades=[grades.count(grade) for grade in range(LOWEST, HIGHEST + 1)], systems=systems,
        slices={name: row for name, row in rows.items() if row is not None}, outside=outside(gold, clusters, options.seed),
        **came_about(options.seed, options.command_line(), config, inputs, run_protocol(resampled, options.seed)),
    )  # fmt: skip


def outside(gold: Gold, clusters: np.ndarray | None, seed: int) -> Outside:
    """Relevant items a query inside the pool, and an estimate of those outside (Horvitz-Thompson)."""
    rows = [list(gold.judged.get(q["query_id"], {}).values()) for q in gold.queries]
    inside = [sum(r["grade"] >= RELEVANT for r in own if r["pooled"]) for own in rows]
    beyond = [sum((r["grade"] >= RELEVANT) / r["p_item"] for r in own if not r["pooled"]) for own in rows]
    drawn = [r for own in rows for r in own if not r["pooled"]]
    pooled, estimate = intervals(np.array([inside, beyond], np.float64).T, clusters, seed)
    return Outside(
        drawn=len(drawn), relevant=sum(r["grade"] >= RELEVANT for r in drawn), in_pool=pooled,
        outside=estimate if drawn else None,
    )  # fmt: skip


def _unit(gold: Gold) -> tuple[str, np.ndarray | None]:
    owners = np.array([row["owner"] for row in gold.queries])
    if len(np.unique(owners)) == len(owners):
        return "queries", None
    return resampling_unit(owners)


def _write_per_query(path: Path, values: Mapping[str, Values], gold: Gold) -> None:
    rows = [
        {"system": name, "unjudged": t, **{n: q[n] for n in ("query_id", "kind", "band", "p_query")}}
        | {m: _or_null(own[t][m][i]) if m in own[t] else None for m in all_metrics()}
        for name, own in values.items()
        for t in TREATMENTS
        for i, q in enumerate(gold.queries)
    ]
    text = ("system", "unjudged", "query_id", "kind", "band")
    schema = pa.schema([(name, pa.string() if name in text else pa.float64()) for name in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema), path)


def _or_null(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _write_run(path: Path, name: str, lists: Sequence[Sequence[str]], gold: Gold) -> None:
    with path.open("w") as handle:
        for row, own in zip(gold.queries, lists, strict=True):
            for rank, item in enumerate(own):
                handle.write(f"{escape(row['query_id'])} Q0 {escape(item)} {rank + 1} {len(own) - rank} {name}\n")


def _means(report: GoldReport) -> dict[str, Any]:
    return {
        slice_name: {
            name: {t: {m: f and f.mean for m, f in own.items()} for t, own in row.figures.items()}
            for name, row in found.systems.items()
        }
        for slice_name, found in report.slices.items()
    }


def _answer(options: RunOptions, report: GoldReport, unchanged: bool) -> dict[str, Any]:
    text = f"{run_text(report)}\n\n{where(options.out, unchanged)}"
    return {
        "out": str(options.out), "unchanged": unchanged, "gold": report.gold, "simulated": report.simulated,
        "queries": report.n_queries, "slices": _means(report), "text": text,
    }  # fmt: skip
