"""The six ways to show a language model the items of one request; what is read beside the items is the same for all.

native            the stock model: pictures pass its vision tower inside the request
native-features   the tower's outputs were computed before; the language model reads as many tokens
native-224        the stock model, pictures of 224 pixels
swapped-4         item vectors through the swap's item tower, 4 tokens an item
swapped           one token an item
swapped-prefix    the same, and keys and values of the first words and the history are kept from an earlier request
"""

from dataclasses import dataclass
from typing import Literal

from bench.speed.options import PIXELS_A_TOKEN, SMALL_SIDE, Point

Shown = Literal["pixels", "features", "vectors"]


@dataclass(frozen=True)
class Way:
    """How items enter.

    Attributes:
        letter: as the issue and the tables name it.
        shows: what the tower's place reads.
        side: of the pictures, None for the request's.
        k: tokens an item, of item vectors.
        keeps: whether the history's keys and values are kept.
    """

    name: str
    letter: str
    shows: Shown
    side: int | None = None
    k: int = 0
    keeps: bool = False

    def side_at(self, point: Point) -> int | None:
        """Side of the pictures; None where there are none."""
        return None if self.shows == "vectors" else self.side or point.side

    def tokens_an_item(self, point: Point) -> int:
        """Of the tower, without the two words that the stock template puts around a picture."""
        side = self.side_at(point)
        return self.k if side is None else (side // PIXELS_A_TOKEN) ** 2

    def frame(self) -> int:
        """Words around an item."""
        return 0 if self.shows == "vectors" else 2

    def kept(self, point: Point) -> int:
        """Tokens whose keys and values an earlier request has left."""
        return point.before + point.history * self.tokens_an_item(point) if self.keeps else 0

    def read(self, point: Point) -> int:
        """Tokens that the language model reads in the request."""
        whole = point.text + point.items * (self.tokens_an_item(point) + self.frame())
        return whole - self.kept(point)

    def shown(self, point: Point) -> int:
        """Items that pass the tower's place in the request."""
        return point.candidates if self.keeps else point.items


WAYS = {
    way.name: way
    for way in (
        Way("native", "a", "pixels"),
        Way("native-features", "b", "features"),
        Way("native-224", "c", "pixels", side=SMALL_SIDE),
        Way("swapped-4", "d", "vectors", k=4),
        Way("swapped", "e", "vectors", k=1),
        Way("swapped-prefix", "f", "vectors", k=1, keeps=True),
    )
}
