"""Walks that respect time, against plain loops over the edges."""

import numpy as np
import pytest

from graph.relation import CO_SAVED, HOLDS, SAVED, Relation
from graph.walk import Walkable, walk
from walk_worlds import RELATIONS, SIZES, random_world, relation


def reachable_before(relations: list[Relation], kind: str, node: int, moment: int) -> set[tuple[str, int]]:
    """Plain breadth-first search over edges whose time is known and before the moment."""
    near: dict[tuple[str, int], set] = {}
    for one in relations:
        source, _, target = one.edge_type
        edges = one.edges()
        for a, b, time in zip(edges.src.tolist(), edges.dst.tolist(), edges.time.tolist(), strict=True):
            if 0 <= time < moment:
                near.setdefault((source, a), set()).add((target, b))
                near.setdefault((target, b), set()).add((source, a))
    seen, queue = {(kind, node)}, [(kind, node)]
    while queue:
        for other in near.get(queue.pop(), set()) - seen:
            seen.add(other)
            queue.append(other)
    return seen - {(kind, node)}


@pytest.mark.parametrize("world", range(8))
def test_time_respecting_walks_reach_exactly_what_earlier_edges_reach(world: int):
    """On sparse graphs with few steps to go everything reachable is visited, and never by an edge at or after the time."""
    rng = np.random.default_rng(world)
    sizes = {"item": 12, "board": 6, "user": 3}
    relations = []
    for key, n in ((HOLDS, 16), (SAVED, 8), (CO_SAVED, 4)):
        pairs = sorted(
            {(int(a), int(b)) for a, b in zip(rng.integers(0, sizes[key[0]], n), rng.integers(0, 12, n), strict=True)}
        )
        pairs = [(a, b) for a, b in pairs if key != CO_SAVED or a < b]
        at = rng.integers(1_000, 1_020, len(pairs))
        at[rng.random(len(pairs)) < 0.2] = -1
        relations.append(relation(key, sizes, pairs, at.tolist()))
    edges = Walkable.of(relations, sizes)
    assert all(one.time_unit == 1 for one in relations)
    reached = 0
    for kind, size in sizes.items():
        seeds, before = np.repeat(np.arange(size), 3), np.tile([1_000, 1_010, 1_025], size)
        found = walk(edges, kind, seeds, sizes, walks=3_000, length=30, before=before, restart=0.1)
        for row, (node, moment) in enumerate(zip(seeds.tolist(), before.tolist(), strict=True)):
            visited = {(name, int(n)) for name, t in found.items() for n in t.nodes[row] if n >= 0}
            assert visited == reachable_before(relations, kind, node, moment)
            reached += len(visited)
    assert reached > 100


def test_a_moment_counts_to_the_time_unit_of_the_relation():
    sizes = {"item": 3, "board": 1}
    edges = relation(HOLDS, sizes, [(0, 0), (0, 1), (0, 2)], [0, 10_000_000, 10_000_300])
    assert 100 < edges.time_unit < 300
    begins = 10_000_300 // edges.time_unit * edges.time_unit  # of the unit that holds the last edge
    before = np.array([10_000_000, begins, begins + edges.time_unit - 1, begins + edges.time_unit])
    found = walk(Walkable.of([edges], sizes), "board", np.zeros(4, int), {"item": 3}, before=before)["item"]
    assert [sorted(set(row) - {-1}) for row in found.nodes.tolist()] == [[0], [0, 1], [0, 1], [0, 1, 2]]


def test_walks_before_the_end_of_time_reach_what_plain_walks_reach_as_often_and_unknown_times_never_count():
    sizes, relations = random_world(times=True)
    known = [relation(one.edge_type, sizes, *in_order(one)) for one in relations]
    edges, nodes = Walkable.of(known, sizes), np.arange(300)
    plain, late = (
        walk(edges, "item", nodes, sizes, walks=5_000, before=before) for before in (None, np.full(300, 2**40))
    )
    for name in sizes:
        totals = np.zeros((2, sizes[name]))
        for total, found in zip(totals, (plain[name], late[name]), strict=True):
            np.add.at(total, found.nodes[found.nodes >= 0], found.visits[found.nodes >= 0])
        n = totals.sum(axis=1)
        noise = np.sqrt(sizes[name] / (np.pi * n[0]))  # expected distance of two samples of one distribution
        assert abs(n[0] / n[1] - 1) < 0.01
        assert 0.5 * np.abs(totals[0] / n[0] - totals[1] / n[1]).sum() < 1.25 * noise
    untimed = Walkable.of(RELATIONS, SIZES)
    assert (walk(untimed, "item", np.arange(8), {"item": 5}, before=np.full(8, 2**40))["item"].nodes == -1).all()


def in_order(one: Relation) -> tuple[list, list]:
    edges = one.edges()
    return list(zip(edges.src.tolist(), edges.dst.tolist(), strict=True)), np.where(
        edges.time < 0, 999, edges.time
    ).tolist()


def test_the_few_early_edges_of_a_hub_are_drawn_with_equal_chance():
    """One board with 2,000 items, 3 of them early: rejection gives up and draws among the three."""
    sizes = {"item": 2_000, "board": 1}
    times = [1_000 if item in (3, 700, 1_999) else 5_000 for item in range(2_000)]
    edges = Walkable.of([relation(HOLDS, sizes, [(0, item) for item in range(2_000)], times)], sizes)
    found = walk(edges, "board", np.array([0]), {"item": 5}, walks=3_000, length=1, before=np.array([2_000]))["item"]
    assert sorted(found.nodes[0].tolist()) == [-1, -1, 3, 700, 1_999]
    assert found.visits.sum() > 1_900 and np.abs(found.visits[0, :3] / found.visits.sum() - 1 / 3).max() < 0.05
