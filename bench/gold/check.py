"""`navigator-bench gold check`: read what annotators handed in, measure their agreement, settle, freeze.

report.json, report.md   agreement, counts, the rule, worst disagreements
rejects.parquet          every refused row, by name
missing.parquet          every pair without a grade, and whose it was
disagreements.png        the worst disagreements as pictures
for-third/third.csv      what a third person must decide, and the same as third.html
"""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.documents import write_documents
from bench.gold.agreement import agreement
from bench.gold.annotate import Shown, write_annotator
from bench.gold.check_tables import check_markdown, check_protocol, check_text
from bench.gold.figures import SCHEMA_VERSION, Agreement, CheckReport, Disagreement, Handed
from bench.gold.frozen import freeze, task_rows
from bench.gold.make import KIND as TASK
from bench.gold.make import read_things
from bench.gold.options import CheckOptions
from bench.gold.read import BadRow, Graded, read_grades
from bench.gold.scale import HIGHEST, LOWEST
from bench.gold.settle import MISSING, OPEN, Settled, settle, worst
from bench.provenance import came_about
from navigator.contracts import UserError, publish, read_manifest
from navigator.contracts.manifest import file_digest
from navigator.sheet import SheetRow, contact_sheet

KIND = "gold-check"
Pairs = dict[str, dict[str, Any]]


def check_grades(options: CheckOptions) -> dict[str, Any]:
    """Write the report and, where asked and possible, freeze.

    Raises:
        UserError: see bench.gold.command.
    """
    task = read_manifest(options.task, TASK, "navigator-bench gold make ...")
    pairs: Pairs = {row["pair"]: row for row in pq.read_table(options.task / "pairs.parquet").to_pylist()}
    files = {name: Path(file) for name, file in options.grades.items()}
    handed = {name: read_grades(name, file, _theirs(name, pairs, task.config), pairs) for name, file in files.items()}
    settled = _settled(pairs, handed, {}, options.tolerance)
    third = None
    if options.third is not None:
        third = read_grades("third", options.third, [p for p, own in settled.items() if own.how == OPEN], pairs)
        settled = _settled(pairs, handed, third.grades, options.tolerance)
    inputs = {"task": task.fingerprint} | {f"grades {name}": file_digest(file)[:16] for name, file in files.items()}
    inputs |= {"third": file_digest(options.third)[:16]} if options.third else {}
    config = options.config() | {"schema_version": SCHEMA_VERSION}
    blocked = _blocked(settled, options)
    fingerprint = None
    if options.freeze is not None and not blocked:
        fingerprint = freeze(options.freeze, options.task, list(pairs.values()), settled, config, inputs)
    report = _report(options, task.fingerprint, pairs, handed, third, settled, fingerprint, config, inputs)
    with publish(options.out, KIND, config, inputs, options.seed) as work:
        _write(work.path, options, report, pairs, [*handed.values(), *([third] if third else [])], handed, settled)
    text = check_text(report, options.out, options.freeze, blocked)
    stopped = options.freeze is not None and blocked is not None
    return {
        "out": str(options.out), "fingerprint": fingerprint, "open": report.open, "missing": report.missing,
        "settled": report.settled, "agreement": [own.model_dump() for own in report.agreement], "blocked": blocked,
        "exit_code": int(stopped), "text": text,
    }  # fmt: skip


def _settled(
    pairs: Pairs, handed: Mapping[str, Graded], third: Mapping[str, int], tolerance: int
) -> dict[str, Settled]:
    """The rule, pair by pair."""
    given = {pair: {name: own.grades[pair] for name, own in handed.items() if pair in own.grades} for pair in pairs}
    return {pair: settle(own, third.get(pair), tolerance) for pair, own in given.items()}


def _theirs(name: str, pairs: Pairs, config: dict[str, Any]) -> list[str]:
    if name not in config["annotators"]:
        raise UserError(f"no annotator {name!r} in this task; it was made for {', '.join(config['annotators'])}")
    return [pair for pair, row in pairs.items() if name in row["annotators"]]


def _blocked(settled: Mapping[str, Settled], options: CheckOptions) -> str | None:
    """Why the set cannot be frozen; None where it can."""
    counts = _hows(settled)
    if counts.get(OPEN):
        return (
            f"{counts[OPEN]:,} pairs differ by more than {options.tolerance}: have {options.out / 'for-third' / 'third.csv'} "
            "(or the page beside it) graded and give it with --third"
        )
    if counts.get(MISSING, 0) == len(settled):
        return "no pair has a grade"
    if counts.get(MISSING) and not options.allow_missing:
        return f"{counts[MISSING]:,} pairs have no grade: have them graded, or say --allow_missing true"
    return None


