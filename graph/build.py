"""Training saves -> interests and PyG HeteroData. Only what `graph.split` left in TRAIN comes in here."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from graph.relation import NODE_TYPES, UNKNOWN_TIME, Edges, EdgeType
from graph.saves import Saves

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def interest_edges(
    train_boards: Callable[[], Iterator[Saves]], board_titles: Sequence[str], item_keywords: pa.Array | None = None
) -> tuple[list[str], Edges, Edges]:
    """Interests and their edges (interests, HAS, ABOUT).

    An interest is a board's title, folded to lower case, linked to the boards of that title and to their TRAINING
    items. With `item_keywords` (one list an item) items are linked to their keywords instead: only right for a
    catalogue whose boards are not made of those keywords, or the held-out saves come back in as keywords.

    Args:
        train_boards: gives the training saves of boards in blocks.
        board_titles: by board number.
    """
    saved = np.zeros(len(board_titles), bool)
    for block in train_boards():
        saved[block.owner] = True
    folded = [title.strip().lower() if here else "" for title, here in zip(board_titles, saved.tolist(), strict=True)]
    words = pa.array([], pa.string()) if item_keywords is None else item_keywords.flatten().dictionary_encode()
    vocabulary = (
        [] if item_keywords is None else [(word or "").strip().lower() for word in words.dictionary.to_pylist()]
    )
    names = sorted({*folded, *vocabulary} - {""})
    index = {name: position for position, name in enumerate(names)} | {"": -1}
    label = np.array([index[name] for name in folded], np.int64)
    if item_keywords is None:
        has = _titled_items(train_boards(), label, len(names))
    else:
        sizes = item_keywords.fill_null([]).value_lengths().to_numpy(zero_copy_only=False)
        number = np.array([index[word] for word in vocabulary] or [-1], np.int64)
        codes = words.indices.fill_null(0).to_numpy(zero_copy_only=False)
        has = _distinct(np.repeat(np.arange(len(sizes)), sizes), number[codes], len(names))
    boards = np.flatnonzero(label >= 0)
    return names, has, plain_edges(boards, label[boards])


def build_hetero(num_nodes: dict[str, int], edges: dict[EdgeType, Edges]) -> "HeteroData":
    """HeteroData with every node type, every edge type and its reverse (``rev_`` + name).

    Edge stores carry `edge_index` (2, n) int64, `time` (n,) int64 (-1 unknown) and `weight` (n,) float32; edge e of a
    reverse type is edge e of the forward type turned round.
    """
    import torch  # here, because commands that only read arrays should start at once
    from torch_geometric.data import HeteroData

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


def _titled_items(blocks: Iterable[Saves], label: np.ndarray, n_labels: int) -> Edges:
    """Item -> label of its boards, each pair once."""
    keys = [np.zeros(0, np.int64)]
    for block in blocks:
        own = label[block.owner]
        keys.append(np.unique(block.item[own >= 0].astype(np.int64) * max(n_labels, 1) + own[own >= 0]))
    joined = np.concatenate(keys)
    return _distinct(joined // max(n_labels, 1), joined % max(n_labels, 1), n_labels)


def _distinct(item: np.ndarray, label: np.ndarray, n_labels: int) -> Edges:
    known = label >= 0
    keys = np.unique(item[known].astype(np.int64) * max(n_labels, 1) + label[known])
    return plain_edges(keys // max(n_labels, 1), keys % max(n_labels, 1))


def plain_edges(src: np.ndarray, dst: np.ndarray) -> Edges:
    """Edges of weight 1 and unknown time."""
    n = len(src)
    return Edges(src.astype(np.int32), dst.astype(np.int32), np.full(n, UNKNOWN_TIME), np.ones(n, np.float32))
