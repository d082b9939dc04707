"""The report of `navigator-bench latency` as words."""

from collections.abc import Sequence

from bench.markdown import bullets, columns, piped, provenance, stamp
from bench.speed.figures import Measured, PointRow, Saturation, SpeedReport, Verdict
from navigator.contracts.report import Latency

_TIMES = (
    "way", "", "P50 ms", "P95", "P99", "prefill P50", "decode P50", "tokens", "kept", "GFLOP", "MB moved", "peak MB",
    "roofline", "over floor",
)  # fmt: skip
_RATIOS = ("native over", "median", "95 % interval", "at P50", "at P95", "processor time", "GFLOP", "GFLOP, all layers")
_FULL = ("way", "requests/s", "batch", "ended")
_CLAIMS = ("shape", "claim", "value", "bar", "met")


def compact(report: SpeedReport) -> str:
    """Plain text for a terminal: the base points and the verdicts."""
    parts = [_summary(report)]
    for base in _bases(report):
        parts += [f"{_title(base)}\n{columns(_times(base))}", columns(_ratios(base))]
        parts.append(columns(_full(report.saturation.get(base.shape, {}))))
    parts.append(columns(_claims(report.verdicts)))
    return "\n\n".join(parts)


def markdown(report: SpeedReport, files: Sequence[str]) -> str:
    """report.md; `files` are names of the other files beside it."""
    parts = ["# Latency: one request, six ways", _summary(report), "## Verdict\n\n" + piped(_claims(report.verdicts))]
    for point in report.points:
        parts += [f"## {_title(point)}", piped(_times(point)), piped(_ratios(point))]
    for shape, full in report.saturation.items():
        parts.append(f"## {shape}: requests a second at saturation\n\n" + piped(_full(full)))
    parts += [
        "![growth.png](growth.png)", bullets("Same output", _same(report)), bullets("Not in a CUDA graph", _eager(report)),
        bullets("Protocol", report.protocol), bullets("Files", [f"[{name}]({name})" for name in files]),
        bullets("Provenance", provenance(report)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _bases(report: SpeedReport) -> list[PointRow]:
    """The first point of every shape."""
    return list({point.shape: point for point in reversed(report.points)}.values())[::-1]


def _times(point: PointRow) -> list[tuple[str, ...]]:
    return [_TIMES, *(_line(name, own) for name, own in point.ways.items())]


def _line(name: str, own: Measured) -> tuple[str, ...]:
    total = own.total_ms
    moved, gflops = sum(s.mb for s in own.cost.values()), sum(s.gflops for s in own.cost.values())
    return (
        f"({own.letter}) {name}", f"{own.failed} of {own.n + own.failed} failed" if own.failed else f"n {own.n}",
        _ms(total and total.p50), _ms(total and total.p95), _ms(total and total.p99), _p50(own.prefill_ms), _p50(own.decode_ms),
        f"{own.tokens:,}", f"{own.kept:,}", f"{gflops:,.1f}", f"{moved:,.0f}",
        "-" if own.peak_mb is None else f"{own.peak_mb:,.0f}", "-" if own.roofline is None else f"{own.roofline:.0%}",
        "-" if own.over_floor is None else f"{own.over_floor:.1f}",
    )  # fmt: skip


def _ratios(point: PointRow) -> list[tuple[str, ...]]:
    body = [
        (
            name, f"{pair.median:.1f}", f"{pair.ci95[0]:.1f}..{pair.ci95[1]:.1f}", f"{pair.p50:.1f}", f"{pair.p95:.1f}",
            "-" if pair.processor is None else f"{pair.processor:.1f}",
            f"{pair.flops:.1f}", f"{pair.whole_flops:.1f}",
        )
        for name, pair in point.native_over.items()
    ]  # fmt: skip
    return [_RATIOS, *body]


def _full(rows: dict[str, Saturation]) -> list[tuple[str, ...]]:
    return [_FULL, *((n, f"{row.requests_per_s:,.3g}", f"{row.batch:,}", row.ended) for n, row in rows.items())]


def _claims(verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    words = {True: "yes", False: "no", None: "open"}
    body = [
        (v.shape, v.claim, "-" if v.value is None else f"{v.value:.3g}", f"{v.bar:g}", words[v.met]) for v in verdicts
    ]
    return [_CLAIMS, *body]


def _same(report: SpeedReport) -> list[str]:
    return [
        f"{row.shape}, {row.way}: largest difference of a logit {row.max_difference:.2g} (logits' standard deviation "
        f"{row.std:.2g}); {row.tokens_agree:.0%} of the tokens agree with the plain path"
        for row in report.same_output
    ]


def _eager(report: SpeedReport) -> list[str]:
    found = [
        f"{p.shape}, {way}: {step} ({reason})"
        for p in report.points for way, steps in p.eager.items() for step, reason in steps.items()
    ]  # fmt: skip
    return list(dict.fromkeys(found))


def _summary(report: SpeedReport) -> str:
    device, config = report.device, report.config
    where = device.accelerator or f"{device.cpu}, {device.cores} cores, {device.torch_threads} threads"
    flags = [name for name in ("cuda_graphs", "compile") if config[name]]
    cut = (
        f" Cut: {', '.join(report.cut)}; the figures are those of the cut shape, not of the published model."
        if report.cut
        else ""
    )
    return (
        f"{where}; {config['dtype']}, attention {config['attention']}{''.join(f', {flag}' for flag in flags)}; measured here: "
        f"{report.matmul_tflops:.3g} TFLOP/s of matrix products, {report.copy_gb_per_s:,.4g} GB/s of copying; "
        f"{stamp(report)}.{cut}"
    )


def _title(point: PointRow) -> str:
    return f"{point.shape}: {point.history} + {point.candidates} items at {point.side} px"


def _p50(times: Latency | None) -> str:
    return _ms(times and times.p50)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
