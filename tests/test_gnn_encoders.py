"""The sampled softmax by hand, and both graph encoders: what they start as and what they learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gnn_worlds import SMALL, learn, two_tastes
from navigator.contracts.vectors import normalise
from train.gnn.lightgcn import LightGCN
from train.gnn.neighbours import Neighbourhoods
from train.gnn.objective import blocked, sampled_softmax
from train.gnn.omnisage import OmniSage


def test_with_all_items_it_is_the_full_softmax_without_the_owners_other_saves():
    torch.manual_seed(0)
    queries, items = torch.nn.functional.normalize(torch.randn(2, 5), dim=1), torch.randn(6, 5)
    items = torch.nn.functional.normalize(items, dim=1)
    targets, targets_of = torch.tensor([1, 4, 0]), torch.tensor([0, 0, 1])
    known, known_of = torch.tensor([1, 4, 2, 0]), torch.tensor([0, 0, 0, 1])
    found = sampled_softmax(
        queries, items[targets], targets_of, items, torch.zeros(6), blocked(torch.arange(6), known, known_of), 0.2
    )
    logits = queries @ items.T / 0.2
    for loss, target, owner in zip(found, targets.tolist(), targets_of.tolist(), strict=True):
        others = [i for i in range(6) if i not in known[known_of == owner].tolist()]
        row = torch.cat([logits[owner, [target]], logits[owner, others]])
        assert loss.item() == pytest.approx(
            torch.nn.functional.cross_entropy(row[None], torch.zeros(1).long()).item(), rel=1e-5
        )


def test_a_sample_with_its_chances_estimates_the_sum_over_all_items():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    query, items = (
        torch.nn.functional.normalize(torch.randn(1, 4), dim=1),
        torch.nn.functional.normalize(torch.randn(50, 4), dim=1),
    )
    chance = rng.uniform(0.2, 0.9, 50)
    nothing = (torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    sums = []
    for _ in range(4000):
        rows = np.flatnonzero(rng.random(50) < chance)
        loss = sampled_softmax(
            query,
            items[:1],
            torch.zeros(1, dtype=torch.long),
            items[rows],
            torch.from_numpy(np.log(chance[rows])),
            nothing,
            0.5,
        )
        positive = (query @ items[0]).item() / 0.5
        sums.append(np.exp(loss.item() + positive) - np.exp(positive))
    assert np.mean(sums) == pytest.approx(torch.exp(query @ items.T / 0.5).sum().item(), rel=0.02)


def test_an_owner_who_saved_every_candidate_gives_a_finite_gradient():
    queries = torch.ones(1, 2, requires_grad=True)
    everything = blocked(torch.arange(3), torch.arange(3), torch.zeros(3, dtype=torch.long))
    loss = sampled_softmax(
        queries, torch.ones(1, 2), torch.zeros(1, dtype=torch.long), torch.ones(3, 2), torch.zeros(3), everything, 0.1
    )
    loss.sum().backward()
    assert queries.grad is not None and torch.isfinite(queries.grad).all()


def test_lightgcn_from_chance_learns_two_tastes_and_leaves_new_items_at_zero():
    world, config = two_tastes(), replace(SMALL, folds=1)
    model = LightGCN(world, 8, "random", 0)

    def apart() -> float:
        vectors = model.everything(-1)
        cosines = (vectors @ vectors.T)[:38, :38]
        same = (torch.arange(38)[:, None] + torch.arange(38)) % 2 == 0
        return (cosines[same].mean() - cosines[~same].mean()).item()

    before = apart()
    learn(world, model, config)
    assert apart() > before + 0.5
    assert not model.everything(-1)[38:].any() and torch.isfinite(model.table).all()


def test_lightgcns_owners_are_weighted_sums_of_their_items():
    world = two_tastes()
    model = LightGCN(world, 8, "spectral", 0)
    found = model.owners(torch.tensor([3, 5, 2]), torch.tensor([0, 0, 2]), 3, torch.zeros(3, 8))
    expected = sum(model.table[i] / world.degree[i] ** 0.5 for i in (3, 5))
    assert torch.allclose(found[0], torch.nn.functional.normalize(expected, dim=0), atol=1e-6)
    assert not found[1].any()  # an owner without saves


def test_the_spectral_start_tells_two_tastes_apart():
    vectors = LightGCN(two_tastes(), 4, "spectral", 0).everything(-1).numpy()
    cosines = (vectors @ vectors.T)[:38, :38]
    same = np.add.outer(np.arange(38), np.arange(38)) % 2 == 0
    assert cosines[same].mean() > cosines[~same].mean() + 0.3


def hand_made() -> tuple[np.ndarray, Neighbourhoods]:
    """Item 0 has neighbours 1 (3 visits) and 2 (1 visit); item 3 has none."""
    content = normalise(np.random.default_rng(0).normal(size=(4, 6))).astype(np.float32)
    nodes = np.full((1, 4, 2), -1, np.int32)
    visits = np.zeros((1, 4, 2), np.float32)
    nodes[0, 0], visits[0, 0] = [1, 2], [3, 1]
    return content, Neighbourhoods({"item": nodes}, {"item": visits}, {"item": content})


def test_omnisage_starts_as_content_beside_the_visit_weighted_mean_of_the_neighbours():
    content, neighbourhoods = hand_made()
    model = OmniSage(content, neighbourhoods, replace(SMALL, graph_weight=0.5), 0).eval()
    with torch.no_grad():
        found = model.items(torch.tensor([0, 3]), -1).numpy()
    pooled = normalise(3 * content[1] + content[2])
    assert np.allclose(found[0], normalise(np.concatenate([content[0], 0.5 * pooled])), atol=1e-6)
    assert np.allclose(found[1], normalise(np.concatenate([content[3], 0.5 * content[3]])), atol=1e-6)


def test_omnisage_does_not_see_the_order_of_neighbours_and_every_part_learns():
    content, neighbourhoods = hand_made()
    turned = Neighbourhoods(
        *({"item": part["item"][..., ::-1].copy()} for part in (neighbourhoods.nodes, neighbourhoods.visits)),
        {"item": content},
    )
    models = [OmniSage(content, n, SMALL, 0).eval() for n in (neighbourhoods, turned)]
    for model in models:
        torch.nn.init.normal_(model.out.weight, generator=torch.Generator().manual_seed(1))
        torch.nn.init.constant_(model.importance, 0.3)
    found = [model.items(torch.arange(4), -1) for model in models]
    assert torch.allclose(found[0], found[1], atol=1e-5)
    (found[0] @ torch.randn(12, generator=torch.Generator().manual_seed(2))).sum().backward()
    unmoved = [name for name, p in models[0].named_parameters() if p.grad is None or not p.grad.any()]
    assert unmoved == []
