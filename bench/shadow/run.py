"""`navigator-bench shadow`: open both, replay the traffic, compare, judge by the thresholds, write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.documents import DOCUMENTS, where, write_documents
from bench.inputs import fingerprint_of
from bench.provenance import came_about
from bench.shadow.compare import Replies, Values, agreement, answered, by_label, quality, slices
from bench.shadow.figures import PROTOCOL, SCHEMA_VERSION, ShadowReport, TrafficRow
from bench.shadow.measured import measured
from bench.shadow.options import Options
from bench.shadow.protocol import protocol
from bench.shadow.replay import LABELS, first_asked, replay
from bench.shadow.sheet import draw_changed
from bench.shadow.sides import Side, open_side
from bench.shadow.summary import latency_ratio, score_shift, side_row, slice_row
from bench.shadow.tables import compact, markdown
from bench.shadow.thresholds import Thresholds, load_thresholds
from bench.shadow.traffic import Traffic, open_traffic
from navigator.contracts import Catalog, is_current, publish
from navigator.contracts.manifest import file_digest
from navigator.contracts.shadow import KIND, ShadowVerdict, gate

SHEET = "sheet.png"


def compare_shadow(options: Options) -> dict[str, Any]:
    """Write the report, or find it current; `exit_code` is 0 where the verdict is pass, else 1.

    Raises:
        UserError: see bench.shadow.command.
    """
    thresholds, catalog = load_thresholds(options.thresholds), Catalog.open(options.catalog)
    traffic = open_traffic(options, catalog)
    sides = (
        open_side("old", options, catalog, traffic.held_out_by),
        open_side("new", options, catalog, traffic.held_out_by),
    )
    config = options.config() | {"schema_version": SCHEMA_VERSION, "protocol": PROTOCOL}
    inputs = _inputs(options, traffic, thresholds, sides)
    if is_current(options.out, KIND, config, inputs):
        return _summary(options, ShadowReport.model_validate_json((options.out / "report.json").read_text()), True)
    with publish(options.out, KIND, config, inputs, options.seed) as work:
        replies = replay(sides, traffic.requests, options.timeout_ms)
        agreed, judged = agreement(traffic.requests, replies), quality(traffic.requests, replies)
        kinds = slices(traffic, options)
        report = _report(options, traffic, sides, thresholds, replies, agreed, judged, kinds, config, inputs, catalog)
        columns = agreed | by_label(judged)
        write_per_request(work.path / "per_request.parquet", traffic, replies, columns, kinds, catalog.item_ids)
        drawn = draw_changed(work.path / SHEET, traffic.requests, replies, columns, catalog, options.rows)
        pictures = [SHEET] if drawn else []
        write_documents(work.path, report, markdown(report, [*DOCUMENTS, "per_request.parquet"], pictures))
        work.metrics = {"verdict": report.verdict.verdict, **report.measured}
    return _summary(options, report, False)


def _inputs(options: Options, traffic: Traffic, thresholds: Thresholds, sides: Sequence[Side]) -> dict[str, str]:
    found = {"catalog": fingerprint_of("catalog", options.catalog), "thresholds": thresholds.digest[:16]}
    if options.graph is not None:
        found["graph"] = fingerprint_of("graph", options.graph)
    if options.log is not None:
        found["log"] = file_digest(options.log)[:16]
    for label, side in zip(LABELS, sides, strict=True):
        found |= {f"{label} {part}": value for part, value in side.about.fingerprints.items()}
    return found


def _report(
    options: Options, traffic: Traffic, sides: tuple[Side, Side], thresholds: Thresholds, replies: Replies, agreed: Values,
    judged: tuple[Values, Values], kinds: dict[str, np.ndarray], config: dict[str, Any], inputs: dict[str, str],
    catalog: Catalog,
) -> ShadowReport:  # fmt: skip
    n_items, queries = len(catalog.item_ids), [request.query for request in traffic.requests]
    rows = {
        label: side_row(own, side.missing, n_items) for label, own, side in zip(LABELS, replies, sides, strict=True)
    }
    by_slice = {
        name: slice_row(keep, replies, agreed, judged, traffic.clusters, options.seed)
        for name, keep in kinds.items()
        if keep.any()
    }
    ratio, shift = latency_ratio(replies, options.seed), score_shift(replies)
    newly = int((answered(replies[0]) & ~answered(replies[1])).sum())
    values = measured(newly, rows, ratio, shift, by_slice)
    ruled = thresholds.judge(values)
    came = came_about(
        options.seed, options.command_line(), config, inputs, protocol(options, traffic, sides), cuda=_on_cuda(options)
    )
    verdict = ShadowVerdict(
        verdict=gate(ruled), old=sides[0].about, new=sides[1].about, requests=len(queries), traffic=traffic.digest,
        thresholds=thresholds.digest, rules=ruled, created_at=came["created_at"],
    )  # fmt: skip
    asked = TrafficRow(
        described=traffic.described, digest=traffic.digest, requests=len(queries),
        with_targets=sum(bool(q.targets) for q in queries), with_text=sum(bool(q.title) for q in queries),
        without_history=sum(not q.history for q in queries), resampled=traffic.resampled, left_out=traffic.left_out,
    )  # fmt: skip
    return ShadowReport(
        verdict=verdict, traffic=asked, n_items=n_items, sides=rows, latency_ratio=ratio, score_shift=shift,
        slices=by_slice, measured=values, **came,
    )  # fmt: skip


def write_per_request(
    path: Path, traffic: Traffic, replies: Replies, columns: Values, kinds: dict[str, np.ndarray], ids: Sequence[str]
) -> None:
    """One row a request, in the order they were asked: who went first, both answers, what was made of them, its slices."""
    queries = [request.query for request in traffic.requests]
    found: dict[str, Any] = {
        "request_id": pa.array([q.query_id for q in queries], pa.string()),
        "n_history": pa.array([len(q.history) for q in queries], pa.int32()),
        "n_targets": pa.array([len(q.targets) for q in queries], pa.int32()),
        "text": pa.array([q.title for q in queries], pa.string()),
        "k": pa.array([request.k for request in traffic.requests], pa.int32()),
        "asked_first": pa.array([LABELS[first_asked(number)] for number in range(len(queries))], pa.string()),
    }
    for label, own in zip(LABELS, replies, strict=True):
        found |= {
            f"items_{label}": pa.array([[ids[i] for i in r.items] for r in own], pa.list_(pa.string())),
            f"scores_{label}": pa.array([r.scores.tolist() for r in own], pa.list_(pa.float32())),
            f"latency_ms_{label}": pa.array([r.latency_ms for r in own], pa.float64()),
            f"error_{label}": pa.array([r.error for r in own], pa.string()),
        }
    found |= {name: pa.array(values, pa.float64(), from_pandas=True) for name, values in columns.items()}  # nan: null
    found |= {f"slice_{name}": pa.array(keep) for name, keep in kinds.items() if name != "all"}
    pq.write_table(pa.table(found), path, compression="zstd")


def _on_cuda(options: Options) -> bool:
    if not any(":" in source for source in (options.old, options.new)):
        return False
    from navigator.recommend import pick_device

    return pick_device(options.device).type == "cuda"


def _summary(options: Options, report: ShadowReport, unchanged: bool) -> dict[str, Any]:
    text = f"{compact(report)}\n\n{where(options.out, unchanged)}"
    found = report.verdict
    return {
        "out": str(options.out), "unchanged": unchanged, "verdict": found.verdict,
        "stopped_by": [rule.metric for rule in found.rules if rule.stops], "measured": report.measured, "text": text,
        "exit_code": int(found.verdict != "pass"),
    }  # fmt: skip
