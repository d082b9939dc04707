"""Histories to queries: the mean is right, batches equal single requests, the cut is the latest items."""

import numpy as np
import pytest
import torch

from navigator.contracts import ItemVectors, UserError
from navigator.recommend import Recommender, history_means, pick_dtype
from navigator.swap import swap


@pytest.fixture(scope="module")
def recommender(make_backbone, tmp_path_factory) -> Recommender:
    stock = make_backbone(tmp_path_factory.mktemp("recommend") / "stock", "qwen3_vl")
    model, processor = swap(str(stock), 6, "enc")
    torch.manual_seed(3)
    torch.nn.init.normal_(model.retrieval_head.weight, std=0.5)
    vectors = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Recommender(model, processor, ItemVectors([str(n) for n in range(9)], vectors, "enc", True), max_history=3)


def test_history_means_by_hand():
    vectors = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
    half = 1 / np.sqrt(2)
    np.testing.assert_allclose(history_means(vectors, [2, 1]), [[half, half], [0, 1]], atol=1e-6)


def test_batches_of_any_size_equal_single_requests(recommender):
    histories = [[0], [1, 2, 3], [4, 5], [6]]
    together = recommender.query_vectors(histories, batch_size=2)
    alone = np.concatenate([recommender.query_vectors([history]) for history in histories])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_only_the_latest_items_count(recommender):
    np.testing.assert_allclose(
        recommender.query_vectors([[8, 7, 1, 2, 3]]), recommender.query_vectors([[1, 2, 3]]), atol=1e-6
    )
    np.testing.assert_allclose(recommender.rank([8, 1, 2, 3], [5, 6]), recommender.rank([1, 2, 3], [5, 6]), atol=1e-6)


def test_a_title_changes_the_query(recommender):
    plain, titled = recommender.query_vectors([[1]], [""]), recommender.query_vectors([[1]], ["red flag"])
    assert np.abs(plain - titled).max() > 1e-4


def test_unknown_dtype_is_refused():
    with pytest.raises(UserError, match="allowed are auto, float32"):
        pick_dtype("int4", torch.device("cpu"))
