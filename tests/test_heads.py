"""The two heads: no branch sees another, no request its neighbour, and every path to a score gives the same score."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from navigator.contracts import UserError
from navigator.layout import Layout
from navigator.packing import Request, Vocabulary, first_fit, pack
from navigator.swap import swap

DIM = 6
TOKENS = Vocabulary(item=5, retrieve=9, padding=0)


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """To the 1e-4 of the issue, absolute."""
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def units(n: int, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, DIM, generator=torch.Generator().manual_seed(seed)), dim=-1)


Tensors = Sequence[torch.Tensor]


def packed(processor, requests: list[Request], vectors: Tensors, starts: Tensors, length: int | None):
    """Model inputs and starts in reading order, and that order; vectors and starts have one entry a request."""
    inputs, order = processor.packed(requests, length)
    inputs["pixel_values"] = torch.cat([vectors[n] for n in order])
    return inputs, torch.cat([starts[n] for n in order]), order


def asked(
    model, processor, requests: list[Request], vectors: Tensors, starts: Tensors, length: int | None = None
) -> list[torch.Tensor]:
    """The queries of each request."""
    inputs, start, order = packed(processor, requests, vectors, starts, length)
    with torch.no_grad():
        parts = model.retrieve(start, **inputs).split([len(requests[n].asks) for n in order])
    return [parts[order.index(n)] for n in range(len(requests))]


def scored(
    model, processor, requests: list[Request], vectors: Tensors, starts: Tensors, wanted: Tensors, length: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Scores and queries, by number of the request."""
    inputs, start, order = packed(processor, requests, vectors, starts, length)
    with torch.no_grad():
        scores, queries = model.rank(start, torch.stack([wanted[n] for n in order]), **inputs)
    back = np.argsort(order)
    return scores[back], queries[back]


def ranked(model, processor, history: torch.Tensor, candidates: torch.Tensor, words: Sequence[int] = (7,)):
    request = Request(words, len(history), (len(history),), len(candidates))
    return scored(model, processor, [request], [torch.cat([history, candidates])], [units(1, 9)], [candidates])


def test_the_mask_of_two_packed_requests_by_hand():
    """Rows of ``w i ? c c`` and ``w ?``: who sees whom, written out."""
    arrays, order = pack([Request([7], 1, (1,), 2), Request([7], 0, (0,))], 1, TOKENS, 8)
    assert order == [0, 1]
    assert arrays["input_ids"].tolist() == [[0, 7, 5, 9, 5, 5, 7, 9][1:]]
    assert arrays["position"].tolist() == [[0, 1, 2, 2, 2, 0, 1]]
    layout = Layout.of(arrays)
    assert layout is not None
    seen = ["1......", "11.....", "111....", "11.1...", "11..1..", ".....1.", ".....11"]
    assert layout.mask()[0, 0].tolist() == [[c == "1" for c in row] for row in seen]
    assert layout.branch_ends()[0].tolist() == [False, False, True, True, True, False, True]


def test_padding_sees_only_itself_and_is_seen_by_none():
    arrays, _ = pack([Request([7], 2, (2,)), Request([7], 0, (0,))], 1, TOKENS, None)
    layout = Layout.of(arrays)
    assert layout is not None and arrays["attention_mask"].tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]
    expected = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    assert layout.mask()[1, 0].int().tolist() == expected


def test_first_fit_fills_the_first_row_with_room():
    assert first_fit([5, 4, 3, 2, 6], 8) == [[0, 2], [1, 3], [4]]
    assert first_fit([5, 4], None) == [[0], [1]]
    with pytest.raises(UserError, match="request 1 has 9 tokens, a row 8"):
        first_fit([5, 9], 8)


def test_scores_do_not_depend_on_order_or_company(swapped):
    model, processor = swapped
    history, candidates = units(3), units(7, 1)
    scores, query = ranked(model, processor, history, candidates)
    assert scores.std() > 0.05  # scores differ, so that equality says something
    shuffle = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    assert_close(ranked(model, processor, history, candidates[shuffle])[0], scores[:, shuffle])
    for i in range(7):
        alone, alone_query = ranked(model, processor, history, candidates[i : i + 1])
        assert_close(alone, scores[:, i : i + 1])
        assert_close(alone_query, query)


def test_scores_depend_on_history_and_candidate_beyond_their_dot_product(swapped):
    """The ranking head reads the candidate in the light of the history."""
    model, processor = swapped
    candidates = units(4, 1)
    heads = []
    for seed in (2, 3):
        scores, query = ranked(model, processor, units(3, seed), candidates)
        heads.append(scores - query @ candidates.T)
    assert (heads[0] - heads[1]).abs().max() > 1e-3


