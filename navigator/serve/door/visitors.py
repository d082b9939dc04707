"""Who asks: the key of a request, whether it opens the path, and whether its holder asked too often."""

import logging
from collections.abc import Callable

from navigator.contracts import UserError
from navigator.refusal import Refusal
from navigator.serve.door.headers import Headers, one
from navigator.serve.door.keys import Key, KeyRing, utc_now
from navigator.serve.door.limiter import Buckets, neighbourhood
from navigator.serve.door.options import DoorOptions
from navigator.serve.door.places import Place

log = logging.getLogger(__name__)

UNREADABLE = "the server cannot read its keys; its owner finds the reason in its log"


class KeyRefused(Refusal):
    """A key was shown and opened nothing; belongs in the audit log.

    Args:
        who: name of the key, None if there is no such key.
    """

    def __init__(self, status: int, code: str, message: str, who: str | None):
        super().__init__(status, code, message)
        self.who = who


class Visitors:
    """Keys and limits of everybody who asks.

    Attributes:
        unwritten: refused keys that were turned away with 429 since the last KeyRefused.
    """

    def __init__(self, options: DoorOptions, clock: Callable[[], float]):
        self._options, self._clock = options, clock
        self._ring = None if options.keys is None else KeyRing(options.keys)
        self._by_key, self._by_address, self._refused = (Buckets(options.addresses) for _ in range(3))
        self.unwritten = 0

    def admit(self, headers: Headers, place: Place, address: str) -> Key | None:
        """The key that opens `place`; None where none is needed.

        Raises:
            KeyRefused: 401 or 403, for the audit log.
            Refusal: 401 without a key, 429 too often, 503 the keys file broke.
        """
        given = one(headers, "authorization") if self._ring and place.needs != "nothing" else None
        if given is None:
            self._pace(self._by_address, address, self._options.per_minute, self._options.burst, place.cost)
            if self._ring and place.needs != "nothing":
                raise Refusal(401, "no_key", "the server wants an API key: send Authorization: Bearer nav_...")
            return None
        try:
            key = self._judged(given, place)
        except KeyRefused:
            try:
                self._pace(self._refused, address, self._options.refused_per_minute, self._options.refused_per_minute)
            except Refusal:
                self.unwritten += 1
                raise
            raise
        self._pace(self._by_key, key.name, key.per_minute, key.burst, place.cost)
        return key

    def stands(self, key: Key) -> bool:
        """Whether a key that was let in is still good; asked while its answer streams."""
        try:
            return self._ring is not None and self._ring.stands(key)
        except UserError as error:
            log.error("%s", error)
            return False

    def _judged(self, given: str, place: Place) -> Key:
        kind, _, secret = given.partition(" ")
        try:
            key = self._ring.find(secret) if self._ring else None
        except UserError as error:
            log.error("%s", error)
            raise Refusal(503, "keys_unreadable", UNREADABLE, retry_after_s=10) from error
        if key is None or kind.lower() != "bearer":
            raise KeyRefused(401, "wrong_key", "no such API key; send Authorization: Bearer nav_...", None)
        state = key.state(utc_now())
        if state != "good":
            raise KeyRefused(401, f"key_{state}", f"the API key {key.name} is {state}; ask for a new one", key.name)
        if place.needs not in ("any", *key.scopes):
            has = ", ".join(key.scopes)
            message = f"the API key {key.name} opens {has}; this path needs {place.needs}"
            raise KeyRefused(403, "wrong_scope", message, key.name)
        return key

    def _pace(self, buckets: Buckets, name: str, per_minute: float, burst: float, cost: float = 1.0) -> None:
        name = neighbourhood(name) if buckets is not self._by_key else name
        wait = buckets.take(name, per_minute, max(burst, 1.0), cost, self._clock())
        if wait:
            raise Refusal(429, "too_often", f"{per_minute:g} requests a minute are allowed", retry_after_s=wait)
