"""Ask one encoder everything: per-query values, of which all figures are means."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from bench.encoder.figures import Task
from bench.encoder.questions import BoardQuestions, Questions
from bench.encoder.rank import board_figures, mate_figures, purity, text_figures
from bench.encoder.store import BOARDS, CAPTIONS, PICTURE, TEXT, PartStore
from encoders.fusion import GatedFusion
from navigator.contracts.vectors import normalise

LAST = 20  # items of a history that make the query, as the content system of `navigator-bench run` has it
PRECISIONS = ("float32", "float16", "int8")
MODALITIES = ("both", "picture", "text")
Values = dict[str, np.ndarray]
Shrinker = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Key:
    """Which question was answered with which vectors; `dims` 0 stands for all of them."""

    task: Task
    scope: str
    modality: str
    dims: int = 0
    precision: str = "float32"


@dataclass(frozen=True)
class Contender:
    """One row of the report.

    Attributes:
        name: in the report.
        store: its part vectors.
        gate: learned fusion, None for fixed weights.
        picture_weight: read without a gate.
        titles: whether board titles are a part of its item vectors.
    """

    name: str
    store: PartStore
    gate: GatedFusion | None
    picture_weight: float
    titles: bool

    def vectors(self, modality: str) -> np.ndarray:
        """(n, D) float32 unit item vectors of all its parts, of the picture alone or of the text alone."""
        every = [PICTURE, TEXT, CAPTIONS, *([BOARDS] if self.titles else [])]
        which = {"both": every, "picture": [PICTURE], "text": [TEXT]}[modality]
        return self.store.vectors(self.gate, self.picture_weight, which)


def answer(
    contender: Contender, questions: Questions, prefixes: Sequence[int], modalities: Sequence[str] = MODALITIES
) -> dict[Key, Values]:  # fmt: skip
    """Every question; the main ones again with shorter prefixes and lower precisions where prefixes are given."""
    answers: dict[Key, Values] = {}
    for modality in tqdm(modalities, desc=f"measure {contender.name}", unit="modality"):
        vectors = contender.vectors(modality)
        if modality == "picture":
            answers |= _text_item(contender, questions, vectors)
        for boards in questions.boards:
            answers[Key("board-item", boards.scope, modality)] = board_figures(vectors, boards.boards, LAST)
            answers[Key("item-mates", boards.scope, modality)] = mate_figures(vectors, boards.mates)
        answers |= _purity(questions, vectors, modality)
        if modality != "text":
            answers |= _shrunk(contender, questions, vectors, modality, prefixes)
    return answers


def shrink(vectors: np.ndarray, dims: int, precision: str) -> np.ndarray:
    """Unit vectors as a smaller store would give them back.

    Args:
        vectors: (n, D) float32 unit rows.
        dims: the first dims of them, normalised again; 0 for all.
        precision: float32, float16, or int8 with one scale a dimension, max |x| / 127.

    Returns:
        (n, dims or D) float32, unit rows again.
    """
    kept = normalise(vectors[:, :dims]) if dims else vectors
    if precision == "float16":
        kept = kept.astype(np.float16).astype(np.float32)
    elif precision == "int8":
        scale = np.maximum(np.abs(kept).max(axis=0), 1e-12) / 127
        kept = np.rint(kept / scale).astype(np.int8).astype(np.float32) * scale
    return kept if precision == "float32" else normalise(kept)


def prefixes_of(prefixes: Sequence[int], dim: int) -> list[int]:
    """The prefixes that are shorter than the vectors, ascending, each once."""
    return sorted({prefix for prefix in prefixes if prefix < dim})


def _text_item(c: Contender, questions: Questions, vectors: np.ndarray) -> dict[Key, Values]:
    """Text -> item: the text of a held-out item (its text part, which is encode_texts) against bare pictures."""
    if not len(questions.text_items):
        return {}
    texts = _texts(c, questions)
    galleries = {"held-out": questions.text_items, "catalogue": np.flatnonzero(c.store.has[:, PICTURE])}
    return {
        Key("text-item", scope, "picture"): _find(texts, vectors, questions, rows) for scope, rows in galleries.items()
    }


def _find(texts: np.ndarray, vectors: np.ndarray, questions: Questions, rows: np.ndarray) -> Values:
    return text_figures(texts, questions.text_keys[questions.text_items], vectors[rows], questions.text_keys[rows])


def _texts(c: Contender, questions: Questions) -> np.ndarray:
    return normalise(np.asarray(c.store.arrays[TEXT][questions.text_items], np.float32))


def _purity(questions: Questions, vectors: np.ndarray, modality: str) -> dict[Key, Values]:
    if questions.labels is None:
        return {}
    labelled = questions.labels >= 0
    asking = questions.held[labelled[questions.held]]
    if not len(asking):
        return {}
    galleries = {"held-out": asking, "catalogue": np.flatnonzero(labelled)}
    return {
        Key("purity", scope, modality): purity(vectors, asking, rows, questions.labels)
        for scope, rows in galleries.items()
    }


def _shrunk(
    c: Contender, questions: Questions, vectors: np.ndarray, modality: str, prefixes: Sequence[int]
) -> dict[Key, Values]:  # fmt: skip
    """The main figures again: board -> item of seen owners (both), text -> item among the held-out (picture)."""
    seen: BoardQuestions | None = next((b for b in questions.boards if b.scope == "seen"), None)
    answers: dict[Key, Values] = {}
    for dims in [*prefixes_of(prefixes, vectors.shape[1]), 0] if prefixes else []:
        for precision in PRECISIONS:
            if not dims and precision == "float32":
                continue
            if modality == "both" and seen:
                small = shrink(vectors, dims, precision)
                answers[Key("board-item", "seen", "both", dims, precision)] = board_figures(small, seen.boards, LAST)
            elif modality == "picture" and len(questions.text_items):
                texts = shrink(_texts(c, questions), dims, "float32")
                small = shrink(vectors, dims, precision)
                key = Key("text-item", "held-out", "picture", dims, precision)
                answers[key] = _find(texts, small, questions, questions.text_items)
    return answers
