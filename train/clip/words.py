"""Words for training, by row: features of a locked text tower, or token ids. Texts, board titles and captions in one list."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from encoders.load import Encoder, masked_padding
from train.clip.features import filled
from train.clip.towers import Towers

_BLOCK = 64


class Words:
    """A list of texts as the text tower's input."""

    def __init__(self, encoder: Encoder, towers: Towers, texts: Sequence[str], folder: Path):
        self.padding = masked_padding(encoder.model)
        length = encoder.tokenizer(["a"]).shape[1]

        def ids(start: int) -> Iterator[np.ndarray]:
            for first in range(start, len(texts), _BLOCK):
                yield _records(encoder.tokenizer(list(texts[first : first + _BLOCK])).numpy().astype(np.int32))

        self.store = filled(folder / "tokens.npy", len(texts), np.dtype([("values", "i4", (length,))]), ids, "tokens")
        if towers.locked["text"]:
            tokens = self.store

            def features(start: int) -> Iterator[np.ndarray]:
                for first in range(start, len(texts), _BLOCK):
                    batch = torch.from_numpy(self.trim(tokens["values"][first : first + _BLOCK].copy()))
                    precise = torch.autocast(encoder.device.type, torch.bfloat16, enabled=encoder.autocast)
                    with torch.inference_mode(), precise:
                        found = towers.text_features(batch.to(encoder.device).long())
                    yield _records(found.cpu().numpy().astype(np.float16))

            with torch.inference_mode():
                first_row = torch.from_numpy(tokens["values"][:1].astype(np.int64)).to(encoder.device)
                width = towers.text_features(first_row).shape[1]
            dtype = np.dtype([("values", "f2", (width,))])
            self.store = filled(folder / "text_features.npy", len(texts), dtype, features, "text features")
        self.locked = towers.locked["text"]

    def __len__(self) -> int:
        return len(self.store)

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """(b,) positions in the list -> (b, F) features or (b, L) token ids, cut to the longest of them."""
        values = self.store["values"][rows]
        return values if self.locked else self.trim(values)

    def trim(self, ids: np.ndarray) -> np.ndarray:
        """Without the columns that hold nothing but masked padding; towers that read their padding keep it."""
        if self.padding is None or not len(ids):
            return np.ascontiguousarray(ids)
        used = np.flatnonzero((ids != self.padding).any(0))
        return np.ascontiguousarray(ids[:, : int(used.max()) + 1 if len(used) else 1])


def _records(values: np.ndarray) -> np.ndarray:
    records = np.zeros(len(values), [("values", values.dtype, values.shape[1:])])
    records["values"] = values
    return records
