"""`navigator-bench cost`: read what was measured, add what is assumed, calculate, draw, write."""

from pathlib import Path
from typing import Any

from bench.documents import DOCUMENTS, where, write_documents
from bench.economics.figures import SCHEMA_VERSION, CostReport
from bench.economics.inputs import Inputs, open_inputs
from bench.economics.options import Options
from bench.economics.plots import break_even_curves, stacked_costs, tornado
from bench.economics.summary import NATIVE, OURS, curves, input_rows, makers, rival_row, system_row
from bench.economics.tables import compact_tables, markdown, protocol
from bench.economics.verdict import verdict
from bench.provenance import came_about
from navigator.contracts import is_current, publish

KIND = "cost-report"
SEED = 0  # nothing is drawn


def compare_costs(options: Options) -> dict[str, Any]:
    """Write the report, or find it current.

    Raises:
        UserError: see bench.economics.command.
    """
    inputs = open_inputs(options)
    table = {name: row.model_dump() for name, row in input_rows(inputs).items()}
    config = options.config() | {"inputs_table": table, "schema_version": SCHEMA_VERSION}
    if is_current(options.out, KIND, config, inputs.fingerprints):
        report = CostReport.model_validate_json((options.out / "report.json").read_text())
        return _answer(options, report, unchanged=True)
    report = _report(options, inputs)
    with publish(options.out, KIND, config, inputs.fingerprints, SEED) as work:
        pictures = _draw(work.path, report)
        write_documents(work.path, report, markdown(report, [*DOCUMENTS], pictures))
        work.metrics = _totals(report)
    return _answer(options, report, unchanged=False)


def _report(options: Options, inputs: Inputs) -> CostReport:
    called, made = {OURS: options.ours, NATIVE: options.native}, makers(inputs)
    systems = {called.get(name, name): system_row(inputs, name, maker) for name, maker in made.items()}
    named = {called.get(name, name): maker for name, maker in made.items()}
    rivals = {
        name: rival_row(inputs, made[OURS], maker, options.capacity)
        for name, maker in named.items()
        if name != options.ours
    }
    demand = inputs.scene.known("requests_per_day")
    return CostReport(
        verdict=verdict(options.ours, options.capacity, demand, systems, rivals, inputs.missing),
        capacity=options.capacity, ours=options.ours, requests_a_day=demand, inputs_table=input_rows(inputs),
        systems=systems, rivals=rivals, curves=curves(inputs, named, rivals, options.capacity),
        caveats=inputs.caveats, missing=inputs.missing,
        **came_about(SEED, options.command_line(), options.config(), inputs.fingerprints, protocol(inputs)),
    )  # fmt: skip


def _draw(folder: Path, report: CostReport) -> list[str]:
    """Names of the pictures written; one that would be empty is not."""
    pictures = {"costs.png": stacked_costs, "break-even.png": break_even_curves}
    drawn = [name for name, draw in pictures.items() if draw(report, folder / name)]
    tornados = {f"sensitivity-{name.rpartition(':')[2]}.png": name for name in report.rivals}
    return drawn + [name for name, rival in tornados.items() if tornado(report, rival, folder / name)]


def _totals(report: CostReport) -> dict[str, dict[str, float | None]]:
    return {
        name: {capacity: cost.total_usd_per_1000 for capacity, cost in row.cost.items()}
        for name, row in report.systems.items()
    }


def _answer(options: Options, report: CostReport, unchanged: bool) -> dict[str, Any]:
    text = f"{compact_tables(report)}\n\n{where(options.out, unchanged)}"
    return {
        "out": str(options.out), "unchanged": unchanged, "verdict": report.verdict, "usd_per_1000": _totals(report),
        "break_even": {name: row.model_dump()["break_even"] for name, row in report.rivals.items()},
        "missing": report.missing, "text": text,
    }  # fmt: skip
