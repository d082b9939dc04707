"""The files of a report folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.documents import DOCUMENTS, write_documents
from bench.evaluate import Evaluated, Measured, write_per_query
from bench.inputs import Paths, World
from bench.markdown import markdown
from bench.provenance import command_words
from bench.trec import file_name, write_qrels, write_run
from navigator.contracts.errors import UserError
from navigator.contracts.manifest import write_text
from navigator.contracts.report import BenchReport


def write_report(
    folder: Path,
    report: BenchReport,
    world: World,
    measured: Measured,
    sheets: Sequence[str],
) -> None:
    """Write the documents, raw rows, per-query metrics, TREC files and plots into `folder`."""
    from bench.plots import latency_distribution, quality_against_latency

    write_text(folder / "requests.jsonl", "".join(record.model_dump_json() + "\n" for record in measured.records))
    write_per_query(folder / "quality.parquet", measured.results, world.queries, world.cold)
    files = [*DOCUMENTS, "requests.jsonl", "quality.parquet", *_write_trec(folder, world, measured.results)]
    pictures = {
        "quality_latency.png": quality_against_latency(report, folder / "quality_latency.png"),
        "latency.png": latency_distribution(measured.records, folder / "latency.png"),
    }
    drawn = [name for name, written in pictures.items() if written]
    write_documents(folder, report, markdown(report, files, drawn, sheets))


def sheet_links(sheets: Sequence[Path], out: Path) -> list[str]:
    """Links to contact sheets as seen from the report folder.

    Raises:
        UserError: one does not exist.
    """
    missing = next((sheet for sheet in sheets if not sheet.is_file()), None)
    if missing is not None:
        raise UserError(
            f"contact sheet {missing} does not exist; make it with `navigator recommend` or leave out --sheets"
        )
    return [Path(os.path.relpath(sheet, out)).as_posix() for sheet in sheets]


def command_line(paths: Paths, out: Path, config: dict[str, Any]) -> str:
    """The command that makes this report again."""
    options = {name: value for name, value in config.items() if name not in ("prices", "schema_version")}
    return command_words(["navigator-bench", "run"], vars(paths) | {"out": out} | options)


def _write_trec(folder: Path, world: World, results: dict[str, Evaluated]) -> list[str]:
    """Runs and qrels; a system that was asked a sample of the queries gets qrels of that sample as well."""
    ids = world.catalog.item_ids
    write_qrels(folder / "qrels.trec", world.queries, ids)
    names = ["qrels.trec"]
    for system, result in results.items():
        asked = [world.queries[i] for i in np.asarray(result.chosen)]
        write_run(folder / file_name(system), system, asked, result.indices, ids)
        names.append(file_name(system))
        if len(asked) < len(world.queries):
            names.append(file_name(system).replace("run.", "qrels.", 1))
            write_qrels(folder / names[-1], asked, ids)
    return names