def test_packed_equals_one_request_a_row(swapped):
    model, processor = swapped
    k = processor.tokens_per_item
    requests = [Request([7, 11], 3, (3,)), Request([7], 1, (0, 1)), Request([8, 9], 0, (0,)), Request([7], 2, (2,))]
    vectors = [units(r.items, 10 + n) for n, r in enumerate(requests)]
    starts = [units(len(r.asks), 20 + n) for n, r in enumerate(requests)]
    alone = asked(model, processor, requests, vectors, starts)
    length = requests[0].length(k) + requests[2].length(k)
    inputs, order = processor.packed(requests, length)
    assert len(inputs["input_ids"]) < len(requests) and order != sorted(
        order
    )  # rows are shared, requests change places
    for one, together in zip(alone, asked(model, processor, requests, vectors, starts, length=length), strict=True):
        assert_close(together, one)
    requests = [Request([7] * (n + 1), n + 1, (n + 1,), 3) for n in range(4)]
    vectors = [units(n + 4, 30 + n) for n in range(4)]
    starts, wanted = [units(1, 40 + n) for n in range(4)], [v[-3:] for v in vectors]
    scores, queries = scored(model, processor, requests, vectors, starts, wanted)
    packed_scores, packed_queries = scored(model, processor, requests, vectors, starts, wanted, length=20 * k)
    assert_close(packed_scores, scores)
    assert_close(packed_queries, queries)


def test_a_packed_request_changes_nothing_of_its_neighbours(swapped):
    model, processor = swapped
    requests = [Request([7], 2, (1, 2), 2) for _ in range(3)]
    inputs, order = processor.packed(requests, 100)
    assert order == [0, 1, 2] and len(inputs["input_ids"]) == 1
    vectors = units(12)
    hidden = model.read(**inputs, pixel_values=vectors)
    changed = vectors.clone()
    changed[4:8] = units(4, 5)  # all items of the middle request
    other = model.read(**inputs, pixel_values=changed)
    middle = inputs["segment"] == 1
    torch.testing.assert_close(other[~middle], hidden[~middle], atol=1e-6, rtol=0)
    assert (other[middle] - hidden[middle]).abs().max() > 1e-3


def test_asking_everywhere_equals_separate_requests(swapped):
    model, processor = swapped
    items, starts = units(4), units(5, 1)
    (together,) = asked(model, processor, [Request([7, 8], 4, tuple(range(5)))], [items], [starts])
    for n in range(5):
        (alone,) = asked(model, processor, [Request([7, 8], n, (n,))], [items[:n]], [starts[n : n + 1]])
        assert_close(together[n : n + 1], alone)
    plain = processor.requests([4]) | {"pixel_values": items}  # no layout: an ordinary causal row, words "Saved:"
    (branch,) = asked(model, processor, [Request(processor.words(), 4, (4,))], [items], [starts[4:]])
    assert_close(model.retrieve(starts[4:], **plain), branch)


def test_an_untrained_models_queries_are_their_starts(backbone):
    model, processor = swap(str(backbone), DIM, "enc", tokens_per_item=2)
    starts = [units(3, 2), units(1, 3)]
    requests = [Request([7], 2, (0, 1, 2)), Request([7], 1, (1,))]
    for length in (None, 50):
        found = asked(model, processor, requests, [units(2), units(1)], starts, length=length)
        assert all((query - start).abs().max() < 1e-6 for query, start in zip(found, starts, strict=True))


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing:FutureWarning")
def test_gradient_checkpointing_gives_the_same_gradients(swapped):
    model, processor = swapped
    calls = []
    layer = model.model.language_model.layers[0].self_attn
    hook = layer.register_forward_hook(lambda *_: calls.append(1))
    inputs, _ = processor.packed([Request([7], 3, (3,), 2), Request([7], 1, (1,), 2)], 60)
    inputs["pixel_values"] = units(8)
    grads = []
    for checkpointing in (False, True):
        model.train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        scores, queries = model.rank(units(2, 1), units(4, 2).view(2, 2, DIM), **inputs)
        (scores.square().sum() + queries[:, 0].sum()).backward()
        grads.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        model.gradient_checkpointing_disable()
        model.eval()
        model.zero_grad()
    hook.remove()
    assert len(calls) == 1 + 2  # without: forward; with: forward and once more in the backward pass
    assert grads[0].keys() == grads[1].keys() and any("language_model.layers.0" in name for name in grads[0])
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, atol=1e-5, rtol=1e-4)


def test_bad_input_is_named(swapped):
    model, processor = swapped
    with pytest.raises(UserError, match="asks after"):
        Request([7], 1, (2,))
    inputs, _ = processor.packed([Request([7], 1, (0, 1))])
    with pytest.raises(ValueError, match="2 retrieve tokens, but 1 queries"):
        model.retrieve(units(1), pixel_values=units(1), **inputs)
    inputs, _ = processor.packed([Request([7], 1, (1,), 2)])
    with pytest.raises(ValueError, match="2 candidates, not"):
        model.rank(units(1), units(3)[None], pixel_values=units(3), **inputs)
    with pytest.raises(ValueError, match="needs a layout"):
        model.rank(units(1), units(1)[None], pixel_values=units(1), **processor.requests([1]))
    with pytest.raises(TypeError, match="unknown model inputs colour"):
        model.read(inputs["input_ids"], colour=torch.zeros(1))
    model.set_attn_implementation("eager")
    with pytest.raises(UserError, match=r"need attention sdpa; else rank by navigator\.prefix"):
        model.rank(units(1), units(2)[None], pixel_values=units(3), **inputs)
    model.set_attn_implementation("sdpa")
