"""Figures of every model, all from the same resamples of texts."""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bench.encoder.figures import Figure
from bench.encoder.intervals import ratio
from bench.language.figures import DESCRIBED, SHUFFLED, ModelRow, TextSet
from navigator.perplexity import Scores


@dataclass(frozen=True)
class Measured:
    """One model: set -> scores of its texts, item id -> what it wrote."""

    source: str
    fingerprint: str
    kind: Literal["swapped", "stock"]
    scores: dict[str, Scores]
    seconds: float
    written: dict[str, str] = field(default_factory=dict)


def model_rows(measured: dict[str, Measured], seed: int) -> dict[str, ModelRow]:
    """Model -> its row; the first is what the others are compared with."""
    first, rows = next(iter(measured)), {}
    for name, own in measured.items():
        against = None if name == first else measured[first]
        sets = {
            which: text_set(scores, against.scores.get(which) if against else None, seed)
            for which, scores in own.scores.items()
        }
        tells = None
        if SHUFFLED in own.scores:
            tells = difference(own.scores[SHUFFLED], own.scores[DESCRIBED], seed)
        rows[name] = ModelRow(
            source=own.source, fingerprint=own.fingerprint, kind=own.kind, sets=sets, item_tells=tells,
            seconds=round(own.seconds, 2),
        )  # fmt: skip
    return rows


def text_set(scores: Scores, first: Scores | None, seed: int) -> TextSet:
    """Figures of one model on one set, paired with `first` where there is one."""
    each = _ratio(scores.nats, scores.tokens, seed)
    return TextSet(
        texts=len(scores.nats), tokens=int(scores.tokens.sum()), bytes=int(scores.bytes.sum()), nats_per_token=each,
        perplexity=_exponential(each), bits_per_byte=_ratio(scores.nats / math.log(2), scores.bytes, seed),
        versus_first=None if first is None else difference(scores, first, seed),
    )  # fmt: skip


def difference(scores: Scores, other: Scores, seed: int) -> Figure | None:
    """Nats per token, `scores` minus `other`, text by text; None where the two did not ask the same tokens."""
    if not np.array_equal(scores.tokens, other.tokens):
        return None
    return _ratio(scores.nats - other.nats, scores.tokens, seed)


def _ratio(part: np.ndarray, whole: np.ndarray, seed: int) -> Figure:
    found = ratio(part, whole, None, seed)
    assert found is not None  # no text is empty
    return found


def _exponential(figure: Figure) -> Figure:
    ends = figure.ci95
    return Figure(mean=math.exp(figure.mean), ci95=None if ends is None else (math.exp(ends[0]), math.exp(ends[1])))
