"""One request for recommendations, as every caller of navigator.pipeline words it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ask:
    """What is asked for.

    Attributes:
        history: item ids, oldest first; empty for a request in words or by a picture alone.
        k: how many items are wanted; fewer come back where fewer are left.
        title: what the model reads beside the history: a board's title, or words that are asked for.
        query: (D,) the model's own query, where it was read already (of a chat); None: it is read of history and title.
        text: words whose nearest items, by the encoder, are a source.
        picture: (E,) a unit vector of the encoder, of a picture whose nearest items are a source.
        exclude: item ids that must not be recommended.
        include_seen: whether items of the history may be recommended again.
        keyword: only items that carry this keyword.
        board: only items of this board.
        session: whose request it is; what the model has read of them is kept, and not read again when they come back with
            more (navigator.prefix). One thread at a time may ask with a session.
    """

    history: Sequence[str] = ()
    k: int = 10
    title: str = ""
    text: str = ""
    picture: np.ndarray | None = None
    exclude: Collection[str] = ()
    include_seen: bool = False
    keyword: str | None = None
    board: str | None = None
    session: str | None = None
    query: np.ndarray | None = None
