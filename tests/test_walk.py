"""Random walks against exact personalised PageRank and frozen numbers."""

import pickle

import numpy as np
import pytest

from graph.relation import CO_SAVED, HOLDS, Relation
from graph.walk import TopVisits, Walkable, walk
from navigator.contracts import UserError
from walk_worlds import RELATIONS, RESTART, SIZES, SMALL, random_world, relation, same

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
