"""Training saves -> edges of the taste graph -> PyG HeteroData.

Only what `graph.split` left in TRAIN comes in here. Popular items are thinned by OmniSage's law (arXiv 2504.17811: a
node of degree d keeps d^0.86 edges, at least 10, at most 10,000), so that a hub does not swallow every walk.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch_geometric.data import HeteroData

from graph.split import UNKNOWN_TIME, Saves

EdgeType = tuple[str, str, str]
HOLDS: EdgeType = ("board", "holds", "item")
SAVED: EdgeType = ("user", "saved", "item")
HAS: EdgeType = ("item", "has", "interest")
ABOUT: EdgeType = ("board", "about", "interest")
EDGE_TYPES = (HOLDS, SAVED, HAS, ABOUT)
NODE_TYPES = ("item", "board", "user", "interest")

PRUNE_POWER, PRUNE_MIN, PRUNE_MAX = 0.86, 10, 10_000


@dataclass(frozen=True)
class Edges:
    """Edges of one type as parallel (n,) arrays: src, dst int32; time int64 (-1 unknown); weight float32."""

    src: np.ndarray
    dst: np.ndarray
    time: np.ndarray
    weight: np.ndarray

    def rows(self, chosen: np.ndarray) -> "Edges":
        return Edges(self.src[chosen], self.dst[chosen], self.time[chosen], self.weight[chosen])


def save_edges(train: Saves, seed: int) -> Edges:
    """Owner -> item edges of the training saves, sorted by (owner, item), the items' degrees pruned."""
    order = np.lexsort((train.item, train.owner))
    train = train.rows(order)
    return _edges(train.owner, train.item, train.at).rows(prune(train.item, train.at, seed))


def prune(node: np.ndarray, time: np.ndarray, seed: int) -> np.ndarray:
    """Which edges stay, (n,) bool: each node keeps `degree_limit(degree)` edges, recent first, then in seeded order."""
    shuffled = np.random.default_rng(seed).permutation(len(node))
    order = np.lexsort((shuffled, -time, node))
    _, start, degree = np.unique(node[order], return_index=True, return_counts=True)
    rank = np.arange(len(node)) - np.repeat(start, degree)
    keep = np.zeros(len(node), bool)
    keep[order] = rank < np.repeat(degree_limit(degree), degree)
    return keep


def degree_limit(degree: np.ndarray) -> np.ndarray:
    """Edges a node of this degree may keep: clip(degree^0.86, 10, 10,000), whole numbers."""
    return np.clip(np.floor(np.asarray(degree, float) ** PRUNE_POWER), PRUNE_MIN, PRUNE_MAX).astype(np.int64)


def interest_edges(
    train_boards: Saves, board_titles: Sequence[str], item_keywords: Iterable[Sequence[str]] | None = None
) -> tuple[list[str], Edges, Edges]:
    """Interests and their edges (interests, HAS, ABOUT).

    An interest is a board's title, folded to lower case, linked to the boards of that title and to their TRAINING
    items. With `item_keywords` (one list an item) items are linked to their keywords instead: only right for a
    catalogue whose boards are not made of those keywords, or the held-out saves come back in as keywords.
    """
    label_of_board = {int(b): board_titles[int(b)].strip().lower() for b in np.unique(train_boards.owner)}
    if item_keywords is None:
        item_labels = {
            (i, label_of_board[b]) for b, i in zip(train_boards.owner.tolist(), train_boards.item.tolist(), strict=True)
        }
    else:
        item_labels = {(i, word.strip().lower()) for i, words in enumerate(item_keywords) for word in words}
    names = sorted(({*label_of_board.values()} | {name for _, name in item_labels}) - {""})
    index = {name: position for position, name in enumerate(names)}
    has = sorted((i, index[name]) for i, name in item_labels if name)
    about = sorted((b, index[name]) for b, name in label_of_board.items() if name)
    return names, _pairs(has), _pairs(about)


def build_hetero(num_nodes: dict[str, int], edges: dict[EdgeType, Edges]) -> HeteroData:
    """HeteroData with every node type, every edge type and its reverse (``rev_`` + name).

    Edge stores carry `edge_index` (2, n) int64, `time` (n,) int64 (-1 unknown) and `weight` (n,) float32; edge e of a
    reverse type is edge e of the forward type turned round.
    """
    data = HeteroData()
    for name in NODE_TYPES:
        data[name].num_nodes = num_nodes[name]
    for (source, relation, target), table in edges.items():
        forward = torch.from_numpy(np.stack([table.src, table.dst]).astype(np.int64))
        for key, index in (
            ((source, relation, target), forward),
            ((target, f"rev_{relation}", source), forward.flip(0)),
        ):
            data[key].edge_index = index
            data[key].time = torch.from_numpy(table.time.copy())
            data[key].weight = torch.from_numpy(table.weight.copy())
    return data


def _edges(src: np.ndarray, dst: np.ndarray, time: np.ndarray) -> Edges:
    return Edges(src.astype(np.int32), dst.astype(np.int32), time.astype(np.int64), np.ones(len(src), np.float32))


def _pairs(pairs: list[tuple[int, int]]) -> Edges:
    array = np.array(pairs, np.int64).reshape(-1, 2)
    return _edges(array[:, 0], array[:, 1], np.full(len(array), UNKNOWN_TIME))
