"""Every loss against a plain loop."""

import math

import numpy as np
import torch

from train.loss_describe import describe_loss
from train.loss_ranking import ranking_loss
from train.loss_retrieval import log_expected_counts, retrieval_loss


def loop_retrieval(queries, items, targets, blocked, temperature, log_expected):
    losses = []
    for b in range(len(queries)):
        logits = {}
        for m in range(len(items)):
            if blocked[b][m] and m != targets[b]:
                continue
            cosine = sum(float(x) * float(y) for x, y in zip(queries[b], items[m], strict=True))
            logits[m] = cosine / temperature - (float(log_expected[m]) if log_expected is not None else 0.0)
        losses.append(math.log(sum(math.exp(v) for v in logits.values())) - logits[int(targets[b])])
    return losses


def test_retrieval_loss_equals_the_loop_with_and_without_correction():
    torch.manual_seed(0)
    queries, items = torch.randn(3, 4), torch.randn(6, 4)
    targets = torch.tensor([0, 5, 2])
    blocked = torch.zeros(3, 6, dtype=torch.bool)
    blocked[0, [0, 1]] = True  # the target itself is never blocked
    blocked[2, 4] = True
    for correction in (None, torch.randn(6)):
        got = retrieval_loss(queries, items, targets, blocked, 0.5, correction)
        want = loop_retrieval(queries, items, targets, blocked, 0.5, correction)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-5)


def test_the_sampled_softmax_estimates_the_full_one_only_with_the_correction():
    """Items drawn by popularity: corrected, the mean over samples comes close to the full loss; uncorrected, it is far."""
    rng = np.random.default_rng(0)
    n, draws = 40, 400
    items = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(n, 8))).float(), dim=-1)
    popularity = torch.from_numpy(rng.dirichlet(np.full(n, 0.3))).float().clamp_min(1e-4)
    popularity /= popularity.sum()
    query, target = items[3:4] * 0.5 + items[9:10] * 0.5, 3
    full = retrieval_loss(query, items, torch.tensor([target]), torch.zeros(1, n, dtype=torch.bool), 0.5)
    estimates = {True: [], False: []}
    for _ in range(draws):
        in_batch = rng.choice(n, size=16, p=popularity.double().numpy() / popularity.double().sum().item())
        chosen = np.unique([target, *in_batch, *rng.integers(n, size=8)])
        candidates = torch.from_numpy(chosen)
        hard = candidates == target
        log_expected = log_expected_counts(candidates, popularity, 16, 8, torch.zeros_like(hard))
        probability = 1 - torch.exp(-log_expected.exp())  # unique candidates: chance of being in at all
        probability[chosen == target] = 1.0
        for corrected, values in estimates.items():
            given = probability.log() if corrected else None
            where = torch.tensor([int(np.flatnonzero(chosen == target)[0])])
            blocked = torch.zeros(1, len(chosen), dtype=torch.bool)
            values.append(float(retrieval_loss(query, items[candidates], where, blocked, 0.5, given)))
    error = {corrected: abs(np.mean(values) - float(full)) for corrected, values in estimates.items()}
    assert error[True] < 0.1 < error[False]


def test_expected_counts_add_in_batch_uniform_and_hard():
    popularity = torch.tensor([0.5, 0.25, 0.25])
    got = log_expected_counts(
        torch.tensor([0, 2]), popularity, batch=8, uniform=3, hard=torch.tensor([False, True])
    ).exp()
    np.testing.assert_allclose(got.numpy(), [8 * 0.5 + 1, 8 * 0.25 + 1 + 1], rtol=1e-6)


def test_ranking_loss_equals_the_loop():
    scores = torch.tensor([[1.0, 0.5, -1.0], [0.0, 2.0, 0.0]])
    want = [math.log(sum(math.exp(s / 0.7) for s in row)) - row[0] / 0.7 for row in scores.tolist()]
    np.testing.assert_allclose(ranking_loss(scores, 0.7).numpy(), want, rtol=1e-6)


def test_describe_loss_is_the_mean_of_each_examples_tokens():
    torch.manual_seed(0)
    logits, labels, rows = torch.randn(4, 5), torch.tensor([2, 4, 0, 1]), torch.tensor([0, 0, 2, 0])
    log_p = logits.log_softmax(-1)
    first = -sum(float(log_p[t, labels[t]]) for t in (0, 1, 3)) / 3
    np.testing.assert_allclose(
        describe_loss(logits, labels, rows, 3).numpy(), [first, 0.0, -float(log_p[2, 0])], rtol=1e-5
    )
