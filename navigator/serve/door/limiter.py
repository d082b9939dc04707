"""How often somebody may ask: a token bucket each, in bounded memory."""

import ipaddress
from collections import OrderedDict


class Buckets:
    """Token buckets by name; at most `most` are remembered.

    A name that is forgotten starts with a full bucket again. Names are forgotten in the order in which they were last
    seen, so it takes `most` other addresses at once to be forgotten early, and then the limit is theirs together.
    """

    def __init__(self, most: int):
        self._most = most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name -> (tokens, when in seconds)

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, name: str, per_minute: float, burst: float, cost: float, now: float) -> float:
        """Take `cost` tokens; seconds until there are enough, 0.0 if they were taken.

        Args:
            name: whose bucket.
            per_minute: tokens that it gains a minute; 0 is no limit.
            burst: tokens that it holds at most.
            cost: tokens of this request.
            now: seconds of a clock that never goes back.
        """
        if not per_minute or not cost:
            return 0.0
        tokens, since = self._levels.pop(name, (burst, now))
        tokens = min(burst, tokens + (now - since) * per_minute / 60)
        wait = max(0.0, (cost - tokens) * 60 / per_minute)
        self._levels[name] = (tokens if wait else tokens - cost, now)
        while len(self._levels) > self._most:
            self._levels.popitem(last=False)
        return wait


def neighbourhood(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one IPv6 subscriber has to himself."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]  # a socket without an address, or a test's
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
