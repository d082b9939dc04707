"""What the report of `navigator-bench language` holds: report.json, versioned, every figure with its interval.

    report.json        a LanguageReport
    per_text.parquet   one row a model, set and text: nats, tokens and bytes, of which every figure is made

What was not measured is absent or null, never 0.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from bench.encoder.figures import Figure
from navigator.contracts.report import Provenance

SCHEMA_VERSION: Literal[1] = 1
DESCRIBED, SHUFFLED, PLAIN = "described", "shuffled", "plain"


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HeldOut(_Row):
    """The items that training's describe task never shows, and which of them are asked.

    Attributes:
        items: held out by id.
        without_text, text_seen, repeated: of these, left out because they have no text, share it with an item that is
            trained on, or share it with one that is asked already.
        asked: the seeded choice of what is left.
    """

    items: int
    without_text: int
    text_seen: int
    repeated: int
    asked: int


class TextSet(_Row):
    """One model on one set of texts: described (item shown), shuffled (another item shown) or plain.

    Attributes:
        tokens, bytes: asked for, over all texts.
        nats_per_token: total cross-entropy / total tokens.
        perplexity: its exponential.
        bits_per_byte: total cross-entropy in bits / total bytes, which does not depend on the tokenizer.
        versus_first: nats per token, this model minus the first, text by text; null for the first itself and where the
            two tokenizers cut a text differently.
    """

    texts: int
    tokens: int
    bytes: int
    nats_per_token: Figure
    perplexity: Figure
    bits_per_byte: Figure
    versus_first: Figure | None = None


class ModelRow(_Row):
    """A model that took part.

    Attributes:
        kind: "swapped", or "stock" (the backbone before the swap; it reads plain text alone).
        runs: how many models of this recipe (NAME@0, NAME@1, ...) the figures are means of, text by text.
        sets: set -> figures.
        item_tells: nats per token that the right item saves against another one (shuffled - described), text by text.
        by_run: set -> the perplexity of every run, where there are several.
        seconds: of scoring and writing, without loading.
    """

    source: str
    fingerprint: str
    kind: Literal["swapped", "stock"]
    runs: int = 1
    sets: dict[str, TextSet]
    item_tells: Figure | None = None
    by_run: dict[str, list[float]] | None = None
    seconds: float


class Continuation(_Row):
    """What each model writes, greedily, after the prompt of one held-out item."""

    item_id: str
    text: str
    written: dict[str, str]


class LanguageReport(Provenance):
    """A whole run: models on the same texts."""

    schema_version: Literal[1] = SCHEMA_VERSION
    n_items: int
    held_out: HeldOut
    models: dict[str, ModelRow]
    continuations: list[Continuation]
