"""The report of `navigator-bench language` as words."""

from collections.abc import Sequence
from typing import Any

from bench.encoder.figures import Figure
from bench.intervals import RESAMPLES
from bench.language.figures import DESCRIBED, PLAIN, SHUFFLED, LanguageReport
from bench.markdown import aligned, bullets, literal, piped, provenance, stamp
from navigator.prompts import DESCRIBE, DESCRIBE_TOKENS, HELD_OUT_FOR_LANGUAGE

_SETS = {DESCRIBED: "descriptions", SHUFFLED: "with another item", PLAIN: "plain English"}


def compact_table(report: LanguageReport) -> str:
    """Plain text columns for a terminal, with a line that says what was asked, and what the models write."""
    words = [f"{label}: {text}" for label, text in _written(report)]
    return "\n".join([_summary(report), "", *aligned(_table(report)), "", *words]).rstrip()


def markdown(report: LanguageReport, files: Sequence[str]) -> str:
    """report.md; `files` are names of the other files beside it."""
    parts = [
        "# Language before and after", _summary(report), piped(_table(report, intervals=True)),
        bullets("What the models write after an item", [literal(f"{label}: {text}") for label, text in _written(report)]),
        bullets("Models", _sizes(report)), bullets("Protocol", report.protocol),
        bullets("Files", [f"[{name}]({name})" for name in files]), bullets("Provenance", provenance(report)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def protocol(config: dict[str, Any], paragraphs: int) -> list[str]:
    """How the figures came about, for a run with these options."""
    return [
        "Perplexity is the exponential of the total next-token cross-entropy over the total number of tokens asked; bits per "
        "byte is the same total over the UTF-8 bytes that those tokens stand for.",
        f"Descriptions: {HELD_OUT_FOR_LANGUAGE:g} of the items, chosen by a hash of the id alone, take no part in training's "
        "describe task; asked are those of them whose text occurs nowhere among the other items, each text once. The prompt "
        f"is training's: {DESCRIBE!r}, the item, then the first {DESCRIBE_TOKENS} tokens of its text; the end of the text is "
        "not asked for.",
        "With another item: the same texts, each after the vector of another asked item. What the right item saves against "
        "that is what the item tokens say; a model that ignores them saves nothing.",
        f"Plain English: {paragraphs} paragraphs of prose from Python's own language reference (pydoc_data.topics), without "
        "code and lists; a text's first token is asked after the tokenizer's begin, or else end, of text. The backbone has "
        "most likely read them when it was pretrained, and they differ between Python versions (digest under inputs): compare "
        "the models of one report.",
        f"Intervals: 95 % percentile bootstrap over texts, {RESAMPLES:,} resamples, seed {config['seed']}; differences are "
        "paired by text. A post-training that also learned how a catalogue writes lowers the perplexity of descriptions; "
        "whether it kept the language is read from plain English.",
    ]  # fmt: skip


def _table(report: LanguageReport, intervals: bool = False) -> list[tuple[str, ...]]:
    first = next(iter(report.models))
    rows: list[tuple[str, ...]] = [
        ("perplexity", *_SETS.values(), "the item saves, nats/token", f"plain - {first}, nats/token", "plain bits/byte")
    ]
    for name, row in report.models.items():
        cells = [_value(row.sets[which].perplexity, intervals) if which in row.sets else "-" for which in _SETS]
        plain = row.sets[PLAIN]
        versus = _difference(plain.versus_first) if name != first else "-"
        rows.append((name, *cells, _difference(row.item_tells), versus, f"{plain.bits_per_byte.mean:.3f}"))
    return rows


def _written(report: LanguageReport) -> list[tuple[str, str]]:
    return [
        (f"{c.item_id} ({c.text})", "; ".join(f"{name}: {' '.join(text.split())!r}" for name, text in c.written.items()))
        for c in report.continuations
    ]  # fmt: skip


def _sizes(report: LanguageReport) -> list[str]:
    lines = []
    for name, row in report.models.items():
        asked = [
            f"{_SETS[which]} {own.texts:,} texts, {own.tokens:,} tokens, {own.bytes:,} bytes"
            for which, own in row.sets.items()
        ]
        if row.by_run:
            asked += [
                f"{_SETS[which]} perplexity by run {', '.join(f'{value:.2f}' for value in values)}"
                for which, values in row.by_run.items()
            ]
        lines.append(f"{name} ({row.kind}, `{row.source}`, {row.fingerprint}): {'; '.join(asked)}; {row.seconds:.1f} s")
    return lines


def _summary(report: LanguageReport) -> str:
    held, device = report.held_out, report.device
    where = device.accelerator or f"{device.cpu}, {device.cores} cores"
    return (
        f"{held.asked:,} held-out descriptions of {report.n_items:,} items ({held.items:,} held out by id, less "
        f"{held.without_text:,} without text, {held.text_seen:,} whose text other items have, {held.repeated:,} repeated); "
        f"{where}, {device.dtype}; {stamp(report)}."
    )


def _value(figure: Figure, intervals: bool) -> str:
    around = f" ({figure.ci95[0]:.2f}..{figure.ci95[1]:.2f})" if intervals and figure.ci95 else ""
    return f"{figure.mean:.2f}{around}"


def _difference(figure: Figure | None) -> str:
    """A paired difference, such as +0.031 [+0.012, +0.050]; - where there is none."""
    if figure is None:
        return "-"
    return f"{figure.mean:+.3f}" + ("" if figure.ci95 is None else f" [{figure.ci95[0]:+.3f}, {figure.ci95[1]:+.3f}]")
