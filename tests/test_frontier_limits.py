"""Money, rate limits, waiting and the price of a picture: by hand, without a network."""

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from bench.cost import frontier_cost
from bench.frontier import limits
from bench.frontier.answer import Failure
from bench.frontier.journal import Done, Journal, Sent
from bench.frontier.limits import Budget, RateLimit, retry_after_s, wait_s
from bench.picture_tokens import Crops, Fixed, Patches, Tiles
from bench.prices import SHIPPED, load_prices, model_price
from navigator.contracts.errors import UserError

SOURCE = {"source": "test", "as_of": "2026"}


def test_money_is_set_aside_before_and_settled_after() -> None:
    async def spend() -> tuple[list[str], Budget]:
        budget, log = Budget(1.0), []

        async def request(name: str, costs: float) -> None:
            booking = await budget.book(0.4)
            log.append(f"{name} sent")
            await asyncio.sleep(0.01)
            await budget.pay(booking, costs)

        # 0.4 + 0.4 fit, the third waits until one has cost 0.1; then 0.2 + 0.4 + 0.4 = 1.0 fits.
        await asyncio.gather(request("a", 0.1), request("b", 0.1), request("c", 0.3))
        assert budget.spent == pytest.approx(0.5)
        await request("d", 0.4)
        with pytest.raises(Failure, match=r"budget: not sent: \$0.9 of \$1 is spent, this may cost \$0.4"):
            await budget.book(0.4)
        with pytest.raises(Failure, match="budget"):
            await budget.book(0.01)  # would fit, but a small request must not slip past a large one
        return log, budget

    log, budget = asyncio.run(spend())
    assert log == ["a sent", "b sent", "c sent", "d sent"] and budget.spent <= 1.0 and budget.closed


def test_never_more_than_the_limit_whatever_comes_at_once() -> None:
    chance = random.Random(0)

    async def spend() -> float:
        budget, most = Budget(5.0), 0.0

        async def request() -> None:
            nonlocal most
            upper = chance.uniform(0.1, 0.9)
            try:
                booking = await budget.book(upper)
            except Failure:
                return
            most = max(most, budget.spent + sum(b.usd for b in budget._booked))
            await asyncio.sleep(chance.uniform(0, 0.002))
            await budget.pay(booking, upper * chance.uniform(0.2, 1.0))

        await asyncio.gather(*(request() for _ in range(200)))
        assert budget.spent <= most <= 5.0 + 1e-9 and budget.closed
        return budget.spent

    assert asyncio.run(spend()) > 4.0  # and it is not given up early


def test_a_bill_above_the_booking_makes_later_bookings_larger() -> None:
    async def spend() -> float:
        budget = Budget(10.0)
        await budget.pay(await budget.book(1.0), 3.0)
        return (await budget.book(1.0)).usd

    assert asyncio.run(spend()) == pytest.approx(3.0)


def test_at_most_so_many_requests_and_tokens_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]

    async def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(limits.asyncio, "sleep", sleep)

    async def go() -> tuple[list[float], list[float]]:
        by_count, by_tokens = RateLimit(2, None, lambda: clock[0]), RateLimit(None, 100, lambda: clock[0])
        counted = [(await by_count.take(1)).at for _ in range(2)]
        clock[0] = 140.0  # 40 s later both still count
        counted += [(await by_count.take(1)).at for _ in range(3)]
        clock[0] = 100.0
        first = await by_tokens.take(60)
        first.tokens = 10  # it was less than expected: 80 more fit at once
        return counted, [first.at, *[(await by_tokens.take(t)).at for t in (80, 20, 500, 1)]]

    counted, tokens = asyncio.run(go())
    assert counted == [100, 100, 160, 160, 220]
    assert tokens == [
        100,
        100,
        160,
        220,
        280,
    ]  # 500 alone is more than a minute allows: it goes when nothing else counts


def test_waiting_is_what_was_asked_or_doubles_and_is_drawn() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after_s({"retry-after": "7"}) == 7 and retry_after_s({"retry-after-ms": "250"}) == 0.25
    assert 25 < (retry_after_s({"retry-after": soon}) or 0) <= 30
    assert retry_after_s({}) is None and retry_after_s({"retry-after": "soon"}) is None
    chance = random.Random(0)
    for attempt, longest in ((1, 0.5), (2, 1.0), (5, 8.0), (50, 60.0)):
        drawn = [wait_s(attempt, None, chance) for _ in range(200)]
        assert longest / 2 <= min(drawn) < 0.6 * longest and 0.9 * longest < max(drawn) <= longest
    assert all(7 <= wait_s(1, 7.0, chance) <= 7.7 for _ in range(50))


