"""Small graphs to walk on."""

import numpy as np

from graph.relation import CO_SAVED, HOLDS, SAVED, Edges, Relation
from graph.walk import TopVisits, Walkable

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
