"""What a request costs, in worlds that can be checked in the head; units of time against a loop over days; monotonicity."""

import math
import re

import numpy as np
import pytest

from bench.cost import Machine, frontier_cost, load_prices, machine_cost
from bench.economics.assumptions import assumptions, shipped
from bench.economics.lines import (
    DAYS,
    EMBEDDING,
    INDEX,
    REFRESH,
    SERVING,
    STORAGE,
    TOKENS,
    TRAINING,
    Scene,
    hosted,
    own,
)
from navigator.contracts import UserError

SMALL = {
    "usd_per_gpu_hour": 3.6, "usd_per_cpu_hour": 0.36, "utilisation": 0.5, "peak_factor": 2, "load_at_peak": 0.5, "replicas": 2,
    "gpus_per_machine": 1, "catalogue_items": 1000, "new_share_per_day": 0.1, "refresh_share_per_day": 0.2,
    "encoder_releases_per_year": 12, "first_embedding_months": 10, "vector_dim": 1e6, "bytes_per_value": 1,
    "index_overhead": 1.5, "store_versions": 3, "usd_per_ram_gb_month": 2, "usd_per_stored_gb_month": 0.5,
    "training_hours": 100, "training_months": 6, "ours_rps": 10, "native_rps": 1, "items_embedded_per_s": 1,
}  # fmt: skip


def scene(device="cuda", **values) -> Scene:
    """The shipped assumptions, SMALL over them, `values` over both."""
    base = {name: one.value for name, one in shipped().items()}
    return Scene(base | SMALL | values, {"ours": device, "native": device, "embedding": device})


def test_ours_by_hand():
    monthly = own(scene(), "fractional", "ours").monthly(1000)
    assert monthly[SERVING] == pytest.approx(0.2)  # 3.6 / 3600 / (10 x .5) a request
    assert monthly[EMBEDDING] == pytest.approx(0.1 + 0.1 * DAYS)  # US$ .001 an item: 1000 / 10 months and 100 a day
    assert monthly[REFRESH] == pytest.approx(0.2 * DAYS + 1)  # 200 a day, all 1000 a month
    assert monthly[INDEX] == pytest.approx(6)  # 1 GB x 1.5 x 2 copies x 2
    assert monthly[STORAGE] == pytest.approx(1.5)  # 1 GB x 3 x .5
    assert monthly[TRAINING] == pytest.approx(60)  # 100 h x 3.6 / 6
    assert own(scene(), "fractional", "ours").total(1000) == pytest.approx(sum(monthly.values()))


def test_whole_machines_by_hand():
    line = own(scene(), "whole", "ours")  # 10 x .5 / 2 = 2.5 requests a second each, on average
    machine = 3.6 * 730.5
    for rate, count in [(0.1, 2), (5, 2), (5.01, 3), (7.5, 3), (25, 10)]:
        requests = rate * 86400 * DAYS
        assert line.machines.count(requests) == count
        assert line.monthly(requests)[SERVING] == pytest.approx(count * machine)
    eight = own(
        scene(gpus_per_machine=8, replicas=1), "whole", "ours"
    )  # 20 requests a second for eight times the price
    assert eight.machines.count(19.9 * 86400 * DAYS) == 1 and eight.machines.usd == pytest.approx(8 * machine)
    on_cpu = own(scene("cpu", gpus_per_machine=8), "whole", "ours")  # a machine without GPUs has no eight of them
    assert on_cpu.machines.usd == pytest.approx(0.36 * 730.5)


def test_native_and_hosted_pay_for_vectors_only_by_their_share():
    assert set(own(scene(native_training_hours=6), "fractional", "native").monthly(1)) == {SERVING, TRAINING}
    assert own(scene(native_training_hours=6), "whole", "native").fixed[TRAINING] == pytest.approx(3.6)
    usd = frontier_cost("gpt-5-mini", 20, 20)[0]
    assert hosted(scene(), "whole", "gpt-5-mini").monthly(1000) == {TOKENS: pytest.approx(usd)}
    assert hosted(scene(hosted_price_factor=0.5), "whole", "gpt-5-mini").total(1000) == pytest.approx(usd / 2)
    half = hosted(scene(rivals_need_vectors=0.5), "whole", "gpt-5-mini").fixed
    assert half[INDEX] == pytest.approx(3) and half[STORAGE] == pytest.approx(0.75)


def test_what_was_not_measured_stays_unknown():
    line = own(scene(ours_rps=None), "whole", "ours")
    assert (
        line.monthly(1e6)[SERVING] is None and line.monthly(1e6)[INDEX] == pytest.approx(6) and line.total(1e6) is None
    )
    line = own(scene(items_embedded_per_s=None), "fractional", "ours")
    assert line.fixed[EMBEDDING] is None and line.fixed[REFRESH] is None and line.total(1e6) is None
    assert own(scene(items_embedded_per_s=None), "fractional", "native").total(1e6) is not None  # which embeds nothing


