"""Random walks against exact personalised PageRank, frozen numbers, and plain loops over the edges."""

import pickle

import numpy as np
import pytest

from graph.k_hop import k_hop_uniform
from graph.relation import CO_SAVED, HOLDS, SAVED, Edges, Relation
from graph.walk import TopVisits, Walkable, walk
from navigator.contracts import UserError

RESTART = 0.3


def relation(
    edge_type: tuple[str, str, str], sizes: dict[str, int], pairs: list, times: list | None = None
) -> Relation:
    src, dst = (np.array(side, np.int32) for side in (list(zip(*pairs, strict=True)) or ([], [])))
    time = np.array([-1] * len(src) if times is None else times, np.int64)
    edges = Edges(src, dst, time, np.ones(len(src), np.float32))
    return Relation.from_edges(edge_type, sizes[edge_type[0]], sizes[edge_type[2]], edges)


# Boards {0,1,2}, {2,3}, {3,4,5}; user 0 saved 0 and 5, user 1 saved 6; item 7 and board 3 are on nothing.
SIZES = {"item": 8, "board": 4, "user": 2}
BOARDS = [(0, 2), (0, 1), (0, 0), (1, 2), (1, 3), (2, 5), (2, 4), (2, 3)]
USERS = [(0, 5), (0, 0), (1, 6)]
RELATIONS = [relation(HOLDS, SIZES, BOARDS), relation(SAVED, SIZES, USERS)]
SMALL = Walkable.of(RELATIONS, SIZES)
# nodes, visits of 100 walks of seed 3 from every item
FROZEN = {
    "item": (
        [[2, 1, 5], [0, 2, 5], [3, 0, 1], [2, 4, 5], [3, 5, 2], [0, 3, 4], [-1, -1, -1], [-1, -1, -1]],
        [[19, 16, 16], [32, 24, 9], [39, 17, 14], [24, 17, 17], [38, 31, 6], [18, 17, 13], [0, 0, 0], [0, 0, 0]],
    ),
    "board": (
        [[0, 2], [0, 1], [1, 0], [2, 1], [2, 1], [2, 0], [-1, -1], [-1, -1]],
        [[60, 14], [113, 4], [72, 57], [61, 53], [112, 17], [63, 12], [0, 0], [0, 0]],
    ),
    "user": (
        [[0], [0], [0], [0], [0], [0], [1], [-1]],
        [[48], [16], [9], [4], [10], [53], [145], [0]],
    ),
}


def random_world(seed: int = 0, times: bool = False) -> tuple[dict[str, int], list[Relation]]:
    """2,000 items, 300 boards, 200 users, about 10,000 saves and 500 co-saves; a third of the times unknown."""
    rng = np.random.default_rng(seed)
    sizes = {"item": 2_000, "board": 300, "user": 200}
    made = []
    for key, n in ((HOLDS, 6_000), (SAVED, 4_000), (CO_SAVED, 500)):
        pairs = sorted(
            {
                (int(a), int(b))
                for a, b in zip(rng.integers(0, sizes[key[0]], n), rng.integers(0, 2_000, n), strict=True)
            }
        )
        pairs = [(a, b) for a, b in pairs if key != CO_SAVED or a < b]
        at = rng.integers(1_000, 2_000, len(pairs))
        at[rng.random(len(pairs)) < 1 / 3] = -1
        made.append(relation(key, sizes, pairs, at.tolist() if times else None))
    return sizes, made


def same(a: dict[str, TopVisits], b: dict[str, TopVisits]) -> bool:
    return a.keys() == b.keys() and all(
        np.array_equal(a[name].nodes, b[name].nodes) and np.array_equal(a[name].visits, b[name].visits) for name in a
    )


def test_counts_stay_what_they_were():
    """Frozen: who changes random streams or the order of edges changes every graph's signals, and should know it."""
    found = walk(SMALL, "item", np.arange(8), {"item": 3, "board": 2, "user": 1}, walks=100, seed=3)
    for name, (nodes, visits) in FROZEN.items():
        assert found[name].nodes.tolist() == nodes and found[name].visits.tolist() == visits


