"""How often somebody may ask, and that the memory of it is bounded."""

import asyncio
from pathlib import Path

from door_worlds import Echo, ask, bearer, open_door, talk
from navigator.serve.door.commands import create_key
from navigator.serve.door.limiter import Buckets, neighbourhood
from navigator.serve.door.middleware import Door
from navigator.serve.door.options import DoorOptions


def test_a_bucket_empties_and_fills():
    buckets = Buckets(10)
    assert [buckets.take("a", 60, 2, 1, 0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert buckets.take("b", 60, 2, 1, 0.0) == 0.0
    assert buckets.take("a", 60, 2, 1, 0.5) == 0.5  # a refused request costs nothing
    assert [buckets.take("a", 60, 2, 1, now) for now in (1.0, 100.0, 100.0)] == [0.0, 0.0, 0.0]
    assert buckets.take("a", 60, 2, 1, 100.0) == 1.0  # a long rest fills it to the brim and no further
    assert [buckets.take("c", 0, 2, 1, 0.0) for _ in range(9)] == [0.0] * 9


def test_who_asks_too_often_is_told_when_to_come_back():
    now = [0.0]
    door, _ = open_door(clock=lambda: now[0], per_minute=6, burst=2)
    assert [ask(door, "/v1/search").status for _ in range(3)] == [200, 200, 429]
    answer = ask(door, "/v1/search")
    assert answer.error == "too_often" and 10 <= int(answer.headers["retry-after"]) <= 11
    assert ask(door, "/v1/search", client="10.0.0.1").status == 200
    assert ask(door, "/healthz").status == 200
    now[0] = 10.0
    assert [ask(door, "/v1/items/a/picture").status for _ in range(11)] == [200] * 10 + [429]
    assert all(ask(open_door(per_minute=0, burst=1)[0], "/v1/search").status == 200 for _ in range(5))


def test_every_key_has_its_own_limit(tmp_path: Path):
    path = tmp_path / "keys.json"
    slow, quick = (bearer(create_key(path, f"k{n}", ["search"], per_minute=6, burst=n)["key"]) for n in (1, 3))
    now = [0.0]
    door = Door(Echo(), DoorOptions(keys=path, burst=1), clock=lambda: now[0])
    assert [ask(door, "/v1/search", headers=slow).status for _ in range(2)] == [200, 429]
    assert [ask(door, "/v1/search", headers=quick).status for _ in range(4)] == [200, 200, 200, 429]
    assert ask(door, "/v1/search", headers=slow, client="10.0.0.1").error == "too_often"  # wherever it is used
    now[0] = 10.0
    assert ask(door, "/v1/search", headers=slow).status == 200


def test_ten_thousand_addresses_take_bounded_room():
    door, _ = open_door(addresses=100, per_minute=60, burst=1)

    async def flood() -> list[int]:
        addresses = [f"10.{n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(10_000)]
        answers = [
            await talk(door, "/v1/search", client=address) for address in [*addresses, addresses[-1], addresses[0]]
        ]
        return [answer.status for answer in answers if answer]

    statuses = asyncio.run(flood())
    assert statuses[:10_000] == [200] * 10_000
    assert statuses[10_000:] == [429, 200]  # the last one is remembered, the first one was forgotten
    assert len(door._visitors._by_address) == 100


def test_an_ipv6_subscriber_is_one_address():
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff:1") != neighbourhood("2001:db8:0:1::1")
    assert neighbourhood("::ffff:10.0.0.1") == neighbourhood("10.0.0.1") != neighbourhood("10.0.0.2")
    assert neighbourhood("fe80::1%eth0") == "fe80::/64" and neighbourhood("local") == "local"
