"""The native comparison: pictures are read at request time, one token a grid cell, by the same backbone and heads."""

import io
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from navigator.contracts import ItemVectors, UserError
from navigator.native import SIDE, NativeRecommender, picture_tensor, runtime_tower
from navigator.recommend import history_means
from navigator.swap import swap
from train.parts import split_parts

TIMM = "test_efficientnet"


def png(colour: tuple[int, int, int], size: tuple[int, int] = (40, 20)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def native(make_backbone, tmp_path_factory) -> NativeRecommender:
    stock = make_backbone(tmp_path_factory.mktemp("native") / "stock", "qwen2_5_vl")
    torch.manual_seed(0)
    trunk: Any = timm.create_model(TIMM, pretrained=False, num_classes=0).eval()
    with torch.no_grad():
        grid = trunk.forward_features(torch.zeros(1, 3, SIDE, SIDE)).shape[-1]
    model, processor = swap(str(stock), 6, "enc", patch={"timm_model": TIMM, "grid": grid})
    model.model.visual.trunk.load_state_dict(trunk.state_dict())
    torch.nn.init.normal_(model.retrieval_head.weight, std=0.5)
    torch.nn.init.normal_(model.ranking_head.weight, std=0.5)
    vectors = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = ItemVectors([f"i{n}" for n in range(5)], vectors, "enc", True)
    pictures = {f"i{n}": png((50 * n, 200 - 40 * n, 90)) for n in range(5)}
    return NativeRecommender(model, processor, store, pictures)


def test_a_picture_is_shown_whole_on_a_white_square():
    tensor = picture_tensor(png((255, 0, 0)), side=8)
    assert tensor.shape == (3, 8, 8) and tensor.dtype == np.float32
    assert (tensor[:, 0, 0] == [1, 1, 1]).all() and (tensor[:, 4, 4] == [1, -1, -1]).all()
    assert (picture_tensor(None, side=4) == 1).all()


def test_it_reads_a_grid_of_tokens_an_item(native):
    cells = native.model.model.visual.grid**2
    assert native.tokens_per_item == cells
    assert native.count_tokens(2, 3) == native.count_tokens(0, 0) + 5 * cells


def test_the_query_depends_on_the_pictures(native):
    before = native.query_vectors([[0, 1]])
    base = history_means(native.vectors.float32(np.array([0, 1])), [2])
    assert np.abs(before - base).max() > 1e-3  # the heads are not zero here
    saved, native.pictures = native.pictures, native.pictures | {"i1": png((0, 255, 255))}
    assert np.abs(native.query_vectors([[0, 1]]) - before).max() > 1e-5
    native.pictures = saved


def test_words_alone_and_a_returning_user_are_read_too(native):
    assert native.query_vectors([[], [0]], ["red flag", ""]).shape == (2, 6)
    np.testing.assert_allclose(native.rank([0], [2, 3], session="ann"), native.rank([0], [2, 3]), atol=1e-4)


def test_candidates_are_ranked_whatever_their_order(native):
    scores = native.rank([0], [2, 3, 4])
    np.testing.assert_allclose(native.rank([0], [4, 2, 3]), scores[[2, 0, 1]], atol=1e-4)


def test_the_trunk_stays_frozen_and_the_projector_learns(native):
    parts, _ = split_parts(native.model, "frozen")
    assert parts["tower"] and all(".projector." in name for name in parts["tower"])


def test_an_encoder_without_a_grid_is_refused(tmp_path):
    with pytest.raises(UserError):
        runtime_tower(str(tmp_path / "nothing"))
