"""Kept trunks: the scores of one pass, only new tokens read, nothing polluted, bounded; and the kernels that need no mask."""

import importlib.util
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from navigator.contracts import ItemVectors, UserError
from navigator.prefix import PrefixCache, Trunk
from navigator.recommend import Recommender

DIM = 6


def units(n: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, DIM, generator=torch.Generator().manual_seed(0)), dim=-1)


@pytest.fixture(params=["sdpa", "eager"])
def recommender(swapped, request) -> Iterator[Recommender]:
    """With a fresh cache; sdpa continues a trunk by a row, eager by a batch, as all kernels do that take no mask."""
    model, processor = swapped
    store = ItemVectors([str(n) for n in range(12)], units(12).numpy(), "enc", True)
    model.set_attn_implementation(request.param)
    yield Recommender(model, processor, store, 6)
    model.set_attn_implementation("sdpa")


def one_pass(recommender: Recommender, history: list[int], candidates: list[int], title: str = "") -> np.ndarray:
    """The scores without any cache."""
    kernel = recommender.model.model.language_model.config._attn_implementation
    recommender.model.set_attn_implementation("sdpa")
    before = recommender.prefixes.tokens_read
    scores = recommender.rank(history, candidates, title)
    assert recommender.prefixes.tokens_read == before
    recommender.model.set_attn_implementation(kernel)
    return scores


@pytest.fixture
def on_gpu(recommender) -> Iterator[Recommender]:
    """The same in bfloat16 on a GPU; the tolerances are of bfloat16."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = recommender.model.to("cuda", torch.bfloat16)
    yield Recommender(model, recommender.processor, recommender.vectors, 6)
    model.set_attn_implementation("sdpa")
    model.to("cpu", torch.float32)


def test_the_cached_path_gives_the_scores_of_one_pass(recommender):
    history, candidates = [0, 1, 2], [3, 4, 5, 6, 7]
    np.testing.assert_allclose(
        recommender.rank(history, candidates, "red flag", session="ann"),
        one_pass(recommender, history, candidates, "red flag"),
        atol=1e-4,
    )
    np.testing.assert_allclose(
        recommender.query_vectors([history], ["red flag"], session="bob"),
        recommender.query_vectors([history], ["red flag"]),
        atol=1e-4,
    )


def test_a_returning_user_costs_only_what_is_new(recommender):
    k, cache = recommender.tokens_per_item, recommender.prefixes
    words = len(recommender.processor.words())

    def read(history: list[int], candidates: list[int], session: str = "ann") -> int:
        before, found = cache.tokens_read, recommender.rank(history, candidates, session=session)
        np.testing.assert_allclose(found, one_pass(recommender, history, candidates), atol=1e-4)
        return cache.tokens_read - before

    branches = 3 * k + (1 if recommender.model.takes_layout else k)  # in a batch all rows are as long
    assert read([0, 1], [5, 6, 7]) == words + 2 * k + branches
    assert read([0, 1], [7, 8, 9]) == branches  # the same history: only branches
    assert read([0, 1, 2, 3], [7, 8, 9]) == 2 * k + branches  # two more items
    assert read([0, 2], [7, 8, 9]) == words + 2 * k + branches  # no extension: read anew
    assert read([0, 4], [7, 8, 9]) == words + 2 * k + branches  # another item in its place
    assert read([0, 2], [7, 8, 9]) == words + 2 * k + branches
    assert read([0, 2], [7, 8, 9], session="bob") == words + 2 * k + branches  # not ann's
    before = cache.tokens_read
    query = recommender.query_vectors([[0, 2, 4]], session="ann")
    np.testing.assert_allclose(query, recommender.query_vectors([[0, 2, 4]]), atol=1e-4)
    assert cache.tokens_read - before == k + 1
    assert read([0, 2, 4], [1, 3, 5]) == branches
    recommender.rank([0, 2, 4], [1, 3, 5], "red flag", session="ann")
    assert read([0, 2, 4], [1, 3, 5]) == words + 3 * k + branches  # another title: read anew


def test_branches_leave_no_trace_in_what_is_kept(recommender):
    recommender.rank([0, 1], [5, 6], session="ann")
    ((_, kept),) = recommender.prefixes._kept.values()
    before = [(layer.keys.clone(), layer.values.clone()) for layer in kept.layers]
    recommender.rank([0, 1], [7, 8, 9], session="ann")
    recommender.query_vectors([[0, 1, 2]], session="ann")
    for layer, (keys, values) in zip(kept.layers, before, strict=True):
        assert torch.equal(layer.keys, keys) and torch.equal(layer.values, values)


def test_the_cache_is_bounded_and_forgets_who_was_longest_away(swapped):
    model, _ = swapped
    k = model.tokens_per_item
    cache = PrefixCache(model, lambda rows: units(12)[list(rows)], kept_tokens=2 * (1 + 2 * k))
    for session in ("ann", "bob", "ann", "eve"):
        cache.retrieve(session, Trunk((7,), (0, 1)), units(1))
    assert cache.sessions == ["ann", "eve"]
    cache.retrieve(None, Trunk((7,), (0, 1)), units(1))
    cache.retrieve("long", Trunk((7,), tuple(range(8))), units(1))  # longer than all that may be kept
    assert cache.sessions == ["ann", "eve"]
    cache.forget("ann")
    assert cache.sessions == ["eve"]


def test_many_candidates_of_a_long_trunk_go_in_parts(recommender, monkeypatch):
    whole = recommender.rank([0, 1, 2], [3, 4, 5, 6, 7, 8, 9], session="ann")
    for tokens in (1, 60):
        monkeypatch.setattr("navigator.prefix.EXPANDED_TOKENS", tokens)
        np.testing.assert_allclose(recommender.rank([0, 1, 2], [3, 4, 5, 6, 7, 8, 9], session="ann"), whole, atol=1e-5)


@pytest.mark.parametrize("recommender", ["eager"], indirect=True)
def test_a_kernel_without_masks_ranks_through_the_cache_and_keeps_nothing(recommender):
    np.testing.assert_allclose(recommender.rank([0, 1, 2], [3, 4]), one_pass(recommender, [0, 1, 2], [3, 4]), atol=1e-4)
    assert recommender.prefixes.tokens_read > 0 and not recommender.prefixes.sessions


def test_a_session_is_one_users(recommender):
    with pytest.raises(UserError, match="'ann' is one user's, but 2 histories"):
        recommender.query_vectors([[0], [1]], session="ann")


@pytest.mark.gpu
def test_one_pass_and_the_cached_path_agree_on_a_gpu(on_gpu):
    np.testing.assert_allclose(on_gpu.rank([0, 1], [3, 4, 5]), on_gpu.rank([0, 1], [3, 4, 5], session="a"), atol=5e-2)


@pytest.mark.gpu
def test_sdpa_and_flash_attention_agree(on_gpu):
    if importlib.util.find_spec("flash_attn") is None:
        pytest.skip("flash-attn is not installed (pip install flash-attn)")
    scores, queries = on_gpu.rank([0, 1, 2], [3, 4, 5, 6]), on_gpu.query_vectors([[0, 1, 2], [4]])
    on_gpu.model.set_attn_implementation("flash_attention_2")
    np.testing.assert_allclose(on_gpu.query_vectors([[0, 1, 2], [4]]), queries, atol=2e-2)
    np.testing.assert_allclose(on_gpu.rank([0, 1, 2], [3, 4, 5, 6]), scores, atol=5e-2)
