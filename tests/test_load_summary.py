"""From rows to figures, on rows written by hand: what counts, what is null, when the overload is over, what is flagged."""

import dataclasses
from pathlib import Path

import pytest

from bench.load.figures import PhaseRow
from bench.load.options import Options
from bench.load.rows import Row
from bench.load.schedule import Segment
from bench.load.steps import AFTER, CALM, OVERLOAD, Step
from bench.load.summary import checks, phase_rows, recovery_s, server_count
from navigator.admission import Counts

OPTIONS = Options(
    url="http://x", bodies=None, catalog=None, system=None, model=None, vectors=None, out=Path("o"), seconds=10,
    concurrency=[1], fractions=[0.7], rates=[], saturation=None, overload=1.5, calm=0.5, timeout_s=1, max_lateness_ms=20,
    json_answers=True, workers=1, waiting=1, work_ms=1, spread=0, max_history=20, device="auto", dtype="auto", warm_up=1,
    seed=0,
)  # fmt: skip


def row(phase: str, at: float, response_ms: float, outcome="ok", late_ms: float = 0.0, **more) -> Row:
    return Row(phase, 0, at, at + late_ms / 1000, at + response_ms / 1000, outcome, **more)


def step(name: str, rows: list[Row], clients: int = 0, server: Counts | None = None, **more) -> Step:
    numbered = [dataclasses.replace(own, number=n) for n, own in enumerate(rows)]
    parts = {"segments": [Segment(name, 0, 10)], "cpu_s": 1.0, "scheduled": len(rows)} | more
    return Step(name=name, clients=clients, seconds=10, begun_at="", server=server, rows=numbered, **parts)


def only(step: Step, saturation: float = 10) -> PhaseRow:
    (found,) = phase_rows(step, OPTIONS, saturation)
    return found


def test_percentiles_are_of_answers_and_everything_else_is_counted():
    told = {"queue_ms": 30.0, "work_ms": 50.0}
    rows = [row("p", i, 100, late_ms=10, **told) for i in range(4)]
    rows += [row("p", 4, 2, "http_429", retry_after_s=1.0), row("p", 5, 1000, "timeout"), row("p", 6, 3, "connection")]
    figures = only(step("p", rows))
    assert figures.response_ms and (figures.response_ms.p50, figures.response_ms.p99) == pytest.approx((100, 100))
    assert figures.service_ms and figures.service_ms.p50 == pytest.approx(90)
    assert figures.refused_ms and figures.refused_ms.p50 == pytest.approx(2)
    named = {name: n for name, n in figures.outcomes.items() if n}
    assert named == {"ok": 4, "http_429": 1, "timeout": 1, "connection": 1} and figures.requests == 7
    assert (figures.offered_rps, figures.of_saturation) == (0.7, pytest.approx(0.07))
    assert figures.throughput_rps == 0.4 and not figures.flags
    parts = figures.parts
    assert parts and [parts.generator, parts.queue, parts.work, parts.elsewhere] == pytest.approx([10, 30, 50, 10])


def test_a_phase_that_answered_nothing_has_no_percentile():
    figures = only(step("p", [row("p", 1, 5, "http_5xx"), row("p", 2, 5, "timeout")]))
    assert (figures.response_ms, figures.service_ms, figures.queue_ms, figures.parts) == (None, None, None, None)
    assert figures.throughput_rps == 0 and figures.outcomes["http_5xx"] == figures.outcomes["timeout"] == 1


def test_throughput_is_what_ended_within_the_phase():
    segments = [Segment("a", 1, 2), Segment("b", 1, 2)]
    rows = [row("a", 0.5, 100), row("a", 1.9, 500), row("b", 2.5, 100), row("b", 3.9, 500)]
    first, second = phase_rows(step("s", rows, segments=segments), OPTIONS, 10)
    assert (first.throughput_rps, second.throughput_rps) == (0.5, 1.0)  # 1.9 ends in b, 3.9 after b


