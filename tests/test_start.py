"""Where queries start: by hand, and equal to content kNN before anything is learned."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from navigator.contracts import UserError
from navigator.recommend import history_means
from navigator.start import QueryStart, lag_table
from navigator.swap import open_swapped, swap


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    values = rng.normal(size=shape).astype(np.float32)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def starts(rule: QueryStart, lags: np.ndarray, vectors: np.ndarray, titles: np.ndarray | None = None) -> np.ndarray:
    titles = np.zeros((len(lags), vectors.shape[1]), np.float32) if titles is None else titles
    with torch.no_grad():
        return rule(torch.from_numpy(lags), torch.from_numpy(vectors), torch.from_numpy(titles)).numpy()


def test_lags_by_hand():
    assert lag_table([2, 0, 3]).tolist() == [[1, 0, -1, -1, -1], [-1] * 5, [-1, -1, 2, 1, 0]]
    # one request of three items that asks before any of them, after one and after all; then one that asks after its first
    assert lag_table([3, 2], [(0, 1, 3), (1,)]).tolist() == [
        [-1, -1, -1, -1, -1], [0, -1, -1, -1, -1], [2, 1, 0, -1, -1], [-1, -1, -1, 0, -1],
    ]  # fmt: skip


def test_untrained_it_is_the_history_mean():
    vectors = unit(np.random.default_rng(0), 7, 5)
    got = starts(QueryStart(5, 3), lag_table([4, 3]), vectors)
    np.testing.assert_allclose(got, history_means(vectors, [4, 3]), atol=1e-6)


def test_fading_graph_weight_and_titles_by_hand():
    vectors, title = unit(np.random.default_rng(1), 2, 4), unit(np.random.default_rng(2), 1, 4)
    rule = QueryStart(4, 3)
    with torch.no_grad():
        rule.fade.fill_(math.log(2))
        rule.graph.fill_(math.log(3))
        rule.title.fill_(math.log(0.5))
    want = (0.5 * vectors[0] + vectors[1] + 0.5 * title[0]) * [1, 1, 1, 3]
    np.testing.assert_allclose(starts(rule, lag_table([2]), vectors, title)[0], want / np.linalg.norm(want), atol=1e-6)


def test_maps_by_hand():
    vectors, title = unit(np.random.default_rng(1), 2, 4), unit(np.random.default_rng(2), 1, 4)
    rule, rng = QueryStart(4, 3), np.random.default_rng(5)
    of_items, of_titles = rng.normal(size=(2, 4, 4)).astype(np.float32)
    with torch.no_grad():
        rule.fade.fill_(math.log(2))
        rule.graph.fill_(math.log(3))
        rule.item_map.weight.copy_(torch.from_numpy(of_items))
        rule.title_map.weight.copy_(torch.from_numpy(of_titles))
    faded = 0.5 * vectors[0] + vectors[1]
    want = (faded + title[0]) * [1, 1, 1, 3] + of_items @ faded + of_titles @ title[0]
    np.testing.assert_allclose(starts(rule, lag_table([2]), vectors, title)[0], want / np.linalg.norm(want), atol=1e-6)


def test_nothing_to_start_from_is_zero_and_a_title_alone_is_itself():
    title = unit(np.random.default_rng(3), 1, 4)
    nothing = np.zeros((0, 4), np.float32)
    assert not starts(QueryStart(4, 4), lag_table([0]), nothing).any()
    np.testing.assert_allclose(starts(QueryStart(4, 4), lag_table([0]), nothing, title), title, atol=1e-6)


@pytest.mark.parametrize("content_dim", [2, 4])
def test_only_what_can_matter_gets_a_gradient(content_dim):
    rule = QueryStart(4, content_dim)
    vectors = torch.from_numpy(unit(np.random.default_rng(4), 3, 4))
    rule(torch.from_numpy(lag_table([3])), vectors, torch.zeros(1, 4))[0, 0].backward()
    assert rule.fade.grad is not None and rule.fade.grad.abs() > 0
    assert rule.title.grad == 0
    assert (rule.graph.grad is not None and bool(rule.graph.grad.abs() > 0)) == (content_dim < 4)


@pytest.mark.parametrize("key", ["query_start.fade", "query_start.item_map.weight"])
def test_a_folder_of_before_the_start_was_learned_is_refused(make_backbone, tmp_path, key):
    """Filling the gap in silence would answer with weights that nobody trained."""
    model, processor = swap(str(make_backbone(tmp_path / "stock", "qwen3_vl")), 4, "enc")
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    open_swapped(folder)
    weights = load_file(folder / "model.safetensors")
    del weights[key]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"model lacks {key} .*run `navigator swap` and train again"):
        open_swapped(folder)
