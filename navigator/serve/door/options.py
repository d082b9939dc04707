"""What the door lets in: every limit in one frozen record, checked when it is set."""

import math
from dataclasses import dataclass
from pathlib import Path

from navigator.contracts import UserError

MIB = 2**20


@dataclass(frozen=True)
class DoorOptions:
    """Attributes:
    host: address that the server is bound to; only loopback may do without keys.
    hosts: further names, with their port if it is not the scheme's own, under which people reach the server, such as
        those of a proxy before it. Requests for other names are refused where the server is bound to loopback or a name
        is given, and a page is trusted to post only from these and from the host it calls.
    keys: file of `navigator keys`; without one nobody is asked for a key.
    insecure: serve other computers without keys all the same.
    audit: log of admin calls and refused keys; KEYS.audit.jsonl beside the keys by default, and without keys
        serve.audit.jsonl in the folder where the server was started.
    per_minute: requests a minute of one address that comes without a key (keys have limits of their own); 0 is no
        limit. Pictures of items and files of the page count a tenth.
    burst: requests that such an address may make at once after a rest.
    refused_per_minute: wrong, revoked and powerless keys of one address a minute that are looked at and written to the
        audit log, and how many at once; more are turned away with 429 and only counted.
    addresses: addresses whose limits are remembered; beyond them the one not seen for longest is forgotten.
    body_bytes: largest body of a request, counted as it arrives.
    bodies_bytes: bytes of all bodies that are held at one time; 503 beyond them.
    body_timeout_s: seconds in which a body has to arrive.
    picture_bytes: largest picture file in a data URL, decoded from base64.
    picture_side: longest side of a picture in pixels.
    picture_pixels: most pixels of a picture (a picture of 25 million is up to 100 MB in memory).
    """

    host: str = "127.0.0.1"
    hosts: tuple[str, ...] = ()
    keys: Path | None = None
    insecure: bool = False
    audit: Path | None = None
    per_minute: float = 600.0
    burst: int = 100
    refused_per_minute: float = 10.0
    addresses: int = 10_000
    body_bytes: int = 16 * MIB
    bodies_bytes: int = 512 * MIB
    body_timeout_s: float = 20.0
    picture_bytes: int = 8 * MIB
    picture_side: int = 10_000
    picture_pixels: int = 25_000_000

    def __post_init__(self):
        for name in ("burst", "addresses", "body_bytes", "picture_bytes", "picture_side", "picture_pixels"):
            _at_least(name, getattr(self, name), 1)
        for name in ("refused_per_minute", "body_timeout_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UserError(f"{name} is {getattr(self, name)}; allowed are numbers above 0")
        if not (math.isfinite(self.per_minute) and self.per_minute >= 0):
            raise UserError(f"per_minute is {self.per_minute}; allowed are 0 (no limit) and more")
        _at_least("bodies_bytes", self.bodies_bytes, self.body_bytes)


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise UserError(f"{name} is {value}; allowed are {least} and more")
