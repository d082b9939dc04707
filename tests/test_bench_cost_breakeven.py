"""Where swapping pays: by hand, against bisection, against a scan of demands, and what moves it."""

import collections
import math
from functools import partial

import numpy as np
import pytest

from bench.economics.assumptions import assumptions, shipped
from bench.economics.breakeven import BreakEven, break_even
from bench.economics.lines import CostLine, Machines, Scene, hosted, own
from bench.economics.sensitivity import swings

SHIPPED = {name: one.value for name, one in shipped().items()}
MEASURED = {"ours_rps": 10.0, "native_rps": 1.0, "items_embedded_per_s": 1.0}


def scene(**values) -> Scene:
    return Scene(SHIPPED | MEASURED | values, {"ours": "cuda", "native": "cuda", "embedding": "cuda"})


def line(fixed: float, each: float = 0.0, usd: float = 0.0, step: float = math.inf, least: int = 0) -> CostLine:
    return CostLine({"training": fixed}, {"tokens": each}, Machines(usd, step, step, least) if usd else None)


def bisection(ours: CostLine, rival: CostLine, low: float, high: float) -> float:
    """Where the sign changes between two demands at which it differs."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if ours.total(middle) < rival.total(middle) else (middle, high)
    return high


def test_straight_lines_by_hand():
    assert break_even(line(100, 1), line(20, 3)) == BreakEven("from", 40)
    assert break_even(line(20, 3), line(100, 1)) == BreakEven("until", 40)
    assert break_even(line(20, 1), line(100, 3)).state == "always"
    assert break_even(line(100, 3), line(20, 1)).state == "never"
    assert break_even(line(5, 1), line(5, 1)).state == "never"  # equal is not cheaper
    assert break_even(line(4, 1), line(5, 1)).state == "always"
    assert break_even(CostLine({"refresh": None}), line(5, 1)).state == "unknown"
    hundred, ten = line(5, usd=100, step=100), line(5, usd=10, step=10)  # 1 a request each, in other steps
    assert break_even(hundred, ten).state == "level" and break_even(ten, hundred).state == "level"
    assert (
        break_even(hundred, line(5, usd=10 + 1e-8, step=10)).state == "level"
    )  # it would take millions of steps to tell


def test_whole_machines_by_hand():
    native = line(0, usd=10, step=100, least=2)  # a third machine after 200, a fourth after 300
    assert break_even(line(5, usd=10, step=1000, least=2), native) == BreakEven("from", 200)
    assert break_even(line(15, usd=10, step=1000, least=2), native) == BreakEven("from", 300)
    hosted_ = line(0, 1)
    assert break_even(line(5, usd=10, step=100, least=2), hosted_) == BreakEven("from", 25)  # 5 + 20 = 25 x 1
    # cheaper from 5 + 60 = 65 on; the second machine at 100 makes it 125 against 100; a third at 200 is 185, too little to lose
    assert break_even(line(5, usd=60, step=100, least=1), hosted_) == BreakEven("from", 125, 65)
    assert break_even(line(5, usd=200, step=100, least=1), hosted_).state == "never"
    assert break_even(hosted_, line(5, usd=200, step=100, least=1)).state == "always"


def test_ours_pays_below_a_demand_and_never_beyond():
    found = break_even(
        line(0, usd=100, step=50, least=0), line(250, 1)
    )  # 2 a request in steps against 250 + 1 a request
    assert found.state == "until"
    assert line(0, usd=100, step=50).total(found.requests - 1e-6) < line(250, 1).total(found.requests - 1e-6)


def test_fractional_break_even_is_where_bisection_finds_it():
    rng, compared = np.random.default_rng(1), 0
    for _ in range(200):
        world = scene(**{name: value * float(10 ** rng.uniform(-1, 1)) for name, value in (SHIPPED | MEASURED).items()})
        ours = own(world, "fractional", "ours")
        for rival in (own(world, "fractional", "native"), hosted(world, "whole", "gpt-5-mini")):
            found = break_even(ours, rival)
            if found.state == "from":
                compared += 1
                low, high = 0.0, found.requests * 7.3
                assert ours.total(low) > rival.total(low) and ours.total(high) < rival.total(high)
                assert found.requests == pytest.approx(bisection(ours, rival, low, high), rel=1e-9)
    assert compared > 150


def test_whole_machines_agree_with_a_scan_of_demands():
    """Beyond the break-even ours is cheaper everywhere and right below it is not; before `first` it is nowhere."""
    rng, states = np.random.default_rng(2), collections.Counter()

    def draw(low: float, high: float) -> float:
        return float(10 ** rng.uniform(low, high))

    for number in range(100):
        machines = [line(draw(0, 3), 0, draw(0, 2), draw(1, 3), int(rng.integers(0, 4))) for _ in range(2)]
        ours, rival = machines if number % 2 else (machines[0], line(0, draw(-2, 0.5)))
        scanned = np.sort(np.concatenate([rng.uniform(0, 4000, 150), 10 ** rng.uniform(-2, 6, 150)]))
        for a, b in ((ours, rival), (rival, ours)):
            found = break_even(a, b)
            states[found.state + " first" * (found.first is not None)] += 1
            check_scan(found, a, b, scanned)
    assert set(states) == {"never", "always", "from", "until", "from first"}, states


def check_scan(found: BreakEven, ours: CostLine, rival: CostLine, scanned: np.ndarray) -> None:
    cheaper = np.array([ours.total(at) < rival.total(at) for at in scanned])
    if found.requests is None:
        assert cheaper.all() if found.state == "always" else found.state == "never" and not cheaper.any()
        return
    below, beyond = scanned < found.requests * (1 - 1e-9), scanned > found.requests * (1 + 1e-9)
    just_below = found.requests * (1 - 1e-6)
    if found.state == "from":
        first = found.requests if found.first is None else found.first
        assert cheaper[beyond].all() and not cheaper[scanned < first * (1 - 1e-9)].any()
        assert ours.total(just_below) >= rival.total(just_below)
        assert found.first is not None or not cheaper[below].any()
    else:
        assert not cheaper[beyond].any() and ours.total(just_below) < rival.total(just_below)


def test_halving_the_training_halves_the_break_even():
    """Nothing fixed but the training, so that it is training / (price of a token request - price of ours)."""
    bare = {name: 0.0 for name in ("new_share_per_day", "refresh_share_per_day", "encoder_releases_per_year",
                                   "usd_per_ram_gb_month", "usd_per_stored_gb_month")}  # fmt: skip
    bare |= {"first_embedding_months": 1e12}
    table = assumptions({"training_hours": 200, "load_at_peak": 0.8, "utilisation": 0.8, **bare})
    world = scene(**{name: one.value for name, one in table.items()})
    ours, rival = partial(own, name="ours"), partial(hosted, model="gpt-5-mini")
    base = break_even(ours(world, "fractional"), rival(world, "fractional")).requests
    found = {one.name: one for one in swings(table, world, ours, rival, "fractional")}
    assert found["training_hours"].low.requests == pytest.approx(base / 2, rel=1e-6)
    assert found["training_hours"].high.requests == pytest.approx(base * 2, rel=1e-6)
    assert (found["utilisation"].low_value, found["utilisation"].high_value) == (0.4, 1.0)  # no more than all the time
    assert "requests_per_day" not in found and "candidate_items" not in found  # they are what it is given in and for
    assert "load_at_peak" not in found and "usd_per_cpu_hour" not in found  # they move nothing here
    assert "new_share_per_day" not in found  # zero is zero, doubled too
    spans = [one.span for one in swings(table, world, ours, rival, "fractional")]
    assert spans == sorted(spans, reverse=True)


def test_break_even_moves_the_right_way():
    rng = np.random.default_rng(3)
    for _ in range(50):
        values = {name: value * float(rng.uniform(0.3, 1.7)) for name, value in (SHIPPED | MEASURED).items()}

        def at(values=values, **changed):
            world = scene(**values | changed)
            return break_even(own(world, "fractional", "ours"), own(world, "fractional", "native")).requests

        base = at()
        assert at(usd_per_ram_gb_month=values["usd_per_ram_gb_month"] * 2) > base
        assert at(native_rps=values["native_rps"] / 2) < base
        assert at(native_training_hours=5.0) < base
        assert at(rivals_need_vectors=0.5) < base
