"""What every path of the server needs: nothing, any good key, or a key with a scope. What is not listed is not served."""

from dataclasses import dataclass
from typing import Literal

from navigator.refusal import Refusal
from navigator.serve.door.keys import Scope

ADMIN = "/v1/admin/"


@dataclass(frozen=True)
class Place:
    """Attributes:
    needs: scope of the key; "any" a good key, "nothing" none.
    cost: requests that a visit counts as.
    """

    needs: Scope | Literal["any", "nothing"]
    cost: float = 1.0


PATHS: dict[str, Place] = {
    "/": Place("nothing", 0.1),
    "/favicon.ico": Place("nothing", 0.1),
    "/healthz": Place("nothing", 0.0),
    "/readyz": Place("nothing", 0.0),
    "/openapi.json": Place("nothing", 0.1),
    "/metrics": Place("admin"),
    "/v1/models": Place("any"),
    "/v1/release": Place("any"),
    "/v1/search": Place("search"),
    "/v1/recommend": Place("search"),
    "/v1/rank": Place("search"),
    "/v1/embeddings": Place("search"),
    "/v1/compare": Place("search"),
    "/v1/boards": Place("search"),
    "/v1/chat/completions": Place("chat"),
    "/v1/events": Place("events"),
}
FOLDERS: dict[str, Place] = {
    "/static/": Place("nothing", 0.1),
    "/v1/items/": Place("search"),
    "/v1/boards/": Place("search"),
    "/v1/models/": Place("any"),
    ADMIN: Place("admin"),
}
PICTURE = Place("search", 0.1)  # a page shows dozens


def place_of(path: str) -> Place:
    """What `path`, decoded once as the router sees it, needs.

    The path is compared as it is: no case is folded, no slash added, nothing is resolved, and what somebody further on
    might resolve is refused. So the door and the router cannot disagree about where a request goes.

    Raises:
        Refusal: 400 for dots, double slashes, backslashes and control characters; 404 for a path that is not served.
    """
    odd = "//" in path or "\\" in path or any(ord(letter) < 32 or ord(letter) == 127 for letter in path)
    if odd or any(part in (".", "..") for part in path.split("/")):
        raise Refusal(400, "bad_path", "the path has dot segments, double slashes, backslashes or control characters")
    if path in PATHS:
        return PATHS[path]
    if path.startswith("/v1/items/") and path.endswith("/picture"):
        return PICTURE
    for folder, place in FOLDERS.items():
        if path.startswith(folder) and len(path) > len(folder):
            return place
    raise Refusal(404, "no_such_path", "the server has no such path; GET /openapi.json lists them")
