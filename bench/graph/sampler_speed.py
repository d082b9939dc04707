"""How fast the walker steps: beside igraph, a vectorised NumPy walk and the machine's own random access, in one run.

All walk over the same edges. Contenders take turns, so that a busy moment of the machine falls on all of them, and the
median turn counts. "counted" makes what a sampler is for, the most visited nodes of each seed; "steps" only walks.
igraph walks on without restarts in one call, which is its best case (a call costs it the size of the graph); its walks
and NumPy's are not counted in "steps".

The chase is the machine's random access at the same work: over the walker's own arrays, the bounds of a node's row, a
neighbour in it, then that neighbour's row in the other direction, and nothing else: no end of a walk, no choice among
relations, nothing written. One chain waits for every read, as one walk does; many chains wait together, as far as the
processor looks ahead by itself. A walker that asks for memory ahead, and whose walks share a seed and so its cache, may
be above it: it is a yardstick, and a limit only for walkers that do neither.

NumPy's rival is no loop over walks but the fastest that NumPy does: all walks of 64 seeds advance by one gather of bounds
and one of neighbours. The reads of a gather wait together too, so it stands near the chase of many chains itself. The
ratio "chase over numpy steps" says how much room the machine leaves: where it is near 1, being 20 times NumPy means to be
20 times random access, which no walker over a CSR is; against igraph's single walk there is such room.
"""

import importlib.util
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numba import njit
from tqdm import tqdm

from bench.device import describe_device
from graph.relation import HOLDS, SAVED, Edges, Relation
from graph.store import TasteGraph
from graph.walk import Walkable, walk
from graph.walk_kernel import GAMMA, mix, read_int32, read_int64, trace
from navigator.contracts import Catalog, UserError
from navigator.contracts.manifest import write_text

WALKS, LENGTH, RESTART = 1000, 20, 0.3
STEPS_A_WALK = sum((1 - RESTART) ** k for k in range(1, LENGTH + 1))
TOP = {"item": 50, "board": 20}
CHAINS = 16
Chunk = Callable[[int], float]


