"""Two reports side by side: what changed, or why they must not be compared."""

from pathlib import Path
from typing import Any

from navigator.contracts.errors import UserError
from navigator.contracts.report import METRICS, BenchReport, SystemReport, read_report

_FIGURES = ("throughput_rps", "tokens_per_request", "peak_memory_mb", "cost_usd_per_1000")
_DEVICE_BOUND = ("p50", "p95", "p99", "throughput_rps", "peak_memory_mb")


def compare(a: Path, b: Path) -> dict[str, Any]:
    """Print what changed from one report to another, per system and metric.

    Args:
        a: report.json (or its folder) of the earlier run.
        b: report.json (or its folder) of the later run.

    Returns:
        ``changes`` {system: {metric: {a, b, change}}}, ``only_in_a``, ``only_in_b``, ``warnings`` and a text.

    Raises:
        UserError: the runs asked different things; the message names the difference.
    """
    before, after = read_report(a), read_report(b)
    _refuse(before, after)
    warnings = _warnings(before, after)
    same_device = before.device == after.device
    shared = [name for name in before.systems if name in after.systems]
    changes = {name: _changes(before.systems[name], after.systems[name], same_device) for name in shared}
    for name in shared:
        counts = before.systems[name].n_queries, after.systems[name].n_queries
        if counts[0] != counts[1]:
            warnings.append(f"{name}: quality not compared, {counts[0]} queries in A and {counts[1]} in B")
    answer: dict[str, Any] = {
        "changes": changes,
        "only_in_a": [name for name in before.systems if name not in after.systems],
        "only_in_b": [name for name in after.systems if name not in before.systems],
        "warnings": warnings,
    }
    return answer | {"text": _text(answer)}


def _refuse(a: BenchReport, b: BenchReport) -> None:
    pairs = {
        "task": (a.task, b.task),
        "catalogue fingerprint": (a.inputs.get("catalog"), b.inputs.get("catalog")),
        "n_items": (a.n_items, b.n_items),
        "split": (a.split.part, b.split.part),
        "n_queries": (a.n_queries, b.n_queries),
        "queries": (a.split.queries, b.split.queries),
    }
    for what, (left, right) in pairs.items():
        if left != right:
            raise UserError(
                f"these runs cannot be compared: {what} is {left!r} in A and {right!r} in B; "
                f"run both on the same catalogue, graph and task"
            )


def _warnings(a: BenchReport, b: BenchReport) -> list[str]:
    warnings = []
    if a.device != b.device:
        named = {name for name, value in a.device if value != getattr(b.device, name)}
        warnings.append(
            f"another device ({', '.join(sorted(named))} differ): latency, throughput and memory are not compared"
        )
    for name in sorted(a.config.keys() | b.config.keys()):
        left, right = a.config.get(name), b.config.get(name)
        if left != right:
            warnings.append(f"option {name}: {left!r} in A, {right!r} in B")
    return warnings


def _values(system: SystemReport) -> dict[str, float | None]:
    values: dict[str, float | None] = {m: system.quality.of(m).mean if system.quality else None for m in METRICS}
    values |= {p: getattr(system.latency_ms, p) if system.latency_ms else None for p in ("p50", "p95", "p99")}
    return values | {name: getattr(system, name) for name in _FIGURES}


def _changes(a: SystemReport, b: SystemReport, same_device: bool) -> dict[str, dict[str, Any]]:
    left, right = _values(a), _values(b)
    skipped = set() if same_device else set(_DEVICE_BOUND)
    if a.n_queries != b.n_queries:
        skipped |= set(METRICS)
    changes = {}
    for name in left:
        if name in skipped or left[name] == right[name]:
            continue
        x, y = left[name], right[name]
        changes[name] = {"a": x, "b": y, "change": None if x is None or y is None else y - x}
    return changes


def _text(answer: dict[str, Any]) -> str:
    lines = [f"warning: {line}" for line in answer["warnings"]]
    for name, changes in answer["changes"].items():
        lines.append(f"{name}: {'no change' if not changes else ''}".rstrip())
        for metric, values in changes.items():
            x, y = _number(values["a"]), _number(values["b"])
            change = "" if values["change"] is None else f"{values['change']:+.4g}"
            lines.append(f"  {metric:20} {x:>12} -> {y:>12}  {change}".rstrip())
    lines += [f"only in A: {', '.join(answer['only_in_a'])}"] if answer["only_in_a"] else []
    lines += [f"only in B: {', '.join(answer['only_in_b'])}"] if answer["only_in_b"] else []
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "null" if value is None else f"{value:.4g}"
