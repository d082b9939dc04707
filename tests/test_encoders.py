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

from encoders.fusion import PARTS, GatedFusion, fuse, load_gate, save_gate
from encoders.load import Encoder, folder_fingerprint, load_encoder
from encoders.parts import encode_parts, join
from encoders.pictures import UnreadablePictureError, flatten_picture, prepare_picture
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


NAN = np.full(2, np.nan, np.float32)
X, Y = np.eye(2, dtype=np.float32)
DIAGONAL = np.array([1, 1], np.float32) / np.sqrt(np.float32(2))


def test_fusion_by_hand():
    """w for the picture, the rest shared equally by the words; missing parts are not read (they are NaN here)."""
    values = np.array([[X, Y, NAN, NAN], [NAN, Y, NAN, NAN], [X, NAN, NAN, NAN], [NAN] * 4, [X, Y, -X, NAN]])
    has = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]], bool)
    fused = fuse(values, has, 0.75)
    three = (0.75 - 0.125) * X + 0.125 * Y
    wanted = [(0.75 * X + 0.25 * Y) / np.hypot(0.75, 0.25), Y, X, 0 * X, three / np.linalg.norm(three)]
    assert fused.dtype == np.float32 and np.allclose(fused, wanted, atol=1e-6)
    with pytest.raises(UserError, match=r"picture weight 1.5: allowed are 0"):
        fuse(values, has, 1.5)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_one_part_alone_is_the_item_at_any_weight(weight: float):
    for part in range(len(PARTS)):
        has = np.arange(len(PARTS))[None] == part
        values = np.where(has[..., None], np.array([0.6, 0.8], np.float32), np.nan)
        assert np.allclose(fuse(values, has, weight), [[0.6, 0.8]])


def test_a_new_gate_is_the_fixed_rule_for_picture_and_text():
    values = torch.tensor(np.array([[X, Y, Y, Y], [X, Y, Y, Y], [X, Y, Y, Y], [X, Y, Y, Y]]))
    has = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=torch.bool)
    gate = GatedFusion(2)
    fused = gate(values, has).detach().numpy()
    assert np.allclose(fused, [DIAGONAL, X, Y, 0 * X], atol=1e-6)
    assert np.allclose(fused, fuse(values.numpy(), has.numpy(), 0.5), atol=1e-6)
    weights = gate.weights(values, torch.ones(4, 4, dtype=torch.bool)).detach()
    assert torch.allclose(weights.sum(1), torch.ones(4)) and (weights[:, 2:] < weights[:, :2].min()).all()


def test_the_gate_does_not_read_missing_parts_and_comes_back_from_its_files(tmp_path: Path):
    torch.manual_seed(1)
    gate = GatedFusion(DIM).requires_grad_(False)
    for parameter in gate.parameters():
        parameter.normal_()
    values, has = torch.randn(5, len(PARTS), DIM), torch.rand(5, len(PARTS)) < 0.5
    has[:, 1] = True
    other = torch.where(has[..., None], values, torch.tensor(1e3))
    assert torch.allclose(gate(values, has), gate(other, has), atol=1e-6)
    save_gate(gate, tmp_path)
    again = load_gate(tmp_path)
    assert again is not None and torch.equal(again(values, has), gate(values, has))
    assert load_gate(tmp_path / "none") is None
    (tmp_path / "fusion.json").write_text("{}")
    with pytest.raises(UserError, match=r"fusion part of encoder .* cannot be read"):
        load_gate(tmp_path)


def test_parts_are_what_the_towers_give_and_blank_words_are_missing(encoder: Encoder):
    red = encoder.prepare(png((255, 0, 0)))
    parts = encode_parts(
        encoder,
        [red, None, None],
        ["a flag", " ", ""],
        [["red things", "flags"], ["flags", " "], []],
        ["", "a cloth", ""],
    )
    assert parts.has.tolist() == [[True, True, True, False], [False, False, True, True], [False, True, False, False]]
    first, second = encoder.encode_texts(["red things", "flags"])
    mean = (first + second) / np.linalg.norm(first + second)
    assert np.allclose(parts.values[0, 0], encoder.encode_pictures([png((255, 0, 0))])[0], atol=1e-5)
    assert np.allclose(parts.values[0, 1:3], [encoder.encode_texts(["a flag"])[0], mean], atol=1e-5)
    assert np.allclose(parts.values[1, 2:], [second, encoder.encode_texts(["a cloth"])[0]], atol=1e-5)
    assert np.allclose(parts.values[2, 1], encoder.encode_texts([""])[0], atol=1e-5)
    picture = parts.only("picture")
    assert picture.has.sum() == 1 and np.allclose(join(encoder, picture, 0.5)[0], parts.values[0, 0], atol=1e-6)
    assert np.allclose(join(encoder, parts, 0.5), fuse(parts.values, parts.has, 0.5))


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


def test_a_picture_is_prepared_to_the_bit_as_by_the_stock_transform(encoder: Encoder):
    noise = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    assert torch.equal(encoder.prepare(image), encoder.transform(image))
    stock = encoder.transform.transforms[-1]
    other = lambda given: encoder.transform(given) + 1  # noqa: E731 - a transform that does not end in Normalize
    assert torch.equal(prepare_picture(image, other, 32), encoder.transform(image) + 1) and stock.mean == [0.5] * 3


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
