"""The comparison the swap must beat: the same backbone and heads, but pictures are encoded when the request comes.

The runtime tower is a timm picture tower whose feature map goes cell by cell through a trained projector (49 tokens an item
at 224 pixels). Everything else is the swapped model's: the same heads, the same start of the query, the same item space, so
that only how the pictures enter differs. This is generous to the native model, which would have no item vectors of its own.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from navigator.contracts import Catalog, ItemVectors, UserError
from navigator.recommend import MAX_HISTORY, Recommender, pick_device, pick_dtype
from navigator.swap import open_swapped
from navigator.tower import PatchTower

SIDE = 224
_MEAN, _STD = 0.5, 0.5


def picture_tensor(picture: bytes | None, side: int = SIDE) -> np.ndarray:
    """(3, side, side) float32 in [-1, 1]: fitted whole into a white square; no picture is a white square."""
    canvas = Image.new("RGB", (side, side), "white")
    if picture:
        with Image.open(io.BytesIO(picture)) as opened:
            image = opened.convert("RGBA")
        image.thumbnail((side, side), Image.Resampling.BICUBIC)
        canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2), image)
    return ((np.asarray(canvas, np.float32) / 255.0 - _MEAN) / _STD).transpose(2, 0, 1)


class NativeRecommender(Recommender):
    """A Recommender whose tower reads pictures: they are decoded and encoded inside every request."""

    reads_vectors = False

    def __init__(
        self,
        model: Any,
        processor: Any,
        vectors: ItemVectors,
        pictures: dict[str, bytes],
        max_history: int = MAX_HISTORY,
    ):
        super().__init__(model, processor, vectors, max_history)
        self.pictures = pictures

    @classmethod
    def open(  # type: ignore[override]
        cls, model: str | Path, catalog: str | Path, vectors: str | Path, device: str = "auto", dtype: str = "auto",
        max_history: int = MAX_HISTORY,
    ) -> "NativeRecommender":  # fmt: skip
        store = ItemVectors.open(vectors)
        where = pick_device(device)
        loaded, processor = open_swapped(model, pick_dtype(dtype, where), str(where))
        return cls(loaded, processor, store, Catalog.open(catalog).images(store.ids), max_history)

    def pixels(self, rows: Sequence[int]) -> np.ndarray:
        """(n, 3, side, side) float32 pictures, decoded now."""
        if not len(rows):
            return np.zeros((0, 3, SIDE, SIDE), np.float32)
        return np.stack([picture_tensor(self.pictures.get(self.vectors.ids[row])) for row in rows])


def runtime_tower(encoder: str) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """The picture trunk of an open_clip encoder with a timm tower: its weights, and the tower spec that `swap` takes.

    Raises:
        UserError: the encoder's picture tower is not a timm model with a square feature map.
    """
    from encoders.load import load_encoder

    visual = load_encoder(encoder).model.visual
    trunk = getattr(visual, "trunk", None)
    if trunk is None:
        raise UserError(f"encoder {encoder} has no timm picture tower; the native comparison needs its feature map")
    name = trunk.pretrained_cfg["architecture"]
    spec = PatchTower(name, 1, 1)
    with torch.inference_mode():
        cells = trunk.forward_features(torch.zeros(1, 3, SIDE, SIDE))
    if cells.ndim != 4 or cells.shape[-1] != cells.shape[-2]:
        raise UserError(
            f"encoder {encoder}: its tower {name} gives {tuple(cells.shape)}, not a square feature map (n, C, g, g)"
        )
    wanted = spec.trunk.state_dict()
    return {key: value for key, value in trunk.state_dict().items() if key in wanted}, {
        "timm_model": name,
        "grid": cells.shape[-1],
    }