def test_the_figure_of_bench_run_is_the_serving_part_at_full_use():
    usd, _ = machine_cost(10.0, Machine(usd_per_hour=3.6, what=""))
    assert own(scene(utilisation=1), "fractional", "ours").monthly(1000)[SERVING] == pytest.approx(usd)


def test_months_days_years_and_hours_against_a_loop_over_four_years_of_days():
    """A month taken for 30 days, a day's share for a month's, or a release a month for one a year shows here."""
    values = SMALL | {"encoder_releases_per_year": 2, "requests_per_day": 50_000}
    an_item, gigabytes, days = 0.001, 1.0, 4 * 365 + 1
    paid = dict.fromkeys((EMBEDDING, REFRESH, INDEX, STORAGE, TRAINING, SERVING), 0.0)
    for _ in range(days):
        paid[EMBEDDING] += 1000 * 0.1 * an_item
        paid[REFRESH] += 1000 * 0.2 * an_item
        paid[INDEX] += gigabytes * 1.5 * 2 * 2 * 12 / 365.25
        paid[STORAGE] += gigabytes * 3 * 0.5 * 12 / 365.25
        for _ in range(24):
            paid[SERVING] += 2 * 3.6  # two machines are enough for .58 requests a second
    paid[EMBEDDING] += 48 / 10 * 1000 * an_item
    paid[REFRESH] += 8 * 1000 * an_item
    paid[TRAINING] += 8 * 100 * 3.6
    monthly = own(scene(**values), "whole", "ours").monthly(50_000 * DAYS)
    assert {name: pytest.approx(48 * usd) for name, usd in monthly.items()} == paid


def test_costs_rise_and_fall_with_each_input():
    """A hundred random worlds: no input moves a cost the wrong way."""
    rise = ("usd_per_gpu_hour", "catalogue_items", "new_share_per_day", "refresh_share_per_day", "encoder_releases_per_year",
            "vector_dim", "bytes_per_value", "index_overhead", "store_versions", "usd_per_ram_gb_month", "replicas",
            "usd_per_stored_gb_month", "training_hours", "peak_factor")  # fmt: skip
    fall = (
        "ours_rps",
        "items_embedded_per_s",
        "utilisation",
        "load_at_peak",
        "training_months",
        "first_embedding_months",
    )
    rng = np.random.default_rng(0)
    moved = set()
    for _ in range(100):
        values = {name: SMALL[name] * float(rng.uniform(0.3, 1.7)) for name in SMALL}
        requests = float(10 ** rng.uniform(3, 9))
        for capacity in ("whole", "fractional"):
            base = own(scene(**values), capacity, "ours").total(requests)
            for name in rise + fall:
                more = own(scene(**values | {name: values[name] * 1.5}), capacity, "ours").total(requests)
                assert (more >= base) if name in rise else (more <= base), (name, capacity)
                moved |= {name} if more != base else set()
    assert moved == set(rise + fall)


def test_every_shipped_assumption_says_what_it_is_in_the_unit_of_its_name():
    ends = {"_per_day": "a day", "_per_year": "a year", "_months": "months", "_hours": "hours", "_hour": "an hour",
            "_gb_month": "a GB and month", "_items": "items", "_factor": "times"}  # fmt: skip
    for name, one in shipped().items():
        assert one.value is not None and one.clip(one.value) == one.value and one.what and one.source and one.as_of, (
            name
        )
        assert one.vary or one.because, name
        unit = next((unit for end, unit in ends.items() if name.endswith(end)), "")
        assert unit in one.unit, name
        assert ("share" in name) <= ("share" in one.unit), name
    machines = load_prices().machines
    assert shipped()["usd_per_gpu_hour"].value == machines["cuda"].usd_per_hour
    assert shipped()["usd_per_cpu_hour"].value == machines["cpu"].usd_per_hour


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"refresh_share_per_day": 5}, "allowed are 0 to 1; 5 % is 0.05"),
        ({"requests_per_month": 3e7}, "did you mean requests_per_day (requests a day)"),
        ({"training_hour": 3}, "did you mean training_hours (machine hours"),
        ({"zzz": 1}, "no assumption 'zzz'; `navigator-bench cost --list_assumptions`"),
        ({"replicas": 0}, "replicas is 0 copies; allowed are at least 1"),
        ({"peak_factor": math.nan}, "peak_factor is nan times"),
        ({"catalogue_items": math.inf}, "catalogue_items is inf items"),
    ],
)
def test_values_of_another_unit_are_refused(given, says):
    with pytest.raises(UserError, match=re.escape(says)):
        assumptions(given)


def test_a_given_value_keeps_its_unit_and_says_where_it_is_from():
    found = assumptions({"vector_dim": 256})["vector_dim"]
    assert (found.value, found.unit, found.source, found.as_of) == (256, "values a vector", "given with --assume", None)
    assert shipped()["vector_dim"].value == 768