def test_a_late_or_busy_generator_is_flagged_and_proves_nothing():
    unloaded = step("closed-1", [row("closed-1", i, 50) for i in range(10)], clients=1)
    on_time = step("open-0.7", [row("open-0.7", i, 90, late_ms=1) for i in range(10)])
    late = step("open-0.7", [row("open-0.7", i, 90, late_ms=30) for i in range(10)])
    slow = step("open-0.7", [row("open-0.7", i, 101, late_ms=1) for i in range(10)])

    def at_70(opened: Step):
        phases = [figures for own in (unloaded, opened) for figures in phase_rows(own, OPTIONS, 10)]
        return checks(phases, [unloaded, opened], OPTIONS)

    refusing = step("open-0.7", [row("open-0.7", i, 90, "ok" if i else "http_429", late_ms=1) for i in range(10)])
    good, bad, over, refuses = at_70(on_time), at_70(late), at_70(slow), at_70(refusing)
    assert refuses["at_70_percent"].met is False and "10.0% not answered" in refuses["at_70_percent"].note
    assert good["at_70_percent"].met is True and good["at_70_percent"].value == pytest.approx(1.8)
    assert bad["at_70_percent"].met is None and "P99 30.0 ms, allowed 20" in bad["at_70_percent"].note
    assert over["at_70_percent"].met is False
    assert (good["generator_on_time"].met, bad["generator_on_time"].met) == (True, False)
    assert "used 90% of a core" in only(step("p", [row("p", 1, 5)], cpu_s=9.0)).flags[0]


def overload(after_ms: list[float], refused: bool = True, failed: bool = False, retry: float | None = 1.0) -> Step:
    rows = [row(CALM, i / 10, 50) for i in range(100)]
    kinds = ["ok", "http_429" if refused else "ok", "http_5xx" if failed else "ok"]
    rows += [
        row(OVERLOAD, 10 + i / 30, 200, kinds[i % 3], retry_after_s=retry if kinds[i % 3] == "http_429" else None)
        for i in range(300)
    ]
    rows += [row(AFTER, 20 + i / 10, ms) for i, ms in enumerate(after_ms)]
    return step(OVERLOAD, rows, segments=[Segment(CALM, 10, 10), Segment(OVERLOAD, 30, 10), Segment(AFTER, 10, 10)])


@pytest.mark.parametrize(
    ("after_ms", "seconds"),
    [
        ([50.0] * 40, 0.0),
        ([300.0] * 10 + [50.0] * 30, 0.7),  # three of twenty may be slower
        ([300.0] * 30, None),
        ([50.0] * 19, None),  # too few to say so
        (([50.0] * 4 + [300.0]) * 8, None),  # one in five is slow
    ],
)
def test_recovery_is_the_first_of_twenty_requests_as_before(after_ms, seconds):
    assert recovery_s([overload(after_ms)]) == (seconds if seconds is None else pytest.approx(seconds))


def test_too_few_requests_after_the_overload_say_nothing():
    steps = [step("closed-1", [row("closed-1", 1, 50)], clients=1), overload([50.0] * 19)]
    found = checks([figures for own in steps for figures in phase_rows(own, OPTIONS, 10)], steps, OPTIONS)["recovers"]
    assert found.met is None and "19 requests after the overload are too few" in found.note


@pytest.mark.parametrize(
    ("changes", "met"),
    [({}, True), ({"refused": False}, False), ({"failed": True}, False), ({"retry": None}, False)],
)
def test_shedding_is_refusals_that_say_when_to_come_back_and_no_other_failure(changes, met):
    steps = [step("closed-1", [row("closed-1", 1, 50)], clients=1), overload([50.0] * 40, **changes)]
    phases = [figures for own in steps for figures in phase_rows(own, OPTIONS, 10)]
    found = checks(phases, steps, OPTIONS)
    assert found["sheds"].met is met and found["recovers"].met is True
    assert found["sheds"].value == (0 if changes == {"refused": False} else pytest.approx(1 / 3))


@pytest.mark.parametrize(
    ("server", "agrees"),
    [
        (Counts(received=4, refused=1, answered=3), True),
        (Counts(received=4, refused=1, answered=2, abandoned=1), True),  # the time-out left before it was worked on
        (Counts(received=3, refused=1, answered=2), True),  # or never came
        (Counts(received=4, refused=3, answered=1), False),
        (Counts(received=5, refused=1, answered=4), False),
    ],
)
def test_the_server_counts_what_the_rows_have(server, agrees):
    rows = [row("p", 1, 5), row("p", 2, 5), row("p", 3, 5, "http_429"), row("p", 4, 9, "timeout")]
    count = server_count(step("p", rows, server=server))
    assert count is not None and count.agrees is agrees
    assert bool(only(step("p", rows, server=server)).flags) is not agrees
    assert server_count(step("p", rows)) is None
