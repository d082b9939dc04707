"""Uniform draws of two-hop neighbourhoods."""

import numpy as np
import pytest

from graph.k_hop import k_hop_uniform
from graph.relation import HOLDS, Relation
from graph.walk import Walkable
from navigator.contracts import UserError
from walk_worlds import SMALL, random_world, relation, same


def two_hops(edges: Walkable, relations: list[Relation], kind: str, node: int) -> dict[str, set[int]]:
    near: dict[tuple[str, int], set] = {}
    for one in relations:
        both = one.edges()
        for a, b in zip(both.src.tolist(), both.dst.tolist(), strict=True):
            near.setdefault((one.edge_type[0], a), set()).add((one.edge_type[2], b))
            near.setdefault((one.edge_type[2], b), set()).add((one.edge_type[0], a))
    one_hop = near.get((kind, node), set())
    all_of = (one_hop | {far for middle in one_hop for far in near[middle]}) - {(kind, node)}
    return {name: {n for k, n in all_of if k == name} for name in edges.names}


def test_k_hop_takes_every_node_of_a_small_neighbourhood_and_a_uniform_draw_of_a_large_one():
    sizes, relations = random_world()
    edges, nodes = Walkable.of(relations, sizes), np.arange(100)
    found = k_hop_uniform(edges, "item", nodes, {"item": 2_000, "user": 200})
    for node in nodes[:20].tolist():
        expected = two_hops(edges, relations, "item", node)
        for name in ("item", "user"):
            assert set(found[name].nodes[node].tolist()) - {-1} == expected[name]
            assert found[name].visits[node].sum() == len(expected[name])
    few = k_hop_uniform(edges, "item", nodes, {"item": 5}, threads=2)
    assert same(few, k_hop_uniform(edges, "item", nodes, {"item": 5}))
    one_hop = k_hop_uniform(edges, "board", np.array([4]), {"item": 100}, hops=1)["item"].nodes[0]
    assert set(one_hop.tolist()) - {-1} == set(relations[0].indices[slice(*relations[0].indptr[4:6])].tolist())


def test_k_hop_draws_each_node_equally_often():
    """Item 2 has neighbours 0, 1 by board 0 and 3 by board 1: by paths 1/3 each would not hold for a double path."""
    sizes = {"item": 4, "board": 3}
    edges = Walkable.of([relation(HOLDS, sizes, [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (2, 2), (2, 3)])], sizes)
    drawn = [
        int(k_hop_uniform(edges, "item", np.array([2]), {"item": 1}, seed=s)["item"].nodes[0, 0]) for s in range(3_000)
    ]
    assert set(drawn) == {0, 1, 3} and np.abs(np.bincount(drawn)[[0, 1, 3]] / 3_000 - 1 / 3).max() < 0.035


def test_k_hop_refuses_three_hops_and_pads_isolated_seeds():
    assert (k_hop_uniform(SMALL, "item", np.array([7]), {"item": 3})["item"].nodes == -1).all()
    with pytest.raises(UserError, match="hops 3: allowed are 1 and 2"):
        k_hop_uniform(SMALL, "item", np.array([0]), {"item": 3}, hops=3)
