"""Any open_clip folder behind one interface: unit vectors, one fusion rule, fingerprints, errors that help."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from encoders.fusion import fuse
from encoders.load import Encoder, folder_fingerprint, load_encoder
from encoders.pictures import UnreadablePictureError, flatten_picture
from navigator.assets import cache_dir
from navigator.contracts import UserError

DIM = 6


def tiny_encoder(folder: Path, seed: int = 0, picture_tower: str = "test_resnet", proj: str = "linear") -> Path:
    """A random open_clip folder: a timm picture tower at 32 pixels, open_clip's own text tower."""
    native = {"layers": 1, "width": 16, "head_width": 8, "patch_size": 16, "image_size": 32}
    vision = {"timm_model_name": picture_tower, "timm_pool": "avg", "timm_proj": proj, "image_size": 32}
    config = {
        "model_cfg": {
            "embed_dim": DIM,
            "custom_text": True,
            "vision_cfg": vision if picture_tower else native,
            "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
        },
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "longest", "fill_color": 255},
    }  # fmt: skip
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    model = open_clip.model.CustomTextCLIP(**{k: v for k, v in config["model_cfg"].items() if k != "custom_text"})
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder


def png(color: tuple[int, ...], size: tuple[int, int] = (40, 20), mode: str = "RGB") -> bytes:
    sink = io.BytesIO()
    Image.new(mode, size, color).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return load_encoder(str(tiny_encoder(tmp_path_factory.mktemp("encoder"))))


def test_pictures_and_texts_become_unit_rows_of_one_space(encoder: Encoder):
    pictures = encoder.encode_pictures([png((255, 0, 0)), png((0, 0, 255)), png((0, 255, 0))])
    texts = encoder.encode_texts(["red", "a blue flag", ""])
    for rows in (pictures, texts):
        assert rows.shape == (3, DIM) and rows.dtype == np.float32
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert encoder.dim == DIM and not np.allclose(pictures[0], pictures[1], atol=1e-3)
    assert encoder.encode_pictures([]).shape == encoder.encode_texts([]).shape == (0, DIM)


def test_it_computes_what_open_clip_computes(encoder: Encoder):
    stock: Any = open_clip.create_model_and_transforms(f"local-dir:{encoder.name}")
    model, transform = stock[0].eval(), stock[2]
    image = Image.open(io.BytesIO(png((200, 30, 90))))
    with torch.inference_mode():
        wanted = model.encode_image(transform(image)[None], normalize=True)
        words = model.encode_text(open_clip.get_tokenizer(f"local-dir:{encoder.name}")(["a cat"]), normalize=True)
    assert np.allclose(encoder.encode_pictures([image]), wanted.numpy(), atol=1e-5)
    assert np.allclose(encoder.encode_texts(["a cat"]), words.numpy(), atol=1e-5)


def test_how_many_go_at_once_does_not_matter(encoder: Encoder):
    many = [png((i * 20, 255 - i * 20, 30)) for i in range(11)]
    assert np.allclose(
        encoder.encode_pictures(many), np.concatenate([encoder.encode_pictures([p]) for p in many]), atol=1e-5
    )


def test_the_grid_averages_to_the_pooled_feature(tmp_path: Path):
    encoder = load_encoder(str(tiny_encoder(tmp_path / "e")))
    picture = [png((10, 200, 40), (32, 32))]
    grid = encoder.picture_grid(picture)
    trunk = encoder.model.visual.trunk
    assert grid.shape == (1, 1, trunk.num_features)  # 32 pixels at stride 32
    with torch.inference_mode():
        pooled = trunk(torch.stack([encoder.prepare(p) for p in picture])).numpy()
    assert np.allclose(grid.mean(1), pooled, atol=1e-5)


def test_a_tower_without_a_map_is_named(tmp_path: Path):
    encoder = load_encoder(str(tiny_encoder(tmp_path / "native", picture_tower="")))
    with pytest.raises(UserError, match="has no timm picture tower"):
        encoder.picture_grid([png((0, 0, 0))])


def test_fusion_by_hand():
    x, y = np.eye(2, dtype=np.float32)
    pictures, texts = np.stack([x, x, x, 0 * x]), np.stack([y, y, 0 * y, 0 * y])
    fused = fuse(pictures, texts, 0.75, np.array([1, 0, 1, 0], bool), np.array([1, 1, 0, 0], bool))
    both = np.array([0.75, 0.25]) / np.hypot(0.75, 0.25)
    assert np.allclose(fused, np.stack([both, y, x, 0 * x]), atol=1e-6)
    assert np.allclose(fuse(None, texts[:2], 0.75), [y, y]) and np.allclose(fuse(pictures[:1], None, 0.0), [x])
    with pytest.raises(UserError, match=r"picture weight 1.5: allowed are 0"):
        fuse(pictures, texts, 1.5)


