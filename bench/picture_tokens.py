"""How many tokens a vendor charges for a picture of a size: the published rules, whose numbers stand in the price file.

Each rule of a price file says where its numbers come from and as of when; what was measured on an endpoint overrides what
a page says. `tokens(width, height)` is of the picture as it is sent.
"""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    as_of: str

    def words(self) -> str:
        """The rule's name and numbers, its date and its source."""
        told = self.model_dump(by_alias=True, exclude={"source", "as_of"}, exclude_none=True)
        name = told.pop("rule")
        return f"rule {name} ({', '.join(f'{key} {value:g}' for key, value in told.items())}), {self.as_of} ({self.source})"


class Patches(_Rule):
    """Tokens = factor x size-pixel patches that cover the picture, at most factor x `most`.

    OpenAI's patch models (size 32) and Claude (size 28, factor 1). A picture of more patches is shrunk by the vendor until
    it has at most `most`; what is left after rounding is up to 6 % less by OpenAI's guide, but the cap is what was billed.
    """

    rule: Literal["patches"]
    size: int = Field(gt=0)
    factor: float = Field(gt=0)
    most: int | None = None

    def tokens(self, width: int, height: int) -> int:
        patches = math.ceil(width / self.size) * math.ceil(height / self.size)
        return math.ceil(self.factor * min(patches, self.most or patches))


class Tiles(_Rule):
    """OpenAI's tile models at detail high: base + tile x number of 512-pixel tiles.

    The picture is first shrunk into 2048 x 2048, then until its shorter side is at most 768, and is never enlarged; sides
    are rounded to whole pixels before the tiles are counted.
    """

    rule: Literal["tiles"]
    base: int = Field(ge=0)
    tile: int = Field(gt=0)

    def tokens(self, width: int, height: int) -> int:
        shrink = min(1.0, 2048 / max(width, height))
        shrink *= min(1.0, 768 / (min(width, height) * shrink))
        return self.base + self.tile * math.prod(math.ceil(round(side * shrink) / 512) for side in (width, height))


class Crops(_Rule):
    """Google, up to Gemini 2.5: `tokens` a picture whose sides are at most `whole` pixels, else so many a crop.

    A crop's side is the shorter side / 1.5, at least 256 and at most 768 pixels.
    """

    rule: Literal["crops"]
    each: int = Field(alias="tokens", gt=0)
    whole: int = 384

    def tokens(self, width: int, height: int) -> int:
        if max(width, height) <= self.whole:
            return self.each
        side = min(max(math.floor(min(width, height) / 1.5), 256), 768)
        return self.each * math.ceil(width / side) * math.ceil(height / side)


class Area(_Rule):
    """Tokens = width x height / pixels_per_token."""

    rule: Literal["area"]
    pixels_per_token: int = Field(gt=0)

    def tokens(self, width: int, height: int) -> int:
        return math.ceil(width * height / self.pixels_per_token)


class Fixed(_Rule):
    """The same number of tokens for every picture."""

    rule: Literal["fixed"]
    each: int = Field(alias="tokens", ge=0)

    def tokens(self, width: int, height: int) -> int:
        return self.each


PictureRule = Annotated[Patches | Tiles | Crops | Area | Fixed, Field(discriminator="rule")]
