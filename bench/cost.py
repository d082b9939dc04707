"""What 1,000 requests cost, and every assumption behind the figure.

Our own systems: machine price an hour / requests an hour of one busy worker. Frontier models: tokens x list price;
picture tokens by the vendor's rule. Prices are dated data (bench/prices.json), not code.
"""

import json
import math
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from navigator.contracts.errors import UserError


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Patches(_Data):
    """OpenAI's small models: tokens = factor x number of size-pixel patches."""

    rule: Literal["patches"]
    size: int
    factor: float

    def tokens(self, px: int) -> int:
        return math.ceil(self.factor * math.ceil(px / self.size) ** 2)


class Area(_Data):
    """Anthropic: tokens = width x height / pixels_per_token."""

    rule: Literal["area"]
    pixels_per_token: int

    def tokens(self, px: int) -> int:
        return math.ceil(px * px / self.pixels_per_token)


class Fixed(_Data):
    """Google, Gemini 3: a fixed budget a picture by media_resolution; 280 is the low setting, the default is 1,120."""

    rule: Literal["fixed"]
    tokens_: int = Field(alias="tokens")

    def tokens(self, px: int) -> int:
        return self.tokens_


class ModelPrice(_Data):
    """US$ per million tokens in and out, and the rule for pictures."""

    input: float
    output: float
    picture: Annotated[Patches | Area | Fixed, Field(discriminator="rule")]


class RequestShape(_Data):
    """What a frontier request is assumed to consist of, beside its pictures."""

    picture_px: int
    text_tokens_per_item: int
    instruction_tokens: int
    answer_tokens_per_candidate: int


class Machine(_Data):
    """A machine's price, US$ an hour."""

    usd_per_hour: float
    what: str


class Prices(_Data):
    """The dated price table."""

    as_of: str
    source: str
    request: RequestShape
    machines: dict[str, Machine]
    default: list[str]
    models: dict[str, ModelPrice]


@cache
def load_prices() -> Prices:
    """The table shipped with the bench."""
    return Prices.model_validate(json.loads(Path(__file__).with_name("prices.json").read_text()))


def model_price(name: str) -> ModelPrice:
    """Raises UserError with the known names for an unknown one."""
    prices = load_prices()
    if name not in prices.models:
        raise UserError(f"no price for frontier model {name!r}; bench/prices.json has {', '.join(prices.models)}")
    return prices.models[name]


def frontier_tokens(price: ModelPrice, n_history: int, n_candidates: int) -> tuple[int, int]:
    """Tokens in and out of one request: a picture and a title an item, an instruction, a ranking as answer."""
    shape = load_prices().request
    per_item = price.picture.tokens(shape.picture_px) + shape.text_tokens_per_item
    return (n_history + n_candidates) * per_item + shape.instruction_tokens, (
        n_candidates * shape.answer_tokens_per_candidate
    )


def frontier_cost(name: str, n_history: int, n_candidates: int) -> tuple[float, list[str], int]:
    """US$ per 1,000 requests to a frontier model, the assumptions behind it, and its tokens a request (in + out)."""
    price, prices = model_price(name), load_prices()
    tokens_in, tokens_out = frontier_tokens(price, n_history, n_candidates)
    usd = (tokens_in * price.input + tokens_out * price.output) / 1e6 * 1000
    shape = prices.request
    assumptions = [
        f"US$ {price.input:g} in / {price.output:g} out per million tokens, {prices.as_of} ({prices.source})",
        f"{n_history} history + {n_candidates} candidate pictures of {shape.picture_px} px at "
        f"{price.picture.tokens(shape.picture_px)} tokens (rule {price.picture.rule!r}), "
        f"{shape.text_tokens_per_item} tokens of title an item, {shape.instruction_tokens} of instruction",
        f"{tokens_out} answer tokens, no reasoning tokens: a lower bound",
    ]
    return usd, assumptions, tokens_in + tokens_out


def usd_per_piece(usd_per_hour: float, per_second: float) -> float:
    """US$ for one request (or item) on a machine that does nothing else, `per_second` of them."""
    return usd_per_hour / 3600 / per_second


def machine_cost(throughput_rps: float | None, machine: Machine) -> tuple[float | None, list[str]]:
    """US$ per 1,000 requests on an own machine and the assumptions; None where no throughput was measured."""
    if not throughput_rps:
        return None, []
    return usd_per_piece(machine.usd_per_hour, throughput_rps) * 1000, [
        f"machine at US$ {machine.usd_per_hour:g} an hour ({machine.what})",
        "one closed-loop worker, busy all the time; no batching, no idle hours",
        "item vectors, graph and index are computed beforehand and not counted here; `navigator-bench cost` counts them",
    ]