def test_an_item_without_a_picture_keeps_its_text_at_any_weight():
    text = np.array([[0.6, 0.8]], np.float32)
    for weight in (0.0, 0.5, 1.0):
        assert np.allclose(fuse(np.zeros((1, 2), np.float32), text, weight, np.array([False]), np.array([True])), text)


def test_fingerprints_differ_by_weights_and_survive_a_copy(tmp_path: Path):
    first, again, other = (tiny_encoder(tmp_path / n, seed) for n, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert folder_fingerprint(first) == folder_fingerprint(again) == load_encoder(str(first)).fingerprint
    assert folder_fingerprint(first) != folder_fingerprint(other)


@pytest.mark.parametrize("name", ["no-such-model", "local-dir:/no/such/folder", "ViT-B-32:no-such-weights", "a/b/c"])
def test_an_unknown_encoder_lists_what_is_allowed(name: str):
    with pytest.raises(UserError, match=r"allowed are embedded, a folder .* hf-hub:ORG/NAME, an open_clip MODEL"):
        load_encoder(name)


def test_the_hub_out_of_reach_is_a_user_error():
    with pytest.raises(UserError, match=r"cannot be loaded .*hub names need the network"):
        load_encoder("hf-hub:nobody/nothing")  # HF_HUB_OFFLINE is set in conftest.py


def test_a_folder_with_broken_weights_is_a_user_error(tmp_path: Path):
    folder = tiny_encoder(tmp_path / "e")
    (folder / "open_clip_model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_encoder(str(folder))


def test_transparent_becomes_white_and_large_is_reduced():
    half = Image.new("RGBA", (600, 300), (255, 0, 0, 0))
    half.paste((0, 0, 255, 255), (0, 0, 300, 300))
    flat = flatten_picture(half, 100)
    assert flat.mode == "RGB" and flat.size == (100, 50)
    assert flat.getpixel((5, 5)) == (0, 0, 255) and flat.getpixel((95, 45)) == (255, 255, 255)
    assert flatten_picture(Image.new("L", (7, 3), 9), 100).size == (7, 3)


def test_a_bomb_and_a_broken_file_are_errors(encoder: Encoder, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UnreadablePictureError):
        encoder.prepare(b"not a picture")
    with pytest.raises(UnreadablePictureError):
        encoder.prepare(png((1, 2, 3), (64, 64))[:60])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 799)
    with pytest.raises(UnreadablePictureError, match="40 x 20 pixels, more than the limit of 799"):
        encoder.prepare(png((1, 2, 3)))


@pytest.fixture(scope="module")
def embedded() -> Encoder:
    folder = cache_dir() / "encoder"
    if not (folder / "manifest.json").is_file():
        pytest.skip(f"no embedded encoder in {cache_dir()}: run `navigator fetch weights` (make test does)")
    return load_encoder(str(folder))


def test_the_embedded_encoder_keeps_pictures_and_texts_in_their_own_blocks(embedded: Encoder):
    pictures = embedded.encode_pictures([png((255, 0, 0)), png((0, 90, 255))])
    texts = embedded.encode_texts(["a red apple", "a fruit", "a car"])
    assert embedded.dim == 768 and not pictures[:, 384:].any() and not texts[:, :384].any()
    assert texts[0] @ texts[1] > texts[0] @ texts[2]  # all-MiniLM-L6-v2 knows that much
    assert embedded.picture_grid([png((255, 0, 0))]).shape == (1, 49, 1280)


def test_the_embedded_texts_are_sentence_transformers_mean_pooling(embedded: Encoder):
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(embedded.name)
    bert = AutoModel.from_config(embedded.model.text.config, add_pooling_layer=False).eval()
    bert.load_state_dict(embedded.model.text.transformer.state_dict())
    for text in ("sun", "a blue flag with three stars"):
        with torch.inference_mode():
            wanted = bert(**tokenizer([text], return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
        assert np.allclose(
            embedded.encode_texts([text, "padding " * 20])[0, 384:], wanted / np.linalg.norm(wanted), atol=1e-5
        )
