"""From rows to figures: a row a phase, the recovery after the overload, and the checks."""

from collections.abc import Sequence
from statistics import fmean

from bench.latency import percentiles
from bench.load.figures import Check, Parts, PhaseRow, ServerCount
from bench.load.options import Options
from bench.load.rows import Row, count_outcomes
from bench.load.schedule import starts_s
from bench.load.steps import AFTER, CALM, OVERLOAD, UNLOADED, Step, ok_per_second

IN_A_ROW, MAY_BE_SLOW = 20, 3  # requests that must be as in calm, and how many of them may be above its P95
TIMES_UNLOADED = 2.0
AT = 0.7
MAY_FAIL = 0.01  # else refusing whoever would wait would pass for being fast
BUSY = 0.8  # share of a core above which the generator may be what was measured


def phase_rows(step: Step, options: Options, saturation: float) -> list[PhaseRow]:
    """The figures of a step's phases."""
    found = []
    for segment, start in zip(step.segments, starts_s(step.segments), strict=True):
        rows = [row for row in step.rows if row.phase == segment.phase]
        answered = [row for row in rows if row.outcome == "ok"]
        late = None if step.clients else percentiles([row.lateness_ms for row in rows])
        offered = None if step.clients else len(rows) / segment.seconds
        found.append(PhaseRow(
            phase=segment.phase, loop="closed" if step.clients else "open", begun_at=step.begun_at,
            clients=step.clients or None, offered_rps=offered, of_saturation=offered and offered / saturation,
            seconds=segment.seconds, requests=len(rows), outcomes=count_outcomes(rows),
            throughput_rps=ok_per_second(step) if step.clients else _ended_within(step.rows, start, segment.seconds),
            response_ms=percentiles([row.response_ms for row in answered]),
            service_ms=percentiles([row.service_ms for row in answered]),
            queue_ms=percentiles([row.queue_ms for row in answered if row.queue_ms is not None]),
            work_ms=percentiles([row.work_ms for row in answered if row.work_ms is not None]),
            parts=_parts(answered), refused_ms=percentiles([r.response_ms for r in rows if r.outcome == "http_429"]),
            lateness_ms=late, generator_cpu=step.cpu_s / step.seconds,
            flags=_flags(step, late.p99 if late else None, options.max_lateness_ms),
        ))  # fmt: skip
    return found


def server_count(step: Step) -> ServerCount | None:
    """What our server counted, against the rows; requests that ended without an answer may or may not have reached it."""
    if step.server is None:
        return None
    counted, rows = step.server, count_outcomes(step.rows)
    adrift = rows["timeout"] + rows["connection"]
    against = (
        (counted.received, len(step.rows) - adrift), (counted.refused, rows["http_429"]), (counted.answered, rows["ok"]),
    )  # fmt: skip
    agrees = all(0 <= theirs - ours <= adrift for theirs, ours in against)
    return ServerCount(
        received=counted.received, refused=counted.refused, answered=counted.answered, failed=counted.failed,
        abandoned=counted.abandoned, agrees=agrees,
    )  # fmt: skip


def recovery_s(steps: Sequence[Step]) -> float | None:
    """Seconds from the end of the overload to the first arrival from which requests are as before it.

    As before: IN_A_ROW requests in a row all answered, at most MAY_BE_SLOW of them slower than the P95 of the calm before (one
    in twenty is by definition; more than three in twenty happen by chance in 1.6 %).
    """
    step = next((step for step in steps if step.name == OVERLOAD), None)
    before = step and percentiles([r.response_ms for r in step.rows if r.phase == CALM and r.outcome == "ok"])
    if not step or not before:
        return None
    after = [row for row in step.rows if row.phase == AFTER]
    for first in range(len(after) - IN_A_ROW + 1):
        window = after[first : first + IN_A_ROW]
        slow = sum(row.response_ms > before.p95 for row in window)
        if slow <= MAY_BE_SLOW and all(row.outcome == "ok" for row in window):
            return window[0].intended_s - starts_s(step.segments)[2]
    return None


