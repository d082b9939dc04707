"""`navigator-bench load`: bring the target up, run the steps, derive the figures, write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.documents import DOCUMENTS, where, write_documents
from bench.inputs import fingerprint_of
from bench.load.figures import SCHEMA_VERSION, LoadReport
from bench.load.options import Options
from bench.load.plots import draw
from bench.load.rows import count_outcomes, write_rows
from bench.load.steps import WARM_UP, Step, ok_per_second, run_steps
from bench.load.summary import checks, phase_rows, recovery_s, server_count
from bench.load.tables import compact_tables, markdown, protocol
from bench.load.target import up
from bench.provenance import came_about
from navigator.contracts import Catalog
from navigator.contracts.manifest import file_digest, is_current, publish

KIND = "load-report"


def measure_load(options: Options) -> dict[str, Any]:
    """Write the report, or find it current.

    Raises:
        UserError: see bench.load.command.
    """
    config, inputs = options.config() | {"schema_version": SCHEMA_VERSION}, _inputs(options)
    if is_current(options.out, KIND, config, inputs):
        return _answer(options, LoadReport.model_validate_json((options.out / "report.json").read_text()), True)
    with publish(options.out, KIND, config, inputs, options.seed) as work:
        finished = work.path / "steps"
        finished.mkdir(exist_ok=True)
        with up(options) as loaded:
            steps = run_steps(options, loaded, finished)
        report = _report(options, steps, config, inputs)
        write_rows(work.path / "requests.parquet", [row for step in steps for row in step.rows], "")
        pictures = draw(report, steps, work.path)
        write_documents(work.path, report, markdown(report, [*DOCUMENTS, "requests.parquet"], pictures))
        work.metrics = {name: check.value for name, check in report.checks.items()}
        _remove(finished)
    return _answer(options, report, False)


def _inputs(options: Options) -> dict[str, str]:
    """Fingerprints of what is served and sent."""
    folders = {name: getattr(options, name) for name in ("model", "vectors")}
    found = {name: fingerprint_of(name, path) for name, path in folders.items() if path is not None}
    if options.catalog is not None:
        found["catalog"] = Catalog.open(options.catalog).fingerprint
    if options.bodies is not None and options.bodies.is_file():
        found["bodies"] = file_digest(options.bodies)[:16]
    return found


def _report(options: Options, steps: Sequence[Step], config: dict[str, Any], inputs: dict[str, str]) -> LoadReport:
    swept = [step for step in steps if step.clients and step.name != WARM_UP]
    best = max(swept, key=ok_per_second)
    saturation = options.saturation or ok_per_second(best)
    phases = [row for step in steps for row in phase_rows(step, options, saturation)]
    grown = ok_per_second(swept[-1]) / ok_per_second(swept[-2]) - 1 if len(swept) > 1 else None
    return LoadReport(
        target=_target(options), saturation_rps=saturation,
        saturation_from="given" if options.saturation else best.name, still_growing=grown,
        recovery_s=recovery_s(steps), n_scheduled=sum(step.scheduled for step in steps),
        n_rows=sum(len(step.rows) for step in steps), outcomes=count_outcomes([r for s in steps for r in s.rows]),
        checks=checks(phases, steps, options), phases=phases,
        server={step.name: count for step in steps if (count := server_count(step)) is not None},
        **came_about(options.seed, options.command_line(), config, inputs, protocol(options)),
    )  # fmt: skip


def _target(options: Options) -> str:
    if options.url is not None:
        return options.url
    sleeps = f" of {options.work_ms:g} ms, spread {options.spread:g}" if options.system == "sleep" else ""
    return f"system {options.system}{sleeps}, {options.workers} workers, {options.waiting} may wait"


def _remove(folder: Path) -> None:
    """The steps are in requests.parquet now."""
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _answer(options: Options, report: LoadReport, unchanged: bool) -> dict[str, Any]:
    text = f"{compact_tables(report)}\n\n{where(options.out, unchanged)}"
    return {
        "out": str(options.out), "unchanged": unchanged, "saturation_rps": report.saturation_rps,
        "recovery_s": report.recovery_s, "checks": {name: check.model_dump() for name, check in report.checks.items()},
        "phases": [row.model_dump() for row in report.phases], "text": text,
    }  # fmt: skip
