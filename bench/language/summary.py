"""Figures of every model, all from the same resamples of texts."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from bench.encoder.figures import Figure
from bench.encoder.intervals import ratio
from bench.encoder.seeds import recipes
from bench.language.figures import DESCRIBED, SHUFFLED, ModelRow, TextSet
from navigator.contracts import UserError
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
    """Recipe -> its row, the mean of its runs text by text; the first is what the others are compared with.

    Raises:
        UserError: runs of one recipe whose tokenizers differ.
    """
    rows, first = {}, None
    for name, names in recipes(measured).items():
        runs = [measured[run] for run in names]
        scores = {which: _mean_over_runs(name, [run.scores[which] for run in runs]) for which in runs[0].scores}
        sets = {which: text_set(own, first[which] if first else None, seed) for which, own in scores.items()}
        tells = difference(scores[SHUFFLED], scores[DESCRIBED], seed) if SHUFFLED in scores else None
        by_run = {which: [run.scores[which].perplexity for run in runs] for which in scores} if len(runs) > 1 else None
        rows[name] = ModelRow(
            source=", ".join(run.source for run in runs), fingerprint=", ".join(run.fingerprint for run in runs),
            kind=runs[0].kind, runs=len(runs), sets=sets, item_tells=tells, by_run=by_run,
            seconds=round(sum(run.seconds for run in runs), 2),
        )  # fmt: skip
        first = first or scores
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


def _mean_over_runs(name: str, runs: list[Scores]) -> Scores:
    if any(not np.array_equal(run.tokens, runs[0].tokens) for run in runs):
        raise UserError(
            f"the runs of {name} cut texts into different tokens; give models of one backbone the same name"
        )
    return replace(runs[0], nats=np.mean([run.nats for run in runs], axis=0))


def _ratio(part: np.ndarray, whole: np.ndarray, seed: int) -> Figure:
    found = ratio(part, whole, None, seed)
    assert found is not None  # no text is empty
    return found


def _exponential(figure: Figure) -> Figure:
    ends = figure.ci95
    return Figure(mean=math.exp(figure.mean), ci95=None if ends is None else (math.exp(ends[0]), math.exp(ends[1])))
