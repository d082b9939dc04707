"""From options to a published report: encode, ask, time, draw, write."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.documents import DOCUMENTS, where, write_documents
from bench.encoder.entrants import TITLES, Entrant
from bench.encoder.figures import EncoderReport, EncoderRow, Throughput
from bench.encoder.measure import Contender, answer
from bench.encoder.options import Inputs, Options, open_inputs
from bench.encoder.protocol import protocol
from bench.encoder.questions import Questions, asks_boards, hold_out, readable, with_boards
from bench.encoder.seeds import mean_over_runs, recipes
from bench.encoder.store import BOARDS, PICTURE, open_store
from bench.encoder.summary import Answers, measures, shrunk, write_per_query
from bench.encoder.tables import compact_table, markdown
from bench.encoder.throughput import measure_throughput
from bench.provenance import came_about
from encoders.fusion import PARTS
from navigator.contracts import UserError, is_current, publish

KIND = "encoder-report"
_PARTS = "parts"  # inside the work folder, gone when the report is whole


def compare_encoders(options: Options) -> dict[str, Any]:
    """Write the report, or find it current.

    Raises:
        UserError: see bench.encoder.command.
    """
    inputs = open_inputs(options)
    config = options.config(inputs.fraction)
    if is_current(options.out, KIND, config, inputs.fingerprints):
        report = EncoderReport.model_validate_json((options.out / "report.json").read_text())
        return _answer(options.out, report, unchanged=True)
    with publish(options.out, KIND, config, inputs.fingerprints, options.seed) as work:
        questions, contenders = _encode(options, inputs, work.path / _PARTS)
        answers: Answers = {}
        for contender in contenders:
            if contender.name.endswith(TITLES):  # the control differs in whole items alone
                answers[contender.name] = answer(contender, questions, [], ["both"])
            else:
                answers[contender.name] = answer(contender, questions, options.prefixes)
        if not next(iter(answers.values())):
            raise UserError(
                f"nothing to ask: none of the {questions.counts.asked} held-out items has both text and a readable "
                "picture; give a --graph with held-out saves, a --label or a larger --holdout"
            )
        drawn = _draw(options, inputs, questions, contenders, work.path)
        timed = _time(options, inputs)
        report = _report(options, inputs, questions, contenders, answers, timed)
        write_per_query(work.path / "per_query.parquet", answers, questions)
        write_documents(work.path, report, markdown(report, [*DOCUMENTS, "per_query.parquet"], drawn))
        work.metrics = main_figures(report)
        shutil.rmtree(work.path / _PARTS)
    return _answer(options.out, report, unchanged=False)


def main_figures(report: EncoderReport) -> dict[str, dict[str, float]]:
    """Encoder -> "task scope metric" -> mean over all queries, of whole items (text-item: of pictures)."""
    found: dict[str, dict[str, float]] = {name: {} for name in report.encoders}
    for m in report.measures:
        if m.targets == "all" and m.modality == ("picture" if m.task == "text-item" else "both"):
            for metric, figure in m.figures.items():
                found[m.encoder][f"{m.task} {m.scope} {metric}"] = figure.mean
    return found


def _encode(options: Options, inputs: Inputs, folder: Path) -> tuple[Questions, list[Contender]]:
    """What is asked, and every row of the report with its part vectors."""
    questions = hold_out(inputs.catalog, inputs.fraction, options.label)
    if options.graph is not None and inputs.sequences is not None and asks_boards(inputs.sequences):
        questions = with_boards(questions, inputs.catalog, options.graph, inputs.sequences)
    contenders = []
    for number, entrant in enumerate(inputs.entrants):
        titles = questions.titles if entrant.gate or number == 0 else None
        store = open_store(
            inputs.catalog, lambda e=entrant: e.open(inputs.device, inputs.dtype), folder / entrant.name, titles,
            options.batch_size, entrant.name,
        )  # fmt: skip
        gated = titles is not None and entrant.gate is not None
        own = Contender(entrant.name, store, entrant.gate, options.picture_weight, gated)
        contenders.append(own)
        if titles is not None and entrant.gate is None:
            contenders.append(replace(own, name=entrant.name + TITLES, titles=True))
    return readable(questions, contenders[0].store.has[:, PICTURE]), contenders


def _draw(
    options: Options, inputs: Inputs, questions: Questions, contenders: list[Contender], folder: Path
) -> list[str]:
    """map.png and neighbours.png of the first and the last encoder; the names of those that were drawn."""
    if not options.map_items and not options.sheet_items:
        return []
    from bench.encoder.pictures import draw_items, draw_map, draw_sheet, look

    named = {c.name: c for c in contenders}
    ends = list(dict.fromkeys([inputs.entrants[0].name, inputs.entrants[-1].name]))
    mapped, asking = draw_items(questions, options.map_items, options.sheet_items, options.seed)
    readable_pictures = contenders[0].store.has[:, PICTURE]
    seen = [look(named[name], mapped, asking) for name in ends]
    written = {
        "map.png": draw_map(folder / "map.png", seen, mapped, questions, options.seed),
        "neighbours.png": draw_sheet(folder / "neighbours.png", inputs.catalog, seen, asking, readable_pictures),
    }
    return [name for name, there in written.items() if there]


def _time(options: Options, inputs: Inputs) -> dict[str, Throughput]:
    if not options.throughput:
        return {}
    last = inputs.entrants[-1]
    return {
        last.name: measure_throughput(
            inputs.catalog, last.resolved, options.throughput, options.batch_size, inputs.device, inputs.dtype
        )
    }


def _report(
    options: Options, inputs: Inputs, questions: Questions, contenders: list[Contender], answers: Answers,
    timed: dict[str, Throughput],
) -> EncoderReport:  # fmt: skip
    config, together = options.config(inputs.fraction), mean_over_runs(answers)
    runs = recipes(answers)
    named = {c.name: c for c in contenders}
    return EncoderReport(
        n_items=len(questions.ids), held_out=questions.counts,
        encoders={name: _row(named[own[0]], inputs.entrants, len(own)) for name, own in runs.items()},
        measures=measures(together, answers, questions, options.seed), shrunk=shrunk(together, questions, options.seed),
        throughput=timed,
        **came_about(
            options.seed, options.command_line(), config, inputs.fingerprints, protocol(config, bool(questions.boards)),
            str(inputs.dtype).removeprefix("torch."), inputs.device.type == "cuda",
        ),
    )  # fmt: skip


def _row(contender: Contender, entrants: list[Entrant], runs: int) -> EncoderRow:
    """The row of a recipe, described by its first run."""
    entrant = next(e for e in entrants if e.name == contender.name.removesuffix(TITLES))
    has = contender.store.has
    parts = [name for p, name in enumerate(PARTS) if has[:, p].any() and (p != BOARDS or contender.titles)]
    return EncoderRow(
        source=entrant.source, fingerprint=entrant.fingerprint, dim=entrant.dim,
        fusion="fixed" if entrant.gate is None else "gate", parts=parts, holdout=entrant.holdout, runs=runs,
    )  # fmt: skip


def _answer(out: Path, report: EncoderReport, unchanged: bool) -> dict[str, Any]:
    text = f"{compact_table(report)}\n\n{where(out, unchanged)}"
    throughput = {name: row.model_dump() for name, row in report.throughput.items()}
    return {
        "out": str(out), "unchanged": unchanged, "held_out": report.held_out.model_dump(),
        "encoders": main_figures(report), "throughput": throughput, "text": text,
    }  # fmt: skip
