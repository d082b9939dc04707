"""`navigator-bench product`: read the log, sum by user, put intervals around it, write.

report.json, report.md   figures by version
daily.parquet            users and events by version and day
rejects.parquet          every refused row, by number and reason
"""

from typing import Any

import pyarrow.parquet as pq

from bench.documents import DOCUMENTS, where, write_documents
from bench.product.events import log_digest, open_log
from bench.product.figures import SCHEMA_VERSION, ProductReport
from bench.product.options import Options
from bench.product.summary import sample_ratio, version_rows
from bench.product.tables import product_markdown, product_text, protocol
from bench.provenance import came_about
from navigator.contracts import UserError, is_current, publish

KIND = "product-report"


def measure_product(options: Options) -> dict[str, Any]:
    """Write the report, or find it current.

    Raises:
        UserError: see bench.product.command.
    """
    inputs = {"events": log_digest(options.events)}
    config = options.config() | {"schema_version": SCHEMA_VERSION}
    if is_current(options.out, KIND, config, inputs):
        return _answer(options, ProductReport.model_validate_json((options.out / "report.json").read_text()), True)
    with open_log(options.events, options.columns) as log:
        inputs = {"events": log.digest or inputs["events"]}
        rows, used, first, last = log.span()
        refused = log.refused()
        if first is None or last is None:
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in refused.items()) or "it is empty"
            raise UserError(f"{options.events}: none of its {rows:,} rows can be used ({reasons})")
        sums = log.sums()
        baseline = log.oldest() if options.baseline is None else options.baseline
        if baseline not in sums.versions:
            raise UserError(f"baseline {baseline!r} is not in the log; its versions are {', '.join(sums.versions)}")
        report = ProductReport(
            baseline=baseline, rows=rows, used=used, refused=refused, first_at=first, last_at=last, users=sums.n_users,
            resampled_units=len(sums.values), sample_ratio=sample_ratio(sums, options.split),
            versions_of_system=version_rows(sums, baseline, log.unseen_saves(), options.seed),
            **came_about(options.seed, options.command_line(), config, inputs, protocol(options.seed)),
        )  # fmt: skip
        with publish(options.out, KIND, config, inputs, options.seed) as work:
            pq.write_table(log.daily(), work.path / "daily.parquet")
            pq.write_table(log.rejects(), work.path / "rejects.parquet")
            write_documents(
                work.path, report, product_markdown(report, [*DOCUMENTS, "daily.parquet", "rejects.parquet"])
            )
            work.metrics = _means(report)
    return _answer(options, report, False)


def _means(report: ProductReport) -> dict[str, dict[str, float | None]]:
    return {
        name: {m: None if f is None else f.mean for m, f in row.figures.items()}
        for name, row in report.versions_of_system.items()
    }


def _answer(options: Options, report: ProductReport, unchanged: bool) -> dict[str, Any]:
    text = f"{product_text(report)}\n\n{where(options.out, unchanged)}"
    return {
        "out": str(options.out), "unchanged": unchanged, "rows": report.rows, "used": report.used,
        "refused": report.refused, "figures": _means(report), "sample_ratio": report.sample_ratio.model_dump(),
        "exit_code": int(report.sample_ratio.mismatch), "text": text,
    }  # fmt: skip