@pytest.mark.parametrize(("kind", "node"), [("item", 0), ("item", 3), ("board", 1), ("user", 0)])
def test_visits_approach_exact_personalised_pagerank_as_one_over_the_root_of_walks(kind: str, node: int):
    places, transition = dense(SMALL)
    start = places[kind, node]
    exact = personalised_pagerank(transition, start)
    distances = []
    sizes = (100, 1_000, 10_000, 100_000)
    for walks in sizes:
        # walks are cut after 60 steps, which 0.7^60 = 5e-10 of them reach
        found = [walk(SMALL, kind, np.array([node]), SIZES, walks=walks, length=60, seed=seed) for seed in range(8)]
        distances.append(np.mean([total_variation(one, places, exact, start) for one in found]))
    slope = np.polyfit(np.log(sizes), np.log(distances), 1)[0]
    assert -0.6 < slope < -0.4 and distances[-1] < 0.004


def test_a_co_save_is_walked_from_both_of_its_ends():
    sizes = {"item": 3}
    edges = Walkable.of([relation(CO_SAVED, sizes, [(0, 1), (1, 2)])], sizes)
    places, transition = dense(edges)
    exact = personalised_pagerank(transition, 0)
    found = walk(edges, "item", np.array([0]), sizes, walks=100_000, length=60)
    assert total_variation(found, places, exact, 0) < 0.005
    assert (walk(edges, "item", np.array([2]), sizes, walks=10)["item"].nodes[0, :2] >= 0).all()


def test_walks_depend_on_seed_and_node_only():
    sizes, relations = random_world()
    edges, nodes = Walkable.of(relations, sizes), np.arange(2_000)
    top = {"item": 10, "user": 3}
    one = walk(edges, "item", nodes, top, walks=50)
    assert same(one, walk(edges, "item", nodes, top, walks=50, threads=3))
    backwards = walk(edges, "item", nodes[::-1], top, walks=50)
    assert same(one, {name: TopVisits(t.nodes[::-1], t.visits[::-1]) for name, t in backwards.items()})
    alone = walk(edges, "item", nodes[777:778], top, walks=50)
    assert alone["item"].nodes.tolist() == one["item"].nodes[777:778].tolist()
    shuffled = Walkable.of(relations[::-1], {"user": 200, "board": 300, "item": 2_000})
    assert same(one, walk(shuffled, "item", nodes, top, walks=50))
    assert same(one, walk(pickle.loads(pickle.dumps(edges)), "item", nodes, top, walks=50))
    assert not same(one, walk(edges, "item", nodes, top, walks=50, seed=1))


def test_mapped_relations_walk_like_those_in_memory(tmp_path):
    sizes, relations = random_world(times=True)
    for one in relations:
        one.save(tmp_path)
    mapped = [Relation.open(tmp_path, one.edge_type, one.time_first, one.time_unit) for one in relations]
    nodes, before = np.arange(100), np.full(100, 1_500)
    for moment in (None, before):
        found = [
            walk(Walkable.of(made, sizes), "item", nodes, {"item": 9}, before=moment) for made in (relations, mapped)
        ]
        assert same(*found)


def test_the_most_visited_are_the_largest_counts_with_ties_to_the_smaller_index():
    sizes, relations = random_world()
    edges, nodes = Walkable.of(relations, sizes), np.arange(50)
    everything = walk(edges, "item", nodes, {"item": 2_000}, walks=5_000)["item"]
    for top in (1, 7, 100):
        found = walk(edges, "item", nodes, {"item": top}, walks=5_000)["item"]
        assert np.array_equal(found.nodes, everything.nodes[:, :top])
        assert np.array_equal(found.visits, everything.visits[:, :top])
    reached = everything.nodes[0] >= 0
    order = sorted(zip(-everything.visits[0][reached], everything.nodes[0][reached], strict=True))
    assert [node for _, node in order] == everything.nodes[0][
        reached
    ].tolist() and reached.sum() > 600  # more than half of the table's first size, so that it grew


