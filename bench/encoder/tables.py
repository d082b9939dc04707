"""The report as words: one compact table for the terminal, all of it in report.md."""

from collections.abc import Sequence

from bench.encoder.figures import EncoderReport, Figure, Measure
from bench.markdown import aligned, bullets, piped, provenance, stamp

_WHAT = {
    "text-item": "text -> item", "board-item": "board -> item", "item-mates": "item -> board-mates", "purity": "kNN",
}  # fmt: skip
_WHERE = {
    "held-out": "among held-out", "catalogue": "in catalogue", "seen": "owners seen", "unseen": "owners never seen",
}  # fmt: skip
_COMPACT = {
    ("text-item", "picture"): ("r@1", "r@10"), ("board-item", "both"): ("ndcg@10",),
    ("item-mates", "both"): ("recall@10",), ("purity", "both"): ("purity@10",),
}  # fmt: skip
_SPLIT_BY_TARGET = "item-mates"


def compact_table(report: EncoderReport) -> str:
    """A line a figure, a column an encoder; others than the first with the paired difference and its interval."""
    names = list(report.encoders)
    rows = [("", "queries", *names)]
    for (task, modality), metrics in _COMPACT.items():
        for metric in metrics:
            rows += [
                _line(report, lead, metric)
                for lead in report.measures
                if (lead.task, lead.modality, lead.encoder) == (task, modality, names[0])
                and (lead.targets == "all" or task == _SPLIT_BY_TARGET)
            ]
    return "\n".join([summary(report), "", *aligned(rows), *_kept(report), *_speed(report)])


def summary(report: EncoderReport) -> str:
    """What was asked, in a sentence."""
    held, device = report.held_out, report.device
    where = device.accelerator or f"{device.cpu}, {device.cores} cores"
    return (
        f"{len(report.encoders)} encoders on {report.n_items:,} items; {held.fraction:g} of them held out by id: "
        f"{held.items:,}, less {held.picture_seen:,} whose picture and {held.text_seen:,} whose text occurs among the "
        f"others, {held.asked:,} asked; {where}; {stamp(report)}."
    )


def markdown(report: EncoderReport, files: Sequence[str], pictures: Sequence[str]) -> str:
    """report.md.

    Args:
        report: the figures.
        files: names of the other files beside report.md; `pictures` are shown.
    """
    table = piped([("", "queries", *report.encoders), *_all_lines(report)])
    parts = [
        "# Encoders side by side", summary(report), _encoders(report),
        "## Figures\n\nMeans with 95 % intervals; in square brackets the interval of the paired difference to "
        f"{next(iter(report.encoders))}.",
        table, _shrunk(report), bullets("Speed", _speed(report)),
        "\n\n".join(f"![{name}]({name})" for name in pictures),
        bullets("Protocol", report.protocol), bullets("Files", [f"[{name}]({name})" for name in files]),
        bullets("Provenance", provenance(report)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _line(report: EncoderReport, lead: Measure, metric: str, intervals: bool = False) -> tuple[str, ...]:
    """One figure of every encoder; `lead` is the first encoder's row."""
    same = (lead.task, lead.scope, lead.modality, lead.targets)
    own = {m.encoder: m for m in report.measures if (m.task, m.scope, m.modality, m.targets) == same}
    cells = []
    for name in report.encoders:
        found = own.get(name)
        if found is None:
            cells.append("-")
            continue
        cell = _value(found.figures[metric], intervals)
        if found.versus_first:
            cell += " " + difference(found.versus_first[metric])
        cells.append(cell)
    targets = "" if lead.targets == "all" else f", {lead.targets}"
    return (f"{_WHAT[lead.task]} {_metric(metric)}, {_WHERE[lead.scope]}{targets}", f"{lead.n:,}", *cells)


def _metric(name: str) -> str:
    return name if name.startswith(("recall", "purity")) else name.upper()


def _all_lines(report: EncoderReport) -> list[tuple[str, ...]]:
    first = next(iter(report.encoders))
    lines = []
    for lead in (m for m in report.measures if m.encoder == first):
        for metric in lead.figures:
            name, *cells = _line(report, lead, metric, intervals=True)
            lines.append((name if lead.task == "text-item" else f"{name} ({lead.modality})", *cells))
    return lines


def _value(figure: Figure, intervals: bool) -> str:
    if not intervals or figure.ci95 is None:
        return f"{figure.mean:.3f}"
    return f"{figure.mean:.3f} ({figure.ci95[0]:.3f}..{figure.ci95[1]:.3f})"


def difference(figure: Figure) -> str:
    """A paired difference, such as +0.031 [+0.012, +0.050]."""
    around = "" if figure.ci95 is None else f" [{figure.ci95[0]:+.3f}, {figure.ci95[1]:+.3f}]"
    return f"{figure.mean:+.3f}{around}"


def _kept(report: EncoderReport) -> list[str]:
    """What 128 dimensions, and int8, keep of the main figures, a line an encoder."""
    lines = []
    for name in report.encoders:
        kept: dict[str, list[str]] = {}
        for s in report.shrunk:
            if s.encoder == name and s.ratio and (s.dims, s.precision) in ((128, "float32"), (0, "int8")):
                size = "int8" if s.precision == "int8" else f"{s.dims} dims"
                kept.setdefault(f"{_WHAT[s.task]} {_metric(s.metric)}", []).append(f"{size} {s.ratio.mean:.1%}")
        if kept:
            lines.append(f"{name} keeps of " + "; ".join(f"{k}: {', '.join(v)}" for k, v in kept.items()))
    return ["", *lines] if lines else []


def _speed(report: EncoderReport) -> list[str]:
    return [
        f"{name}: embed {t.embed_items_per_s:,.1f} items/s, {t.ratio:.0%} of the bare forward's "
        f"{t.bare_items_per_s:,.1f} ({t.items:,} items, batch {t.batch_size}, bare {t.bare_batch})"
        for name, t in report.throughput.items()
    ]


def _shrunk(report: EncoderReport) -> str:
    if not report.shrunk:
        return ""
    rows = [("encoder", "figure", "dims", "precision", "value", "of full float32")]
    for s in report.shrunk:
        share = "-" if s.ratio is None else f"{s.ratio.mean:.1%}"
        if s.ratio and s.ratio.ci95:
            share += f" ({s.ratio.ci95[0]:.1%}..{s.ratio.ci95[1]:.1%})"
        figure = f"{_WHAT[s.task]} {_metric(s.metric)}, {_WHERE[s.scope]}"
        rows.append((s.encoder, figure, str(s.dims or "all"), s.precision, _value(s.value, True), share))
    return "## Smaller vectors\n\n" + piped(rows)


def _encoders(report: EncoderReport) -> str:
    rows = [("encoder", "source", "fingerprint", "dims", "fusion", "parts", "tuned without")]
    for name, e in report.encoders.items():
        without = "not tuned" if e.holdout is None else f"{e.holdout:g} of the items"
        rows.append((name, f"`{e.source}`", e.fingerprint, str(e.dim), e.fusion, ", ".join(e.parts), without))
    return piped(rows)