def checks(phases: Sequence[PhaseRow], steps: Sequence[Step], options: Options) -> dict[str, Check]:
    """The bars of a run, by name."""
    by_name = {row.phase: row for row in phases}
    counts = [count for step in steps if (count := server_count(step)) is not None]
    found = {"at_70_percent": _at_70(by_name), "nothing_lost": _nothing_lost(steps, counts)}
    if OVERLOAD in by_name:
        back, overload = recovery_s(steps), by_name[OVERLOAD]
        doubts, after = list(overload.flags), by_name[AFTER].requests
        doubts += [f"{after} requests after the overload are too few; give more --seconds"] if after < IN_A_ROW else []
        found["sheds"] = _sheds(overload, [r for s in steps for r in s.rows if r.phase == OVERLOAD])
        found["recovers"] = Check(
            what="seconds after the overload until requests are as in the calm before",
            value=back, bar=f"{IN_A_ROW} in a row", met=None if doubts else back is not None,
            note="; ".join(doubts),
        )  # fmt: skip
    late = [row.lateness_ms.p99 for row in phases if row.lateness_ms]
    found["generator_on_time"] = Check(
        what="P99 of the generator's lateness, worst phase, ms", value=max(late, default=None),
        bar=f"<= {options.max_lateness_ms:g}", met=max(late) <= options.max_lateness_ms if late else None,
    )  # fmt: skip
    return found


def _at_70(phases: dict[str, PhaseRow]) -> Check:
    name = f"open-{AT:g}"
    loaded, unloaded = phases.get(name), phases[UNLOADED]
    ratio = None
    if loaded and loaded.response_ms and unloaded.response_ms:
        ratio = loaded.response_ms.p95 / unloaded.response_ms.p50
    flags = [*(loaded.flags if loaded else [f"{AT:g} is none of the fractions"]), *unloaded.flags]
    lost = 1 - loaded.outcomes["ok"] / loaded.requests if loaded else 0.0
    return Check(
        what=f"P95 at {AT:.0%} of the saturation over the unloaded P50", value=ratio,
        bar=f"<= {TIMES_UNLOADED:g}, at most {MAY_FAIL:.0%} not answered",
        met=None if flags or ratio is None else ratio <= TIMES_UNLOADED and lost <= MAY_FAIL,
        note="; ".join([*flags, *([f"{lost:.1%} not answered"] if loaded else [])]),
    )  # fmt: skip


def _sheds(overload: PhaseRow, rows: Sequence[Row]) -> Check:
    refused = [row for row in rows if row.outcome == "http_429"]
    others = {name: n for name, n in overload.outcomes.items() if n and name not in ("ok", "http_429")}
    told = all(row.retry_after_s is not None for row in refused)
    fast = f"; a refusal takes {overload.refused_ms.p95:.1f} ms at P95" if overload.refused_ms else ""
    return Check(
        what="share of the overload that is refused", value=len(refused) / len(rows) if rows else None,
        bar="> 0, every refusal a 429 with Retry-After, no other failure",
        met=None if overload.flags else bool(refused) and told and not others,
        note=f"other failures: {others or 'none'}{fast}",
    )  # fmt: skip


def _nothing_lost(steps: Sequence[Step], counts: Sequence[ServerCount]) -> Check:
    missing = sum(step.scheduled - len(step.rows) for step in steps)
    agree = all(count.agrees for count in counts)
    note = f"our server's own counts agree in {sum(c.agrees for c in counts)} of {len(counts)} steps" if counts else ""
    return Check(what="scheduled requests without a row", value=missing, bar="0", met=missing == 0 and agree, note=note)


def _ended_within(rows: Sequence[Row], start: float, seconds: float) -> float:
    return sum(row.outcome == "ok" and start <= row.ended_s < start + seconds for row in rows) / seconds


def _parts(answered: Sequence[Row]) -> Parts | None:
    told = [
        (row, row.queue_ms, row.work_ms) for row in answered if row.queue_ms is not None and row.work_ms is not None
    ]
    if not told:
        return None
    return Parts(
        generator=fmean(row.lateness_ms for row, _, _ in told), queue=fmean(queue for _, queue, _ in told),
        work=fmean(work for _, _, work in told),
        elsewhere=fmean(row.service_ms - queue - work for row, queue, work in told),
    )  # fmt: skip


def _flags(step: Step, late_p99: float | None, allowed_ms: float) -> list[str]:
    flags = []
    if late_p99 is not None and late_p99 > allowed_ms:
        flags.append(f"the generator was late: P99 {late_p99:.1f} ms, allowed {allowed_ms:g}")
    if step.cpu_s > BUSY * step.seconds:
        flags.append(f"the generator used {step.cpu_s / step.seconds:.0%} of a core, above {BUSY:.0%}")
    count = server_count(step)
    if count is not None and not count.agrees:
        flags.append("our server counted other requests than the rows have")
    return flags
