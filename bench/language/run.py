"""From options to a published report: load a model, score it, let it write, take the next; then figures and words."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from transformers import AutoTokenizer

from bench.documents import DOCUMENTS, where, write_documents
from bench.language.command import STOCK
from bench.language.figures import DESCRIBED, PLAIN, SHUFFLED, Continuation, LanguageReport
from bench.language.options import Inputs, Options, open_inputs
from bench.language.summary import Measured, model_rows
from bench.language.tables import compact_table, markdown, protocol
from bench.provenance import came_about
from navigator.contracts import is_current, publish
from navigator.encode_commands import resolve_backbone
from navigator.perplexity import continue_item, score_descriptions, score_plain
from navigator.recommend import Recommender
from navigator.swap import load_stock

KIND = "language-report"


def compare_language(options: Options) -> dict[str, Any]:
    """Write the report, or find it current.

    Raises:
        UserError: see bench.language.command.
    """
    inputs = open_inputs(options)
    config = options.config()
    if is_current(options.out, KIND, config, inputs.fingerprints):
        report = LanguageReport.model_validate_json((options.out / "report.json").read_text())
        return _answer(options.out, report, unchanged=True)
    with publish(options.out, KIND, config, inputs.fingerprints, options.seed) as work:
        stock = {} if options.backbone is None else {STOCK: _measure_stock(options, inputs)}
        measured = {name: _measure(name, options, inputs) for name in options.models} | stock
        report = _report(options, inputs, measured)
        _write_per_text(work.path / "per_text.parquet", measured, inputs)
        write_documents(work.path, report, markdown(report, [*DOCUMENTS, "per_text.parquet"]))
        work.metrics = main_figures(report)
    return _answer(options.out, report, unchanged=False)


def main_figures(report: LanguageReport) -> dict[str, dict[str, float]]:
    """Model -> "set perplexity" and "set bits_per_byte" -> figure."""
    return {
        name: {
            f"{which} {metric}": getattr(row.sets[which], metric).mean
            for which in row.sets
            for metric in ("perplexity", "bits_per_byte")
        }
        for name, row in report.models.items()
    }


def _measure(name: str, options: Options, inputs: Inputs) -> Measured:
    """Scores and continuations of a swapped model, which is gone from memory afterwards."""
    source, asked, size = options.models[name], inputs.descriptions, options.batch_size
    dtype = str(inputs.dtype).removeprefix("torch.")
    recommender = Recommender.open(source, options.vectors, str(inputs.device), dtype)
    started = time.perf_counter()
    scores = {
        DESCRIBED: score_descriptions(recommender, asked.texts, asked.ids, size, f"{name}: {DESCRIBED}"),
        SHUFFLED: score_descriptions(recommender, asked.texts, asked.others, size, f"{name}: {SHUFFLED}"),
        PLAIN: score_plain(
            recommender.model, recommender.processor.tokenizer, inputs.paragraphs, size, f"{name}: {PLAIN}"
        ),
    }
    written = {item: continue_item(recommender, item) for item in asked.ids[: options.samples]}
    fingerprint = inputs.fingerprints[f"model {name}"]
    return Measured(source, fingerprint, "swapped", scores, time.perf_counter() - started, written)


def _measure_stock(options: Options, inputs: Inputs) -> Measured:
    source = resolve_backbone(str(options.backbone))
    model = load_stock(source, inputs.dtype).to(inputs.device).eval()
    tokenizer = AutoTokenizer.from_pretrained(source)
    started = time.perf_counter()
    scores = {PLAIN: score_plain(model, tokenizer, inputs.paragraphs, options.batch_size, f"{STOCK}: {PLAIN}")}
    return Measured(
        str(options.backbone), inputs.fingerprints[STOCK], "stock", scores, time.perf_counter() - started
    )  # fmt: skip


def _report(options: Options, inputs: Inputs, measured: dict[str, Measured]) -> LanguageReport:
    asked, config = inputs.descriptions, options.config()
    written = {name: own.written for name, own in measured.items() if own.written}
    continuations = [
        Continuation(item_id=item, text=text, written={name: own[item] for name, own in written.items()})
        for item, text in list(zip(asked.ids, asked.texts, strict=True))[: options.samples]
    ]
    return LanguageReport(
        n_items=inputs.n_items, held_out=asked.counts, models=model_rows(measured, options.seed),
        continuations=continuations,
        **came_about(
            options.seed, options.command_line(), config, inputs.fingerprints, protocol(config, len(inputs.paragraphs)),
            str(inputs.dtype).removeprefix("torch."), inputs.device.type == "cuda",
        ),
    )  # fmt: skip


def _write_per_text(path: Path, measured: dict[str, Measured], inputs: Inputs) -> None:
    """per_text.parquet: model, set, text (an item id, or the paragraph itself), nats, tokens, bytes."""
    tables = []
    for name, own in measured.items():
        for which, scores in own.scores.items():
            texts = inputs.paragraphs if which == PLAIN else inputs.descriptions.ids
            named = {"model": [name] * len(texts), "set": [which] * len(texts), "text": texts}
            tables.append(pa.table(named | {column: np.asarray(v) for column, v in vars(scores).items()}))
    pq.write_table(pa.concat_tables(tables), path, compression="zstd")


def _answer(out: Path, report: LanguageReport, unchanged: bool) -> dict[str, Any]:
    text = f"{compact_table(report)}\n\n{where(out, unchanged)}"
    return {
        "out": str(out), "unchanged": unchanged, "held_out": report.held_out.model_dump(), "models": main_figures(report),
        "text": text,
    }  # fmt: skip
