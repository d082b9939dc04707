"""The report of `navigator-bench gold check` as words."""

from pathlib import Path

from bench.encoder.figures import Figure
from bench.gold.figures import Agreement, CheckReport
from bench.gold.scale import GRADES, HIGHEST, LOWEST
from bench.intervals import RESAMPLES
from bench.markdown import bullets, provenance, stamp

SIMULATED = (
    "SIMULATED grades: made by a rule or a model, not by people; figures say how the tool works and nothing else."
)


def check_text(report: CheckReport, out: Path, freeze: Path | None, blocked: str | None) -> str:
    """For a terminal."""
    lines = [*([SIMULATED, ""] if report.simulated else []), *_handed(report), "", *map(_agreed, report.agreement)]
    lines += [_hows(report), f"report: {out / 'report.md'}"]
    if report.fingerprint:
        lines.append(f"frozen: {freeze}, fingerprint {report.fingerprint}")
    elif blocked:
        lines.append(f"not {'frozen' if freeze else 'ready to freeze'}: {blocked}")
    else:
        lines.append("ready to freeze: give --freeze FOLDER")
    return "\n".join(lines)


def check_markdown(report: CheckReport, drawn: bool) -> str:
    """report.md; `drawn` is whether there is a picture of the disagreements."""
    parts = [
        "# Gold set: check", f"**{SIMULATED}**" if report.simulated else "",
        f"{report.pairs:,} pairs; {stamp(report)}." + (f" Frozen as {report.fingerprint}." if report.fingerprint else ""),
        bullets("Files handed in", _handed(report)),
        *(f"## Agreement of {' and '.join(own.annotators)}\n\n{_agreed(own)}\n\n{_confusion(own)}" for own in report.agreement),
        bullets("Settled", [_hows(report)]),
        _worst(report), "![worst disagreements](disagreements.png)" if drawn else "",
        bullets("Grades", [f"{grade.number} {grade.name}: {grade.meaning}" for grade in GRADES]),
        bullets("Protocol", report.protocol), bullets("Provenance", provenance(report)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def check_protocol(tolerance: int, seed: int) -> list[str]:
    """How the figures and the grades came about."""
    return [
        "Rows refused: unknown pairs, pairs that were not theirs, grades that are no whole number from "
        f"{LOWEST} to {HIGHEST}, pairs graded twice (equal grades count once, differing ones not at all).",
        f"Agreement: Cohen's kappa, plain and with quadratic weights, on the pairs both graded; 95 % percentile bootstrap over "
        f"queries, {RESAMPLES:,} resamples, seed {seed}.",
        f"Settling: one grade stands; equal grades stand; grades at most {tolerance} apart give their mean, a half rounded "
        "down; grades further apart give what the third person decided, and until then the pair is open.",
    ]


def _handed(report: CheckReport) -> list[str]:
    every = report.annotators | ({"third": report.third} if report.third else {})
    return [
        f"{name}: {own.graded:,} of {own.given:,} pairs graded, {own.missing:,} missing; grades 1 to 5: "
        f"{', '.join(f'{n:,}' for n in own.grades)}"
        + (f"; refused rows: {', '.join(f'{reason} {n:,}' for reason, n in own.bad.items())}" if own.bad else "")
        for name, own in every.items()
    ]


def _agreed(own: Agreement) -> str:
    return (
        f"{' and '.join(own.annotators)}, {own.pairs:,} pairs of {own.queries:,} queries: kappa {_figure(own.kappa)}, "
        f"quadratic {_figure(own.kappa_quadratic)}; equal {_figure(own.exact)}, within one {_figure(own.within_one)}; "
        f"{own.annotators[0]} - {own.annotators[1]} {_figure(own.first_minus_second)}"
    )


def _confusion(own: Agreement) -> str:
    levels = range(LOWEST, HIGHEST + 1)
    head = [
        f"| {own.annotators[0]} \\ {own.annotators[1]} | " + " | ".join(map(str, levels)) + " |",
        "| ---: " * 6 + "|",
    ]
    return "\n".join([*head, *(f"| {g} | {' | '.join(map(str, own.confusion[g - LOWEST]))} |" for g in levels)])


def _worst(report: CheckReport) -> str:
    lines = []
    for own in report.worst:
        says = ", ".join(f"{name} {grade}" for name, grade in own.grades.items())
        became = own.how if own.settled is None else f"{own.settled} ({own.how})"
        lines.append(f"{_code(own.query_id)} and {_code(own.item_id)}: {says}; {became}")
    return bullets("Worst disagreements", lines)


def _code(text: str) -> str:
    """Words of the catalogue as Markdown that nothing in them can end."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _hows(report: CheckReport) -> str:
    return f"{report.pairs:,} pairs: " + ", ".join(f"{how} {n:,}" for how, n in report.settled.items())


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return "undefined"
    return f"{figure.mean:.3f}" + (f" ({figure.ci95[0]:.3f}..{figure.ci95[1]:.3f})" if figure.ci95 else "")
