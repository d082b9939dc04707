"""One interface to any open_clip model: a local folder, a hub id, or a model name.

open_clip does the loading. This module adds what the rest needs: a fingerprint, unit vectors as numpy, the
spatial map of a picture tower, and errors that say what is allowed.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.timm_model import TimmModel
from open_clip.utils import to_2tuple
from safetensors import SafetensorError

from encoders.fusion import GatedFusion, load_gate
from encoders.pictures import Picture, prepare_picture
from navigator.contracts import UserError
from navigator.contracts.manifest import content_fingerprint, digest
from navigator.contracts.vectors import normalise

CONFIG_FILE = "open_clip_config.json"
_ALLOWED = (
    "allowed are embedded, a folder with open_clip_config.json and weights, hf-hub:ORG/NAME, an open_clip MODEL "
    "(random weights) or MODEL:PRETRAINED (see open_clip.list_pretrained())"
)
_TEXTS = 64
_CPU_PICTURES = (
    8  # measured: 8 at a time keep the activations in cache, twice as fast as 64 (178 against 97 pictures/s)
)
_GPU_PICTURES = 256


@dataclass(frozen=True, eq=False)
class Encoder:
    """An open_clip model ready to encode.

    Attributes:
        name: what it was loaded by.
        fingerprint: digest of its configuration and weights; vectors of different fingerprints must not be compared.
        dim: width D of the joint space.
        size: rows and columns of the pictures the tower reads.
        device: where it runs.
        autocast: bfloat16 inside the towers; results are float32 either way.
        gate: the learned fusion of an encoder tuned by train.clip; None: fixed weights.
    """

    name: str
    fingerprint: str
    dim: int
    size: tuple[int, int]
    device: torch.device
    autocast: bool
    model: Any
    transform: Any
    tokenizer: Any
    gate: GatedFusion | None = None

    def prepare(self, picture: Picture) -> torch.Tensor:
        """One picture (encoded bytes or PIL) -> (3, S, S) float32; see encoders.pictures."""
        return prepare_picture(picture, self.transform, max(self.size))

    def encode_pictures(self, pictures: Sequence[Picture] | torch.Tensor) -> np.ndarray:
        """Pictures, or a prepared (n, 3, S, S) tensor -> (n, D) float32 with unit rows."""
        return normalise(self._in_chunks(pictures, self.model.encode_image, (self.dim,)))

    def picture_body(self) -> str | None:
        """Digest of everything before the head of a timm picture tower: encoders tuned with locked towers share it."""
        if not isinstance(self.model.visual, TimmModel):
            return None
        return digest([_weights_digest(self.model.visual.trunk), self.size, self.autocast])

    def picture_features(self, pictures: Sequence[Picture] | torch.Tensor) -> np.ndarray:
        """Pictures -> (n, F) float32: what the head of a timm picture tower reads."""
        return self._in_chunks(pictures, self._trunk(), (0,))

    def pictures_of(self, features: np.ndarray) -> np.ndarray:
        """(n, F) features -> (n, D) float32 unit rows; after picture_features the same as encode_pictures."""
        with torch.inference_mode(), self._precision():
            vectors = self.model.visual.head(torch.from_numpy(features).to(self.device))
        return normalise(vectors.float().cpu().numpy())

    def picture_grid(self, pictures: Sequence[Picture] | torch.Tensor) -> np.ndarray:
        """Pictures -> (n, P, C) float32: the map before pooling, row by row (P = 49, C = 1280 for the embedded tower).

        Raises:
            UserError: the picture tower is not a timm one with a spatial map.
        """
        trunk = self._trunk()

        def grid(batch: torch.Tensor) -> torch.Tensor:
            found = trunk.forward_features(batch)  # (b, C, rows, columns)
            if found.ndim != 4 or found.shape[1] != trunk.num_features:
                raise UserError(
                    f"the picture tower of encoder {self.name} gives features of shape {tuple(found.shape[1:])}, not "
                    f"(channels, rows, columns); use a convolutional timm tower"
                )
            return found.flatten(2).transpose(1, 2)

        return self._in_chunks(pictures, grid, (0, trunk.num_features))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> (n, D) float32 with unit rows."""
        rows = []
        for start in range(0, len(texts), _TEXTS):
            ids = self.tokenizer(list(texts[start : start + _TEXTS]))  # (b, L)
            padding = masked_padding(self.model)
            if padding is not None:  # columns of nothing but padding only cost time
                used = (ids != padding).any(0).nonzero()
                ids = ids[:, : int(used.max()) + 1] if len(used) else ids[:, :1]
            with torch.inference_mode(), self._precision():
                rows.append(self.model.encode_text(ids.to(self.device)).float().cpu().numpy())
        return normalise(np.concatenate(rows)) if rows else np.zeros((0, self.dim), np.float32)

    def _trunk(self) -> Any:
        if not isinstance(self.model.visual, TimmModel):
            raise UserError(
                f"encoder {self.name} has no timm picture tower, so no spatial map; use one with a timm tower"
            )
        return self.model.visual.trunk

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast)

    def _in_chunks(self, pictures: Sequence[Picture] | torch.Tensor, step: Any, shape: tuple[int, ...]) -> np.ndarray:
        rows = []
        chunk = _CPU_PICTURES if self.device.type == "cpu" else _GPU_PICTURES
        for start in range(0, len(pictures), chunk):
            part = pictures[start : start + chunk]
            batch = part if isinstance(part, torch.Tensor) else torch.stack([self.prepare(p) for p in part])
            with torch.inference_mode(), self._precision():
                batch = batch.to(self.device, memory_format=torch.channels_last)
                rows.append(step(batch).float().cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, *shape), np.float32)


