"""Pictures of requests as vectors; what is wrong with one is an exception in its place."""

from collections.abc import Sequence

import numpy as np

from encoders.load import Encoder
from encoders.pictures import UnreadablePictureError
from navigator.contracts.vectors import normalise
from navigator.refusal import Refusal

Read = np.ndarray | Exception | None


def read_pictures(encoder: Encoder | None, content_dim: int, pictures: Sequence[bytes | None]) -> list[Read]:
    """(E,) unit vector of each picture in the content space; None where there is none, a Refusal where it cannot be read."""
    given = [picture for picture in pictures if picture is not None]
    read = iter(_read(encoder, content_dim, given))
    return [None if picture is None else next(read) for picture in pictures]


def _read(encoder: Encoder | None, content_dim: int, pictures: Sequence[bytes]) -> list[np.ndarray | Exception]:
    if not pictures or encoder is None:
        return [no_encoder("image") for _ in pictures]
    try:
        vectors = encoder.encode_pictures(list(pictures))
    except UnreadablePictureError as error:
        if len(pictures) > 1:
            return [_read(encoder, content_dim, [picture])[0] for picture in pictures]
        return [Refusal(400, "unreadable_picture", f"the picture cannot be read: {error}", "image")]
    return list(normalise(vectors[:, :content_dim]))


def stacked(vectors: Sequence[Read]) -> np.ndarray:
    """(n, E); raises the first exception among them."""
    for vector in vectors:
        if isinstance(vector, Exception):
            raise vector
    return np.stack([vector for vector in vectors if isinstance(vector, np.ndarray)])


def no_encoder(param: str) -> Refusal:
    return Refusal(400, "no_encoder", "this server was started without an encoder; ask by item ids", param)
