"""Retrieval: softmax of the query against item vectors, over all items or over a sample with the logQ correction.

Sampling without correction punishes popular items, which appear as negatives more often than they should; subtracting the
log of each item's expected count repairs the estimate (Bengio & Senecal 2008; Yi et al., RecSys 2019).
"""

import torch
import torch.nn.functional as F


def retrieval_loss(
    queries: torch.Tensor, items: torch.Tensor, targets: torch.Tensor, blocked: torch.Tensor, temperature: float,
    log_expected: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Cross-entropy of each query's target among the candidate items.

    Args:
        queries: (B, D) unit vectors.
        items: (M, D) unit vectors of the candidates.
        targets: (B,) position of each query's target among the candidates.
        blocked: (B, M) bool, candidates that are no negatives of this query (its other positives); the target never is.
        temperature: logits are cosine / temperature.
        log_expected: (M,) log of how often each candidate is expected in the sample; None when all items are candidates.

    Returns:
        (B,) losses.
    """
    with torch.autocast(queries.device.type, enabled=False):  # a temperature of 0.05 needs float32 cosines
        logits = queries @ items.T / temperature  # (B, M)
    if log_expected is not None:
        logits = logits - log_expected
    own = F.one_hot(targets, items.shape[0]).bool()
    return F.cross_entropy(logits.masked_fill(blocked & ~own, float("-inf")), targets, reduction="none")


def log_expected_counts(
    candidates: torch.Tensor, popularity: torch.Tensor, batch: int, uniform: int, hard: torch.Tensor
) -> torch.Tensor:
    """Log expected number of times each candidate enters the sample.

    Args:
        candidates: (M,) item indices.
        popularity: (n,) probability that one example's target is this item.
        batch: in-batch targets drawn (the global batch).
        uniform: items drawn uniformly from all n.
        hard: (M,) bool, candidates put in on purpose (hard negatives): they count once more.
    """
    n = popularity.shape[0]
    expected = batch * popularity[candidates] + uniform / n + hard.float()
    return expected.clamp_min(1e-12).log()
