"""The report of `navigator-bench cost` as words."""

from collections.abc import Sequence

from bench.economics.assumptions import shipped
from bench.economics.figures import CostReport, Point, SwingRow
from bench.economics.inputs import Inputs
from bench.economics.lines import COMPONENTS, Capacity
from bench.economics.verdict import BOUGHT, pays, quantity, short
from bench.markdown import bullets, columns, piped, provenance, stamp

_NOT_COUNTED = [
    "people, networks, egress, the pictures' own storage and reading them at request time (which the native model and hosted "
    "models do)",
    "memory in which histories are kept between requests (swapped-prefix), and features that are kept (native-features)",
    "a hosted model's reasoning tokens and retries: its cost is a lower bound (raise it with --assume.hosted_price_factor)",
    "quality: `navigator-bench run` measures it; a cheaper answer may be a worse one",
]
_SHOWN = 6  # rows of the sensitivity in the terminal


def assumption_lines() -> list[str]:
    """The shipped assumptions, one a line."""
    entries = shipped()
    width = max(map(len, entries))
    return [
        f"{name.ljust(width)}  {one.value:>12,.10g} {one.unit}: {one.what} ({one.source}, {one.as_of})"
        for name, one in entries.items()
    ]


def protocol(inputs: Inputs) -> list[str]:
    """How the figures came about."""
    lines = [
        "Cost per 1,000 requests = monthly cost / monthly requests x 1,000; a month has 365.25 / 12 days.",
        "Whole machines: max(replicas, requests a second x peak_factor / (throughput x load_at_peak)), rounded up, all month. "
        "Fractional: requests / (throughput x utilisation) machine hours.",
        "Embedding: the new share a day, and the first embedding over first_embedding_months; refresh: the refreshed share a "
        "day, and the whole catalogue with every release; all at the measured embedding speed on one machine.",
        "Index memory: items x dimension x bytes x index_overhead x replicas; storage: items x dimension x bytes x "
        "store_versions. Training: hours x price / training_months. Rivals pay rivals_need_vectors of the cost of vectors.",
        "Break-even: the demand from which ours is cheaper for good, solved piece by piece between machine steps, exactly.",
        "Sensitivity: one input halved and doubled (kept within what is allowed), the others as they are.",
        "Hosted models: tokens by the vendors' picture rules x dated list prices (bench/prices.json).",
    ]
    return lines + [f"Throughput of {part}: {how}." for part, how in inputs.how.items()]


def compact_tables(report: CostReport) -> str:
    """Plain text for a terminal."""
    parts = [
        report.verdict, f"US$ per 1,000 requests, {BOUGHT[report.capacity]}\n{columns(_costs(report, report.capacity))}",
        f"Swapping pays\n{columns(_break_evens(report))}",
    ]  # fmt: skip
    for name, row in report.rivals.items():
        if row.sensitivity and row.break_even[report.capacity].state != "unknown":
            rows = _swings(row.sensitivity[:_SHOWN])
            parts.append(f"What moves the break-even with {name} most (requests a day)\n{columns(rows)}")
            break
    notes = [*report.caveats, *(f"{name} was not measured: {command}" for name, command in report.missing.items())]
    parts += ["\n".join(notes)] if notes else []
    return "\n\n".join(parts)


def markdown(report: CostReport, files: Sequence[str], pictures: Sequence[str]) -> str:
    """report.md; `files` and `pictures` are names of the other files beside it."""
    parts = [
        "# Cost per request", report.verdict, f"{stamp(report)}.",
        bullets("Read it with care", report.caveats),
        bullets("Not measured", [f"{name}: {command}" for name, command in report.missing.items()]),
        *(f"## US$ per 1,000 requests, {BOUGHT[c]}\n\n{piped(_costs(report, c))}" for c in ("whole", "fractional")),
        f"## Swapping pays\n\n{piped(_break_evens(report))}",
        "\n\n".join(f"![{name}]({name})" for name in pictures),
        *(
            f"## What moves the break-even with {name}\n\n{BOUGHT[report.capacity]}, requests a day.\n\n"
            + piped(_swings(row.sensitivity))
            + f"\n\nNothing is moved by {', '.join(row.unmoved)}.{_zeros(report)}"
            for name, row in report.rivals.items()
            if row.sensitivity
        ),
        f"## Assumptions and measurements\n\n{piped(_inputs(report))}",
        bullets("Hosted models", [f"{n}: {'; '.join(row.priced)}" for n, row in report.systems.items() if row.priced]),
        bullets("Not counted", _NOT_COUNTED), bullets("Protocol", report.protocol),
        bullets("Files", [f"[{name}]({name})" for name in files]), bullets("Provenance", provenance(report)),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _costs(report: CostReport, capacity: Capacity) -> list[tuple[str, ...]]:
    """A row a system, a column a component that any of them has."""
    rows = {name: row.cost[capacity] for name, row in report.systems.items()}
    shown = [part for part in COMPONENTS if any(part in cost.usd_per_1000 for cost in rows.values())]
    own = rows[report.ours].total_usd_per_1000
    table: list[tuple[str, ...]] = [("system", *shown, "total", f"x {report.ours}", "US$ a month", "machines", "busy")]
    for name, cost in rows.items():
        total = cost.total_usd_per_1000
        times = "-" if not own or total is None else short(total / own)
        parts = [short(cost.usd_per_1000[part]) if part in cost.usd_per_1000 else "" for part in shown]
        machines = (
            "-" if cost.machines is None else f"{cost.machines:,}",
            "-" if cost.busy is None else f"{cost.busy:.1%}",
        )
        table.append((name, *parts, short(total), times, short(cost.usd_a_month), *machines))
    return table


def _break_evens(report: CostReport) -> list[tuple[str, ...]]:
    rows = [
        (name, *(pays(row.break_even[capacity]) for capacity in ("whole", "fractional")))
        for name, row in report.rivals.items()
    ]
    return [("against", BOUGHT["whole"], BOUGHT["fractional"]), *rows]


def _swings(rows: Sequence[SwingRow]) -> list[tuple[str, ...]]:
    table: list[tuple[str, ...]] = [("input", "unit", "lower", "pays", "higher", "pays")]
    return table + [
        (one.input, one.unit, quantity(one.low_value), _short(one.low), quantity(one.high_value), _short(one.high))
        for one in rows
    ]


def _short(at: Point) -> str:
    return f"{at.state} {quantity(at.requests_a_day)}" if at.requests_a_day is not None else at.state


def _inputs(report: CostReport) -> list[tuple[str, ...]]:
    rows = [
        (
            name,
            "not measured" if one.value is None else f"{float(f'{one.value:.6g}'):,.10g}",
            one.unit,
            one.what,
            one.source,
            one.day or "",
        )
        for name, one in report.inputs_table.items()
    ]
    return [("input", "value", "unit", "what", "source", "date"), *rows]


def _zeros(report: CostReport) -> str:
    """What halving and doubling cannot vary; some of it decides the verdict, so it is named."""
    zeros = [name for name, one in report.inputs_table.items() if one.value == 0]
    return f" Not varied, for it is 0 here: {', '.join(zeros)}; try --assume.NAME VALUE." if zeros else ""