def _report(
    options: CheckOptions, task: str, pairs: Pairs, handed: Mapping[str, Graded], third: Graded | None,
    settled: Mapping[str, Settled], fingerprint: str | None, config: dict[str, Any], inputs: dict[str, str],
) -> CheckReport:  # fmt: skip
    counts = _hows(settled)
    bad = [
        Disagreement(
            pair=pair, query_id=pairs[pair]["query_id"], item_id=pairs[pair]["item_id"], grades=settled[pair].given,
            settled=settled[pair].grade, how=settled[pair].how,
        )
        for pair in worst(settled, options.worst)
    ]  # fmt: skip
    return CheckReport(
        simulated=options.simulated, task=task, pairs=len(pairs),
        annotators={name: _handed(own) for name, own in handed.items()}, third=None if third is None else _handed(third),
        agreement=_agreements(handed, pairs, options.seed), settled=counts, open=counts.get(OPEN, 0),
        missing=counts.get(MISSING, 0), worst=bad, fingerprint=fingerprint,
        **came_about(options.seed, options.command_line(), config, inputs, check_protocol(options.tolerance, options.seed)),
    )  # fmt: skip


def _agreements(handed: Mapping[str, Graded], pairs: Pairs, seed: int) -> list[Agreement]:
    """Every two annotators that have a pair in common."""
    found = []
    for a, b in combinations(handed, 2):
        both = [pair for pair in handed[a].grades if pair in handed[b].grades]
        if both:
            first, second = (np.array([handed[name].grades[pair] for pair in both]) for name in (a, b))
            found.append(agreement((a, b), first, second, np.array([pairs[p]["query_id"] for p in both]), seed))
    return found


def _handed(own: Graded) -> Handed:
    given = list(own.grades.values())
    return Handed(
        given=len(given) + len(own.missing), rows=own.rows, graded=len(given), missing=len(own.missing), bad=own.reasons(),
        grades=[given.count(grade) for grade in range(LOWEST, HIGHEST + 1)],
    )  # fmt: skip


def _hows(settled: Mapping[str, Settled]) -> dict[str, int]:
    hows = [own.how for own in settled.values()]
    return {how: hows.count(how) for how in dict.fromkeys(hows)}


def _write(
    folder: Path, options: CheckOptions, report: CheckReport, pairs: Pairs, files: list[Graded],
    handed: Mapping[str, Graded], settled: Mapping[str, Settled],
) -> None:  # fmt: skip
    things = read_things(options.task / "things.parquet")
    queries = {row["query_id"]: row for row in task_rows(options.task)}
    bad = pa.schema([(name, pa.int64() if name == "row" else pa.string()) for name in BadRow.__dataclass_fields__])
    pq.write_table(
        pa.Table.from_pylist([asdict(row) for own in files for row in own.bad], bad), folder / "rejects.parquet"
    )
    missing = [{"annotator": name, "pair": pair} for name, own in handed.items() for pair in own.missing]
    schema = pa.schema([("annotator", pa.string()), ("pair", pa.string())])
    pq.write_table(pa.Table.from_pylist(missing, schema), folder / "missing.parquet")
    rows = []
    for own in report.worst:
        query = queries[own.query_id]
        shown = [own.item_id, *query["history"][-9:]]
        says = ", ".join(f"{name} {grade}" for name, grade in own.grades.items())
        titles = [things.titles.get(item) or item for item in shown]
        rows.append(
            SheetRow(f"{query['title'] or own.query_id}: {says}", [things.pictures.get(i) for i in shown], titles)
        )
    if rows:
        contact_sheet(rows, folder / "disagreements.png")
    undecided: dict[str, list[tuple[str, str]]] = {}
    for pair, own in settled.items():
        if own.how == OPEN:
            undecided.setdefault(pairs[pair]["query_id"], []).append((pair, pairs[pair]["item_id"]))
    if undecided:
        show = read_manifest(options.task, TASK, "").config["show"]
        asked = [
            Shown(queries[q]["kind"], queries[q]["title"], queries[q]["history"][-show:] if show else [], own)
            for q, own in undecided.items()
        ]
        write_annotator(folder / "for-third", "third", f"{report.task}:third", asked, things)
    write_documents(folder, report, check_markdown(report, bool(rows)))