def load_encoder(
    name: str, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32, image_size: int | None = None
) -> Encoder:
    """Load an encoder for inference.

    Args:
        name: a local open_clip folder, "hf-hub:ORG/NAME", or an open_clip "MODEL" or "MODEL:PRETRAINED".
        device: where to run.
        dtype: torch.float32, or torch.bfloat16 for autocast.
        image_size: side of the pictures in pixels, where the tower can read other sizes than its own.

    Raises:
        UserError: unknown name, broken folder, or the hub cannot be reached.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        raise UserError(f"encoder precision {dtype}: allowed are torch.float32 and torch.bfloat16")
    folder = local_folder(name)
    if folder is None and ":" not in name and name not in open_clip.list_models():
        raise UserError(f"encoder {name!r} is neither a folder nor a model name; {_ALLOWED}")
    source, pretrained = (f"local-dir:{folder}", None) if folder else _split(name)
    try:
        kwargs = {} if folder is None else _local_text_tower(folder)
        loaded = open_clip.create_model_and_transforms(
            source, pretrained, pretrained_text=False, force_image_size=image_size, **kwargs
        )
        model: Any = loaded[0]
        tokenizer: Any = open_clip.get_tokenizer(source)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise UserError(
            f"encoder {name!r} cannot be loaded ({reason}); {_ALLOWED}; hub names need the network"
        ) from error
    fingerprint = folder_fingerprint(folder) if folder else _model_fingerprint(model)
    model = model.eval().requires_grad_(False).to(device=device, memory_format=torch.channels_last)
    with torch.inference_mode():
        dim = model.encode_text(tokenizer(["a"]).to(device)).shape[-1]
    rows, columns = to_2tuple(model.visual.preprocess_cfg["size"])
    bfloat16 = dtype == torch.bfloat16
    gate = load_gate(folder) if folder else None
    place, transform = torch.device(device), loaded[2]
    return Encoder(name, fingerprint, dim, (rows, columns), place, bfloat16, model, transform, tokenizer, gate)


def masked_padding(model: Any) -> int | None:
    """The token id that a Hugging Face text tower masks; None for towers that read their padding."""
    tower = getattr(model, "text", None)
    return getattr(tower.config, "pad_token_id", None) if isinstance(tower, HFTextEncoder) else None


def local_folder(name: str) -> Path | None:
    """The folder an encoder name means, with or without the prefix local-dir:; None for hub and model names."""
    path = Path(name.removeprefix("local-dir:"))
    return path if name.startswith("local-dir:") or path.is_dir() else None


def folder_fingerprint(folder: Path) -> str:
    """Fingerprint of a local encoder from its files, without building the model; its manifest's, when it has one."""
    return content_fingerprint(folder, "encoder")


def folder_dim(folder: Path) -> int:
    """Width of a local encoder's joint space, from its configuration."""
    try:
        return int(json.loads((folder / CONFIG_FILE).read_text())["model_cfg"]["embed_dim"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} is not an open_clip folder ({CONFIG_FILE}: {error}); {_ALLOWED}") from error


def _local_text_tower(folder: Path) -> dict[str, Any]:
    """Build the HF text tower from the config.json beside the checkpoint, so that a local folder needs no network."""
    text_cfg = json.loads((folder / CONFIG_FILE).read_text())["model_cfg"]["text_cfg"]
    if "hf_model_name" not in text_cfg or not (folder / "config.json").is_file():
        return {}
    return {"text_cfg": text_cfg | {"hf_model_name": str(folder), "hf_model_pretrained": False}}


def _split(name: str) -> tuple[str, str | None]:
    if name.startswith("hf-hub:") or ":" not in name:
        return name, None
    model, pretrained = name.split(":", 1)
    return model, pretrained


def _model_fingerprint(model: Any) -> str:
    """Digest of the weights, the shapes and the preprocessing of a model that has no folder."""
    return digest([_weights_digest(model), model.visual.preprocess_cfg])


def _weights_digest(module: Any) -> str:
    sha = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        sha.update(f"{key}{tuple(value.shape)}{value.dtype}".encode())
        sha.update(value.contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
