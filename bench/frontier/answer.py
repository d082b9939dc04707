"""What a hosted model answered, read strictly: a list of distinct candidate numbers as JSON, or a failure that says why.

Nothing is repaired: JSON inside a code fence, a number twice or one too high is an answer that a product could not use, and
counts as one. A list that leaves candidates out is usable (they follow in the order that content gave them) and is counted.
"""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from bench.systems.base import RequestError


class Ranking(BaseModel):
    """The only answer that counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ranking: list[StrictInt] = Field(min_length=1)


JSON_SCHEMA: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "ranking",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"ranking": {"type": "array", "items": {"type": "integer"}}},
            "required": ["ranking"],
            "additionalProperties": False,
        },
    },
}


class Failure(RequestError):
    """A request without a usable ranking; `kind` is of a fixed vocabulary, so that errors can be counted."""

    def __init__(self, kind: str, message: str):
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Message(_Lenient):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Lenient):
    message: _Message
    finish_reason: str | None = None


class _Completion(_Lenient):
    choices: list[_Choice] = Field(min_length=1)


class _InputDetails(_Lenient):
    cached_tokens: int | None = None


class _OutputDetails(_Lenient):
    reasoning_tokens: int | None = None


class Usage(_Lenient):
    """What the endpoint says it counted."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    total_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None

    @property
    def output_tokens(self) -> int:
        """Everything that is not input: some endpoints leave thinking out of completion_tokens, but not out of the total."""
        return max(self.completion_tokens, (self.total_tokens or 0) - self.prompt_tokens)

    @property
    def reasoning_tokens(self) -> int | None:
        return self.completion_tokens_details and self.completion_tokens_details.reasoning_tokens

    @property
    def cached_tokens(self) -> int | None:
        return self.prompt_tokens_details and self.prompt_tokens_details.cached_tokens


def read_usage(raw: str) -> Usage | None:
    """The usage block of a response's text; None where there is none that can be read."""
    try:
        return Usage.model_validate(json.loads(raw)["usage"])
    except (ValueError, TypeError, KeyError):  # pydantic's ValidationError is a ValueError
        return None


def read_ranking(raw: str, n_candidates: int) -> list[int]:
    """The response's text -> positions of candidates from 0, best first, distinct, at least one.

    Raises:
        Failure: of kind malformed-response, content-filter, refusal, cut-off, empty, not-json, wrong-schema or
            not-a-ranking.
    """
    try:
        choice = _Completion.model_validate_json(raw).choices[0]
    except ValidationError as error:
        raise Failure("malformed-response", f"no chat completion ({_first(error)})") from error
    if choice.message.refusal:
        raise Failure("refusal", _short(choice.message.refusal))
    if choice.finish_reason == "content_filter":
        raise Failure("content-filter", "the endpoint withheld the answer")
    if choice.finish_reason == "length":
        raise Failure("cut-off", "the answer reached its most tokens; raise --max_output_tokens")
    if not (choice.message.content or "").strip():
        raise Failure("empty", "the answer has no text")
    return _numbers(choice.message.content or "", n_candidates)


def _numbers(text: str, n_candidates: int) -> list[int]:
    try:
        answer = Ranking.model_validate_json(text)
    except ValidationError as error:
        kind = "not-json" if error.errors()[0]["type"] == "json_invalid" else "wrong-schema"
        raise Failure(kind, f"{_first(error)}: {_short(text)}") from error
    outside = next((n for n in answer.ranking if not 1 <= n <= n_candidates), None)
    if outside is not None:
        raise Failure("not-a-ranking", f"names {outside}, candidates are 1 to {n_candidates}")
    repeated = next((n for n in answer.ranking if answer.ranking.count(n) > 1), None)
    if repeated is not None:
        raise Failure("not-a-ranking", f"names {repeated} more than once")
    return [n - 1 for n in answer.ranking]


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:80] + "...")
