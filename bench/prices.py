"""The price file: dated data with its sources, never code. bench/prices.json is the one shipped; a team can give its own.

as_of, source            of the prices of models, where a model does not say its own
request, machines        what a frontier request is assumed to hold, and what machines cost
default                  models that are priced when none is named
picture_rules            name -> a rule of bench/picture_tokens.py with its source and date
models                   name -> US$ per million tokens in and out, and its picture rule (a name, or a rule written out)
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.picture_tokens import PictureRule
from navigator.contracts.errors import UserError

SHIPPED = Path(__file__).with_name("prices.json")


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelPrice(_Data):
    """US$ per million tokens in and out, and the rule for pictures; source and date where they differ from the file's."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    picture: PictureRule
    source: str | None = None
    as_of: str | None = None

    def usd(self, tokens_in: int, tokens_out: int) -> float:
        """The price of one request; nothing is discounted for caching or batches."""
        return (tokens_in * self.input + tokens_out * self.output) / 1e6


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
    """A price file."""

    as_of: str
    source: str
    request: RequestShape
    machines: dict[str, Machine]
    default: list[str]
    picture_rules: dict[str, PictureRule]
    models: dict[str, ModelPrice]

    @model_validator(mode="before")
    @classmethod
    def _rules_by_name(cls, raw: Any) -> Any:
        """Put the rule where a model names one."""
        rules, models = raw.get("picture_rules", {}), raw.get("models", {})
        named = {name: own["picture"] for name, own in models.items() if isinstance(own.get("picture"), str)}
        unknown = next((f"model {name} names {rule!r}" for name, rule in named.items() if rule not in rules), None)
        if unknown is not None:
            raise ValueError(f"{unknown}, which is none of the picture_rules {', '.join(rules)}")
        return raw | {"models": models | {n: models[n] | {"picture": rules[rule]} for n, rule in named.items()}}

    def words(self, price: ModelPrice) -> str:
        """A price, its date and its source."""
        dated = f"{price.as_of or self.as_of} ({price.source or self.source})"
        return f"US$ {price.input:g} in / {price.output:g} out per million tokens, {dated}"

    def model(self, name: str, path: Path = SHIPPED) -> ModelPrice:
        """Raises UserError with the known names for an unknown one; `path` is named as the file that lacks it."""
        if name not in self.models:
            where = "bench/prices.json" if path == SHIPPED else str(path)
            raise UserError(f"no price for frontier model {name!r}; {where} has {', '.join(self.models)}")
        return self.models[name]


@cache
def load_prices(path: Path = SHIPPED) -> Prices:
    """Read a price file.

    Raises:
        UserError: missing, or not such a file; the message names the first wrong entry.
    """
    try:
        return Prices.model_validate(json.loads(path.read_text()))
    except FileNotFoundError as error:
        raise UserError(f"price file {path} does not exist; copy bench/prices.json and change the copy") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(f"price file {path}: {where}: {first['msg']}; bench/prices.json shows the form") from error
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise UserError(
            f"price file {path} is not readable as JSON of that form ({type(error).__name__}: {error}); "
            "bench/prices.json shows the form"
        ) from error


def model_price(name: str) -> ModelPrice:
    """A price of the shipped file. Raises UserError with the known names for an unknown one."""
    return load_prices().model(name)
