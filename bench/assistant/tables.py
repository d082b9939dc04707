"""The report of `navigator-bench assistant` as words."""

from collections.abc import Sequence

from bench.assistant.figures import AssistantReport, Refusals, Retrieval, SystemRow
from bench.assistant.options import Options
from bench.assistant.systems import ALL, ASKED_FOR, ASSISTANT, LAST
from bench.encoder.figures import Figure
from bench.intervals import RESAMPLES
from bench.markdown import bullets, columns, literal, piped, provenance, stamp

_WORDS = {
    "seen": "seen before and not wanted again", "keyword": "without the keyword", "board": "not on the board",
    "never": "what the user has and wants others than",
}  # fmt: skip


def assistant_text(report: AssistantReport) -> str:
    """For a terminal."""
    tables = [_quality(report), _refusals(report), _strata(report)]
    return "\n\n".join([_summary(report), *map(columns, tables), "\n".join(_notes(report))])


def assistant_markdown(report: AssistantReport, files: Sequence[str]) -> str:
    """report.md; `files` are names of the other files beside it."""
    parts = [
        "# Assistant: gold set of conversations", _summary(report), "## Retrieval, time and tokens", piped(_quality(report)),
        "## Refusals", piped(_refusals(report)), "## NDCG@10 of all turns by kind of request", piped(_strata(report)),
        bullets("Groundedness, filters, failures", [literal(note) for note in _notes(report)]),
        bullets("Protocol", report.protocol), bullets("Files", [f"[{name}]({name})" for name in files]),
        bullets("Provenance", provenance(report)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def protocol(options: Options) -> list[str]:
    """How the figures came about."""
    back = "its words and its items as content parts" if options.echo == "items" else "its words alone"
    return [
        f"Conversations are replayed over HTTP, one request at a time; of an earlier answer {back} goes back. Some turns have "
        "their answer in the set. After a failed request the rest of its conversation is not asked and counts as failed.",
        f"NDCG@10: {ASKED_FOR} items are asked for; gains 2, 1, 0, linear; items that nobody judged count as wrong, condensed "
        "leaves them out of the list, judged is the share of shown items that were judged. Where seen items are to be left out "
        "they are taken out of the judgements too. A failed request has 0.",
        f"{LAST} asks POST /v1/search with the picture of the last turn, else its item, else its words; {ALL} with the words "
        "of all turns of the user in a row. Both pass the turn's keyword, board and seen items on; neither refuses unless it "
        "finds nothing.",
        "Groundedness is read from the answer's text with the catalogue's titles, whatever the server says of itself: ids, "
        "names set off by quotation marks, bold, code, a link, a number or a list line, and titles of two words and more in "
        "running text. It may name what it shows, what was shown before and what the user gave. Single-word titles in running "
        "text are not looked at, because they are plain words too.",
        "Refused is what the server says of itself. Precision, recall and F1 are over turns that expect items or a refusal.",
        f"Intervals: 95 % percentile bootstrap over conversations, {RESAMPLES:,} resamples, seed {options.seed}. Latency is "
        "that of one client, whole answer, over answered requests.",
        "The set was written and judged by the authors of this bench, from pools of word search, text search with two "
        "encoders, by looking at the pictures; nobody else judged it (bench/assistant/README.md).",
    ]


def _summary(report: AssistantReport) -> str:
    device = report.device
    turns = ", ".join(f"{n} expecting {what}" for what, n in report.turns.items())
    releases = ", ".join(report.systems[ASSISTANT].releases) or "unknown"
    return (
        f"{report.conversations} conversations of split {report.split} ({turns}); release {releases}; client on "
        f"{device.cpu}, {device.cores} cores; {stamp(report)}."
    )


def _quality(report: AssistantReport) -> list[tuple[str, ...]]:
    head = ("system", "last turn NDCG@10", "condensed", "judged", f"minus {LAST}", "all turns NDCG@10", "condensed",
            f"minus {LAST}", "failed", "P50 ms", "P95 ms", "tokens in", "tokens out")  # fmt: skip
    return [head, *(_quality_row(name, own) for name, own in report.systems.items())]


def _quality_row(name: str, own: SystemRow) -> tuple[str, ...]:
    times, tokens = own.latency_ms or {}, own.tokens or {}
    return (
        name, _value(own.last.ndcg), _value(own.last.condensed), _value(own.last.judged, around=False),
        _value(own.last.minus_search, "+"), _value(own.all_turns.ndcg), _value(own.all_turns.condensed),
        _value(own.all_turns.minus_search, "+"), f"{own.failed} of {own.requests}", _number(times.get("p50")),
        _number(times.get("p95")), _number(tokens.get("prompt")), _number(tokens.get("completion")),
    )  # fmt: skip


def _refusals(report: AssistantReport) -> list[tuple[str, ...]]:
    head = ("system", "requests", "right", "wrong", "missed", "precision", "recall", "F1")
    lines: list[tuple[str, ...]] = [head]
    for name, own in report.systems.items():
        lines.append(_refusal_row(name, "all", own.refusals))
        lines += [_refusal_row(name, stratum, row) for stratum, row in own.refusals_by_stratum.items()]
    return lines


def _refusal_row(name: str, which: str, own: Refusals) -> tuple[str, ...]:
    counts = (f"{own.hits}", f"{own.wrong}", f"{own.missed}")
    return (name, which, *counts, _value(own.precision), _value(own.recall), _value(own.f1))


def _strata(report: AssistantReport) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = [("requests", "turns", *report.systems)]
    for stratum in report.strata:
        rows: list[Retrieval] = [own.strata[stratum] for own in report.systems.values()]
        lines.append((stratum, f"{rows[0].turns}", *(_value(row.ndcg) for row in rows)))
    return lines


def _notes(report: AssistantReport) -> list[str]:
    notes = []
    for name, own in report.systems.items():
        said = own.groundedness
        if said is not None:
            notes.append(
                f"{name}, grounded: {_value(said.grounded)} of {said.answers} answers, {said.naming} of which name an item; "
                f"names of other items {said.elsewhere}, invented {said.invented}; the server's flag says the same in "
                f"{_value(said.flag_agrees)}, and calls {said.flag_too_kind} grounded that are not"
            )
        if name == ASSISTANT:
            notes.append(
                f"{name}, small talk: {own.talk_with_items} of {own.talk} turns answered with items, {own.talk_refused} refused"
            )
        broken = "; ".join(f"{_WORDS[v]}: {n} in {own.asked[v]} turns" for v, n in own.broken.items() if own.asked[v])
        notes.append(f"{name}, shown against the request: {broken or 'no turn sets a filter'}")
        if own.waits:
            notes.append(f"{name}: {own.waits} times the server's rate limit was waited for, as its Retry-After says")
        notes += [f"{name}, {n} failed: {error}" for error, n in own.errors.items()]
        if own.all_turns.without:
            notes.append(f"{name}: {own.all_turns.without} turns have nothing left to find and are in no NDCG")
    return notes


def _value(figure: Figure | None, sign: str = "", around: bool = True) -> str:
    if figure is None:
        return "-"
    interval = f" ({figure.ci95[0]:{sign}.3f}..{figure.ci95[1]:{sign}.3f})" if around and figure.ci95 else ""
    return f"{figure.mean:{sign}.3f}{interval}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