def test_a_kill_in_flight_counts_at_the_most_and_a_torn_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    sent = [Sent(key="k", attempt=n, at=f"t{n}", usd_at_most=0.5) for n in (1, 2)]
    done = Done(
        key="k", attempt=1, at="t1", query_id="q", model="m", base_url="u", request={}, waited_ms=0, latency_ms=1, status=500,
        headers={}, raw="", error_kind="http-500", error="", usd=0.125, usd_known=True,
    )  # fmt: skip
    lines = [line.model_dump_json() for line in (sent[0], done, sent[1])]
    path.write_text("\n".join(lines) + "\n" + '{"event": "done", "key": "k", "att')
    journal = Journal(path)
    assert journal.spent_usd() == 0.125 + 0.5 and not journal.answered("k")
    with pytest.raises(UserError, match="another run writes"):
        Journal(path)
    journal.close()
    assert path.read_text() == "\n".join(lines) + "\n"
    path.write_text("hello\n")
    with pytest.raises(UserError, match=r"line 1 is no line of a frontier journal"):
        Journal(path)


def test_picture_tokens_as_the_vendors_work_them_out() -> None:
    patches = Patches(rule="patches", size=32, factor=1.2, most=1536, **SOURCE)
    # Measured on gpt-5-mini, community.openai.com/t/1344040.
    sizes = {
        (256, 256): 77,
        (512, 512): 308,
        (768, 1024): 922,
        (1280, 720): 1104,
        (1024, 1024): 1229,
        (2048, 768): 1844,
    }
    assert {size: patches.tokens(*size) for size in sizes} == sizes
    assert patches.tokens(5000, 5000) == 1844
    tiles = Tiles(rule="tiles", base=85, tile=170, **SOURCE)
    # OpenAI's examples; billed sizes of community.openai.com/t/1281361 less 8 tokens of text; never enlarged.
    sizes = {
        (1024, 1024): 765,
        (2048, 4096): 1105,
        (2049, 513): 1445,
        (2050, 513): 765,
        (512, 513): 425,
        (150, 150): 255,
    }
    assert {size: tiles.tokens(*size) for size in sizes} == sizes
    crops = Crops.model_validate({"rule": "crops", "tokens": 258, **SOURCE})
    assert (crops.tokens(384, 384), crops.tokens(385, 100), crops.tokens(960, 540)) == (258, 2 * 258, 6 * 258)
    claude = model_price("claude-haiku-4.5").picture
    assert (claude.tokens(448, 448), claude.tokens(1, 29)) == (16 * 16, 2)
    assert Fixed.model_validate({"rule": "fixed", "tokens": 1120, **SOURCE}).tokens(1, 1) == 1120


def test_the_shipped_prices_say_where_they_come_from() -> None:
    prices = load_prices()
    assert set(prices.default) <= set(prices.models)
    assert all(rule.source and rule.as_of for rule in prices.picture_rules.values())
    # 40 items x (ceil(1.2 x 14 x 14) + 12) + 80 in, 60 out.
    usd, _, tokens = frontier_cost("gpt-5-mini", 20, 20)
    assert tokens == 40 * (236 + 12) + 80 + 60 and usd == pytest.approx((10_000 * 0.25 + 60 * 2) / 1000)


def test_own_price_files_are_checked(tmp_path: Path) -> None:
    path, shipped = tmp_path / "prices.json", json.loads(SHIPPED.read_text())
    own = {"input": 1, "output": 2, "picture": "no-such-rule"}
    broken = {
        "none of the picture_rules": shipped | {"models": {"mine": own}},
        "models.mine.input": shipped | {"models": {"mine": own | {"picture": "gemini-3", "input": -1}}},
        "not readable as JSON": "[",
    }
    for number, (expected, content) in enumerate(broken.items()):
        path = tmp_path / f"{number}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(UserError, match=expected):
            load_prices(path)
    with pytest.raises(UserError, match="does not exist"):
        load_prices(tmp_path / "none.json")
    path = tmp_path / "good.json"
    path.write_text(json.dumps(shipped | {"models": {"mine": own | {"picture": "gemini-3-low"}}, "default": ["mine"]}))
    assert load_prices(path).model("mine").picture.tokens(9, 9) == 280
    with pytest.raises(UserError, match=r"good.json has mine"):
        load_prices(path).model("gpt-5-mini", path)
