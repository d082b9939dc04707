"""The parts of items as vectors: picture, text, titles of training boards, captions; what fusion makes one vector of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from encoders.fusion import PARTS, fuse
from encoders.load import Encoder
from navigator.contracts.vectors import normalise


@dataclass(frozen=True)
class ItemParts:
    """Unit part vectors of n items.

    Attributes:
        values: (n, M, D) float32 in the order of encoders.fusion.PARTS, zero where missing.
        has: (n, M) bool.
    """

    values: np.ndarray
    has: np.ndarray

    def only(self, *names: str) -> "ItemParts":
        """The same items with these parts alone (what an item without a picture, or without words, would be)."""
        kept = np.isin(PARTS, names)
        return ItemParts(self.values * kept[None, :, None], self.has & kept)


def encode_parts(
    encoder: Encoder,
    pictures: Sequence[torch.Tensor | None],
    texts: Sequence[str],
    titles: Sequence[Sequence[str]] | None = None,
    captions: Sequence[str] | None = None,
) -> ItemParts:
    """Encode what is there of each item.

    Args:
        encoder: from encoders.load.load_encoder.
        pictures: n prepared pictures (3, S, S), None where there is none.
        texts: n texts (title and description); blank ones count as missing.
        titles: n lists of board titles (of training boards alone); an item's part is the mean of their vectors.
        captions: n captions; blank ones count as missing.

    Returns:
        Part vectors; an item with nothing at all gets the empty text's vector, so that no item is without one.
    """
    n = len(texts)
    values, has = np.zeros((n, len(PARTS), encoder.dim), np.float32), np.zeros((n, len(PARTS)), bool)
    has[:, 0] = [picture is not None for picture in pictures]
    if has[:, 0].any():
        values[has[:, 0], 0] = encoder.encode_pictures(torch.stack([p for p in pictures if p is not None]))
    _encode_words(encoder, texts, values, has, 1)
    if titles is not None:
        has[:, 2] = [any(title.strip() for title in row) for row in titles]
        values[:, 2] = mean_titles(encoder, titles)
    if captions is not None:
        _encode_words(encoder, captions, values, has, 3)
    nothing = ~has.any(1)
    if nothing.any():
        values[nothing, 1], has[nothing, 1] = encoder.encode_texts([""])[0], True
    return ItemParts(values, has)


def join(encoder: Encoder, parts: ItemParts, picture_weight: float) -> np.ndarray:
    """(n, D) unit item vectors: by the encoder's learned gate if it has one, else by fixed weights."""
    if encoder.gate is None:
        return fuse(parts.values, parts.has, picture_weight)
    with torch.inference_mode():
        return encoder.gate(torch.from_numpy(parts.values), torch.from_numpy(parts.has)).numpy()


def mean_titles(encoder: Encoder, titles: Sequence[Sequence[str]]) -> np.ndarray:
    """(n, D) unit mean of the vectors of each item's titles, each distinct title encoded once; zero without titles."""
    names = sorted({title for row in titles for title in row if title.strip()})
    index = {name: i for i, name in enumerate(names)}
    vectors = encoder.encode_texts(names)
    means = np.zeros((len(titles), encoder.dim), np.float32)
    for row, own in enumerate(titles):
        rows = [index[title] for title in own if title in index]
        if rows:
            means[row] = vectors[rows].mean(0)
    return normalise(means)


def _encode_words(encoder: Encoder, words: Sequence[str], values: np.ndarray, has: np.ndarray, part: int) -> None:
    there = np.array([bool((text or "").strip()) for text in words], bool)
    has[:, part] = there
    if there.any():
        values[there, part] = encoder.encode_texts([text for text, ok in zip(words, there, strict=True) if ok])