def test_isolated_seeds_empty_types_and_no_seeds_are_answered_with_padding():
    found = walk(SMALL, "item", np.array([7, 6]), {"item": 2, "board": 2, "user": 2})
    assert (found["item"].nodes == -1).all() and (found["board"].visits == 0).all()
    assert found["user"].nodes.tolist() == [[-1, -1], [1, -1]]
    sizes = {"item": 2, "board": 0, "user": 0, "interest": 0}
    empty = Walkable.of([relation(HOLDS, sizes, [])], sizes)
    assert (walk(empty, "item", np.arange(2), {"board": 1, "interest": 3})["interest"].nodes == -1).all()
    assert walk(empty, "board", np.arange(0), {"item": 4})["item"].nodes.shape == (0, 4)


def test_progress_counts_every_seed():
    done: list[int] = []
    walk(SMALL, "item", np.tile(np.arange(8), 100), {"item": 1}, walks=1, progress=done.append)
    assert sum(done) == 800 and len(done) > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed_type": "pin"}, "'pin' is not walked; allowed are item, board, user"),
        ({"seeds": np.array([3, 8])}, "seed 8 is no item index; allowed are 0 to 7"),
        ({"seeds": np.array([-1])}, "seed -1 is no item"),
        ({"top": {"interest": 1}}, "'interest' is not walked"),
        ({"top": {"item": -1}}, "top -1 of type item"),
        ({"restart": 1.0}, "restart 1.0"),
        ({"walks": 0}, "walks 0"),
        ({"before": np.array([1, 2])}, "one time a seed"),
    ],
)
def test_requests_that_make_no_sense_are_refused(change: dict, message: str):
    request: dict = {"seed_type": "item", "seeds": np.array([0]), "top": {"item": 1}} | change
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        walk(SMALL, **request)


def test_relations_that_do_not_fit_the_sizes_are_refused():
    with pytest.raises(UserError, match="'holds' has 8 item nodes, the sizes say 9"):
        Walkable.of(RELATIONS, SIZES | {"item": 9})
    with pytest.raises(UserError, match="sizes say nothing"):
        Walkable.of(RELATIONS, {"item": 8, "board": 4})


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


def dense(edges: Walkable) -> tuple[dict[tuple[str, int], int], np.ndarray]:
    """Number of each node and the transition matrix, by plain loops over the relations' edges."""
    names = [(name, node) for name, size in edges.sizes.items() for node in range(size)]
    places = {name: position for position, name in enumerate(names)}
    transition = np.zeros((len(names), len(names)))
    for one in edges.relations:
        both = one.edges()
        for a, b in zip(both.src.tolist(), both.dst.tolist(), strict=True):
            ends = places[one.edge_type[0], a], places[one.edge_type[2], b]
            transition[ends] += 1
            transition[ends[::-1]] += 1
    return places, transition / np.maximum(transition.sum(axis=1, keepdims=True), 1)


def personalised_pagerank(transition: np.ndarray, start: int) -> np.ndarray:
    """Power iteration; the start left out and the rest scaled to 1, as walks count."""
    rank = origin = np.eye(len(transition))[start]
    for _ in range(500):
        rank = RESTART * origin + (1 - RESTART) * rank @ transition
    rank[start] = 0
    return rank / rank.sum()


def total_variation(found: dict[str, TopVisits], places: dict, exact: np.ndarray, start: int) -> float:
    visits = np.zeros(len(exact))
    for name, top in found.items():
        for node, count in zip(top.nodes[0].tolist(), top.visits[0].tolist(), strict=True):
            if node >= 0:
                visits[places[name, node]] = count
    assert visits[start] == 0
    return 0.5 * np.abs(visits / visits.sum() - exact).sum()
