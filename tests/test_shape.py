"""Published shapes with random weights: an ordinary encoder folder, no hub."""

import numpy as np
import pytest

from encoders.load import load_encoder
from navigator.assets.shape import random_encoder
from navigator.contracts import UserError
from navigator.encode_commands import resolve_encoder


def test_a_shape_is_an_encoder_folder_that_encodes(tmp_path, monkeypatch):
    tiny = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {"context_length": 8, "vocab_size": 100, "hf_tokenizer_name": "some/hub", "width": 16,
                     "heads": 2, "layers": 1},
    }  # fmt: skip
    monkeypatch.setattr("open_clip.get_model_config", lambda name: tiny if name == "tiny" else None)
    monkeypatch.setenv("NAVIGATOR_CACHE", str(tmp_path))
    folder = resolve_encoder("shape:tiny")
    assert folder == str(tmp_path / "shapes" / "tiny")
    encoder = load_encoder(folder)
    assert encoder.dim == 8 and encoder.size == (32, 32)
    texts = encoder.encode_texts(["a cat", "a dog"])
    assert texts.shape == (2, 8) and np.abs(texts[0] - texts[1]).max() > 0
    weights = (tmp_path / "shapes/tiny/open_clip_model.safetensors").stat().st_mtime_ns
    resolve_encoder("shape:tiny")
    assert (tmp_path / "shapes/tiny/open_clip_model.safetensors").stat().st_mtime_ns == weights
    with pytest.raises(UserError, match="no open_clip architecture"):
        random_encoder("nothing", tmp_path / "x")
    with pytest.raises(UserError, match="Hugging Face text tower"):
        monkeypatch.setitem(tiny["text_cfg"], "hf_model_name", "some/hub")
        random_encoder("tiny", tmp_path / "y")