def sampler_speed(
    out: Path = Path("runs/sampler-speed.json"),
    graph: Path | None = None,
    catalog: Path | None = None,
    edges: int = 1_000_000,
    seconds: float = 1.0,
    turns: int = 7,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure steps a second of the walker, of igraph and of NumPy, and the machine's random access, 1 and 2 threads.

    Args:
        out: JSON file to write.
        graph: taste graph folder; by default a synthetic power-law graph.
        catalog: the catalogue it was built from.
        edges: edges of the synthetic graph.
        seconds: length of a turn.
        turns: turns of each contender; the median counts.
        seed: of the synthetic graph and of the walks.

    Returns:
        What is written: machine, date, seed, protocol, rows (millions of steps a second) and the ratios of our rows.

    Raises:
        UserError: a graph without its catalogue, no saves in it, or an option out of range.
    """
    if edges < 1 or seconds <= 0 or turns < 1 or (graph is None) != (catalog is None):
        raise UserError(
            f"edges {edges}, seconds {seconds}, turns {turns}, graph {graph}, catalog {catalog}: allowed are >= 1, "
            "> 0, >= 1, and a graph with the catalogue it was built from or neither"
        )
    if graph is not None and catalog is not None:
        opened = TasteGraph.open(graph, Catalog.open(catalog))
        relations = [relation for relation in map(opened.relation, ("holds", "saved")) if relation.n_edges]
    else:
        relations = power_law(edges, seed)
    if not relations:
        raise UserError(
            f"graph {graph} has no saves to walk over; build one from a catalogue with boards or interactions"
        )
    walkable = Walkable.of(relations, _sizes(relations))
    contenders = _contenders(walkable, seed)
    rows = [{"name": name, "threads": n, "mps": None} for name in contenders for n in (1, 2)]
    taken: list[list[float]] = [[] for _ in rows]
    with tqdm(total=turns * len(rows), desc="sampler speed", unit="turn") as bar:
        for chunk in contenders.values():
            chunk(0)  # compile, and map what is read
        for _ in range(turns):
            for row, speeds in zip(rows, taken, strict=True):
                speeds.append(_speed(contenders[str(row["name"])], int(row["threads"]), seconds))
                bar.update()
    for row, speeds in zip(rows, taken, strict=True):
        row |= {"mps": median(speeds) / 1e6, "least": min(speeds) / 1e6, "most": max(speeds) / 1e6}
    result = {
        "machine": describe_device().model_dump(), "date": datetime.now(UTC).isoformat(timespec="seconds"), "seed": seed,
        "protocol": {
            "graph": "power law" if graph is None else str(graph.name), "edges": sum(r.n_edges for r in relations),
            "nodes": int(walkable.base[-1]), "walks": WALKS, "length": LENGTH, "restart": RESTART, "top": TOP,
            "seconds": seconds, "turns": turns, "igraph": "igraph steps" in contenders,
        },
        "rows": rows, "ratios": _ratios(rows),
    }  # fmt: skip
    write_text(out, json.dumps(result, indent=1))
    return result


def power_law(edges: int, seed: int) -> list[Relation]:
    """Saves of boards and of users, half each: edges/5 items, edges/20 boards and users, popularity by a power law."""
    rng = np.random.default_rng(seed)
    items, owners = max(edges // 5, 2), max(edges // 20, 2)
    popularity, activity = (np.arange(1, n + 1) ** -power for n, power in ((items, 0.8), (owners, 0.6)))
    shuffled = rng.permutation(items)
    made = []
    for key in (HOLDS, SAVED):
        item = shuffled[rng.choice(items, edges // 2 + 1, p=popularity / popularity.sum())]
        owner = rng.choice(owners, edges // 2 + 1, p=activity / activity.sum())
        pairs = np.unique(owner * items + item)
        src, dst = (pairs // items).astype(np.int32), (pairs % items).astype(np.int32)
        saves = Edges(src, dst, np.full(len(src), -1, np.int64), np.ones(len(src), np.float32))
        made.append(Relation.from_edges(key, owners, items, saves))
    return made


def _sizes(relations: list[Relation]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for relation in relations:
        sizes[relation.edge_type[0]] = len(relation.indptr) - 1
        sizes[relation.edge_type[2]] = len(relation.rev_indptr) - 1
    return sizes


def _contenders(edges: Walkable, seed: int) -> dict[str, Chunk]:
    """Each does some work of the given number and returns its steps."""
    saved = np.zeros(edges.sizes["item"], bool)
    for relation in edges.relations:
        saved |= np.diff(relation.rev_indptr) > 0
    seeds = np.random.default_rng(seed).permutation(np.flatnonzero(saved))
    top = {name: width for name, width in TOP.items() if name in edges.names}

    def some(number: int, n: int) -> np.ndarray:
        return seeds.take(np.arange(number * n, number * n + n), mode="wrap")

    def counted(number: int) -> float:
        walk(edges, "item", some(number, 64), top, WALKS, LENGTH, RESTART, seed)
        return 64 * WALKS * STEPS_A_WALK

    def steps(number: int) -> float:
        places, counts = np.empty((16, WALKS * LENGTH), np.int32), np.empty(16, np.int64)
        trace(
            edges.slots, edges.bounds, edges.base, edges.names.index("item"), some(number, 16), WALKS, LENGTH, RESTART,
            np.uint64(seed), places, counts,
        )  # fmt: skip
        return 16 * WALKS * STEPS_A_WALK

    indptr, indices = symmetric(edges)
    first = int(edges.base[edges.names.index("item")])
    arrays = [(r.rev_indptr, r.rev_indices, r.indptr, r.indices) for r in edges.relations]
    rows = np.array([[array.ctypes.data for array in four] for four in arrays], np.int64)
    items = edges.sizes["item"]
    found: dict[str, Chunk] = {
        "walker counted": counted,
        "walker steps": steps,
        "numpy counted": lambda number: numpy_walk(indptr, indices, some(number, 64) + first, number, True),
        "numpy steps": lambda number: numpy_walk(indptr, indices, some(number, 64) + first, number, False),
        "chase, 1 chain": lambda number: float(_chase(rows, items, 1, 100_000, number)),
        f"chase, {CHAINS} chains": lambda number: float(_chase(rows, items, CHAINS, 50_000, number)),
    }
    if importlib.util.find_spec("igraph") is None:
        tqdm.write("igraph is not installed, its rows are left out; pip install igraph")
        return found
    return found | {"igraph steps": _igraph(indptr, indices, seeds + first)}


def symmetric(edges: Walkable) -> tuple[np.ndarray, np.ndarray]:
    """All relations as one symmetric CSR over the walker's places, as NumPy and igraph need it."""
    ends = []
    for relation in edges.relations:
        table = relation.edges()
        low = [int(edges.base[edges.names.index(relation.edge_type[end])]) for end in (0, 2)]
        ends.append(np.stack([table.src + low[0], table.dst + low[1]]))
    both = np.concatenate([*ends, *(pair[::-1] for pair in ends)], axis=1)
    order = np.lexsort((both[1], both[0]))
    degree = np.bincount(both[0], minlength=int(edges.base[-1]))
    return np.concatenate([[0], np.cumsum(degree)]), both[1][order].astype(np.int32)


def numpy_walk(indptr: np.ndarray, indices: np.ndarray, seeds: np.ndarray, number: int, counted: bool) -> float:
    """WALKS walks from each seed, all advancing together and dropping out as they end; returns the steps."""
    rng = np.random.default_rng(number)
    owner = np.repeat(np.arange(len(seeds)), WALKS)
    node, total, visited = seeds[owner], 0, []
    for _ in range(LENGTH):
        going = rng.random(len(node)) >= RESTART
        owner, node = owner[going], node[going]
        first = indptr[node]
        node = indices[first + (rng.random(len(node)) * (indptr[node + 1] - first)).astype(np.int64)]
        total += len(node)
        if counted:
            visited.append(owner * len(indptr) + node)
    if counted:
        keys, visits = np.unique(np.concatenate(visited), return_counts=True)
        owner = keys // len(indptr)
        order = np.lexsort((keys, -visits, owner))
        rank = np.arange(len(keys)) - np.searchsorted(owner, owner)
        _ = keys[order][rank < sum(TOP.values())]
    return float(total)


def _igraph(indptr: np.ndarray, indices: np.ndarray, seeds: np.ndarray) -> Chunk:
    import igraph  # type: ignore[import-not-found]

    source = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    once = source < indices
    made = igraph.Graph(n=len(indptr) - 1, edges=np.stack([source[once], indices[once]], axis=1))
    return lambda number: float(len(made.random_walk(int(seeds[number % len(seeds)]), 200_000)) - 1)


@njit(nogil=True, cache=True)
def _chase(rows, items, chains, steps, number):
    """Chains of steps from item to owner and back, each chain in one relation; returns the number of steps.

    Args:
        rows: (n_relations, 4) addresses: bounds and neighbours from items to owners, then from owners to items.
        items: how many items there are.
        number: where the chains begin.
    """
    nodes, states = np.empty(chains, np.int64), np.empty(chains, np.uint64)
    for chain in range(chains):
        states[chain] = mix(np.uint64(number * chains + chain) + GAMMA)
        node, bounds = np.int64(states[chain] % np.uint64(items)), rows[(number + chain) % len(rows), 0]
        while read_int64(bounds, node + 1) == read_int64(bounds, node):
            node = (node + 1) % items
        nodes[chain] = node
    for _ in range(steps // 2):
        for way in range(0, 4, 2):
            for chain in range(chains):
                relation = (number + chain) % len(rows)
                first = read_int64(rows[relation, way], nodes[chain])
                size = read_int64(rows[relation, way], nodes[chain] + 1) - first
                states[chain] = states[chain] * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
                drawn = ((states[chain] >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32)
                nodes[chain] = read_int32(rows[relation, way + 1], first + np.int64(drawn))
    done = np.int64(0)
    for chain in range(chains):
        done += steps // 2 * 2 + np.int64(nodes[chain] < 0)
    return done


def _speed(chunk: Chunk, threads: int, seconds: float) -> float:
    """Units a second of wall time, of `threads` threads that each work on until the time is over."""
    begun = time.perf_counter()

    def work(thread: int) -> float:
        done, number = 0.0, thread * 1_000
        while time.perf_counter() - begun < seconds:
            done += chunk(number)
            number += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(work, range(threads)))
    return done / (time.perf_counter() - begun)


def _ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The walker over each other, with the same threads and the same work, and the chase over NumPy."""
    speed = {(row["name"], row["threads"]): row["mps"] for row in rows}
    limit = f"chase, {CHAINS} chains"
    pairs = [("walker counted", "numpy counted"), ("walker steps", "numpy steps"), ("walker steps", "igraph steps")]
    pairs += [
        ("walker counted", "igraph steps"),
        ("walker steps", limit),
        ("walker steps", "chase, 1 chain"),
        (limit, "numpy steps"),
    ]
    return [
        {"of": of, "over": over, "threads": n, "ratio": speed[of, n] / speed[over, n]}
        for of, over in pairs
        for n in (1, 2)
        if (over, n) in speed
    ]  # fmt: skip
