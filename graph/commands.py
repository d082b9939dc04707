"""Commands `navigator graph` and `navigator refine`: catalogue -> taste graph -> vectors refined by it."""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from graph.divide import Parts, divide
from graph.saves import positions
from graph.split import Split, UserSplit, sequences_of
from navigator.contracts import Catalog, ItemVectors, UserError, is_current, publish, read_manifest
from navigator.contracts.manifest import digest
from navigator.contracts.signals import write_sequences
from navigator.contracts.vectors import normalise, write_vectors

PAIRS_PER_ITEM = 20
_ROWS = 8192


def build_graph(
    catalog: Path,
    out: Path,
    seed: int = 0,
    min_board: int = 4,
    valid_fraction: float = 0.2,
    user_split: UserSplit = "leave-last-out",
    global_quantile: float = 0.9,
    interests: Literal["boards", "keywords"] = "boards",
    actions: list[str] | None = None,
    walks: int = 1000,
    length: int = 20,
    restart: float = 0.3,
    unseen_owners: float = 0.0,
    unseen_valid: float = 0.0,
) -> dict[str, Any]:
    """Build the taste graph of a catalogue: split first, then edges, walks and training signals from the rest.

    Args:
        catalog: catalogue folder.
        out: folder of the taste graph.
        seed: of the split, the pruning and the walks.
        min_board: smallest board (distinct items) that holds out a test item; two more for a validation item.
        valid_fraction: share of the boards and of the users that also hold out a validation item.
        user_split: hold out each user's last item, or everything after one moment in time.
        global_quantile: that moment, as a quantile of the interactions' times (global-time only).
        interests: link items to the titles of their boards, or to their own keywords; keywords leak held-out saves
            where boards are made of keywords, as in openclipart.
        actions: which actions of interactions.parquet count as saves; all by default.
        walks: random walks from each item.
        length: most steps of a walk.
        restart: probability of going back to the item after each step.
        unseen_owners: share of the board owners, fixed by their ids, whose boards are kept from training altogether
            and written as test requests; a user's interactions are not touched.
        unseen_valid: a further share of the owners, as validation requests.

    Returns:
        Counts of nodes, edges, held-out saves and signals.

    Raises:
        UserError: no saves, unknown times under global-time, an option out of range.
    """
    opened = Catalog.open(catalog)
    config = {
        "seed": seed, "min_board": min_board, "valid_fraction": valid_fraction, "user_split": user_split,
        "global_quantile": global_quantile, "interests": interests, "actions": actions, "walks": walks,
        "length": length, "restart": restart, "unseen_owners": unseen_owners, "unseen_valid": unseen_valid,
    }  # fmt: skip
    inputs = {"catalog": opened.fingerprint}
    if is_current(out, "graph", config, inputs):
        return {"out": str(out), "unchanged": True, **read_manifest(out, "graph", "").metrics}
    if walks < 1 or length < 1 or not 0 < restart < 1:
        raise UserError(
            f"walks {walks}, length {length}, restart {restart}: allowed are >= 1, >= 1 and between 0 and 1"
        )
    with publish(out, "graph", config, inputs, seed) as work, tqdm(total=3, desc="taste graph", unit="step") as bar:
        parts = divide(opened, config)
        bar.update()
        edge_counts, saves = _write_graph(work.path, opened, parts, config)
        bar.update()
        work.metrics = parts.counts | edge_counts | _write_signals(work.path, opened, parts.boards, saves, config)
        bar.update()
    return {"out": str(out), "unchanged": False, **work.metrics}


def refine(
    graph: Path, vectors: Path, out: Path, catalog: Path, dim: int = 256, graph_weight: float = 1.0
) -> dict[str, Any]:
    """Lay graph factors beside content vectors: items that are saved together come closer; nothing is trained.

    Args:
        graph: taste graph folder; only its training saves are read.
        vectors: content vectors of the same catalogue.
        out: folder of the refined vectors.
        catalog: catalogue folder.
        dim: width of the graph factors.
        graph_weight: length of a graph factor beside a content vector of length 1.

    Returns:
        Where the vectors are, their width, and how many items have no co-save and keep their content alone.

    Raises:
        UserError: a graph of another catalogue, a vector of an unknown item, a width below 1 or a negative weight.
    """
    from graph.factors import co_save_factors, fuse, train_counts
    from graph.store import TasteGraph

    if dim < 1 or graph_weight < 0:
        raise UserError(f"dim {dim}, graph_weight {graph_weight}: allowed are dim >= 1 and graph_weight >= 0")
    opened = Catalog.open(catalog)
    source = TasteGraph.open(graph, opened)
    content = ItemVectors.open(vectors)
    recipe = {"dim": dim, "graph_weight": graph_weight}
    config = {
        "encoder": digest([content.encoder, source.fingerprint, recipe]), "normalised": True,
        "content_encoder": content.encoder, "content_dim": content.dim, **recipe,
    }  # fmt: skip
    content_fingerprint = read_manifest(vectors, "vectors", "").fingerprint
    inputs = {"catalog": opened.fingerprint, "graph": source.fingerprint, "vectors": content_fingerprint}
    if is_current(out, "vectors", config, inputs):
        return {"out": str(out), "unchanged": True, **read_manifest(out, "vectors", "").metrics}
    rows = positions(pa.array(content.ids, pa.string()), pa.array(opened.item_ids, pa.string()), "item")
    with publish(out, "vectors", config, inputs) as work:
        factors = co_save_factors(train_counts(source.sequences, len(opened.item_ids)), dim)[rows]
        fused = np.empty((len(rows), content.dim + dim), np.float16)
        for start in tqdm(range(0, len(rows), _ROWS), desc="refine", unit="block"):
            part = slice(start, start + _ROWS)
            fused[part] = fuse(normalise(content.float32(part)), factors[part], graph_weight)
        write_vectors(work.path, content.ids, fused)
        without = int((~factors.any(axis=1)).sum())
        work.metrics = {"items": len(rows), "dim": fused.shape[1], "items_without_graph": without}
    return {"out": str(out), "unchanged": False, **work.metrics}


def _write_graph(
    folder: Path, catalog: Catalog, parts: Parts, config: dict[str, Any]
) -> tuple[dict[str, int], list[Any]]:
    """Write nodes, edges and sequences; returns their counts and the edges of boards and of users."""
    from graph.build import ABOUT, HAS, HOLDS, SAVED, interest_edges, save_edges
    from graph.store import write_nodes_and_edges

    boards, titles, users = parts.boards, parts.titles, parts.users
    keywords = None
    if config["interests"] == "keywords":
        keywords = [words or [] for words in catalog.table("items", ["keywords"])["keywords"].to_pylist()]
    names, has, about = interest_edges(boards.train, titles, keywords)
    saves = [save_edges(split.train, config["seed"]) for split in (boards, users)]
    edges = {HOLDS: saves[0], SAVED: saves[1], HAS: has, ABOUT: about}
    nodes = {"item": catalog.item_ids, "board": boards.saves.ids, "user": users.saves.ids, "interest": names}
    write_nodes_and_edges(folder, nodes, edges)
    sequences = sequences_of("board-completion", boards, titles) + sequences_of("next-item", users)
    write_sequences(folder / "sequences.parquet", sequences, catalog.item_ids)
    if parts.unseen is not None:
        write_sequences(folder / "unseen.parquet", parts.unseen, catalog.item_ids)
    counts = {f"nodes_{name}": len(ids) for name, ids in nodes.items()}
    counts |= {f"edges_{edge_type[1]}": len(table.src) for edge_type, table in edges.items()}
    trained = len(boards.train.owner) + len(users.train.owner)
    return counts | {"edges_pruned": trained - sum(len(table.src) for table in saves)}, saves


def _write_signals(
    folder: Path, catalog: Catalog, boards: Split, saves: list[Any], config: dict[str, Any]
) -> dict[str, int]:
    """Walk over the training edges, write pairs and hard negatives; returns their counts."""
    from graph.signals import RANK_HIGH, co_save_pairs, hard_negatives
    from graph.store import write_signals
    from graph.walk import Bipartite, walk

    holds, saved = saves
    n_items, n_boards = len(catalog.item_ids), len(boards.saves.ids)
    n_users = pq.read_metadata(folder / "nodes_user.parquet").num_rows
    context = np.concatenate([holds.src.astype(np.int64), saved.src.astype(np.int64) + n_boards])
    bipartite = Bipartite.from_edges(n_items, n_boards + n_users, context, np.concatenate([holds.dst, saved.dst]))
    visits = walk(
        bipartite, np.arange(n_items), RANK_HIGH, walks=config["walks"], length=config["length"],
        restart=config["restart"], seed=config["seed"], threads=os.cpu_count() or 1,
    )  # fmt: skip
    pairs = co_save_pairs(visits, PAIRS_PER_ITEM)
    negatives, ranks = hard_negatives(visits, boards.train)
    write_signals(folder, catalog.item_ids, pairs, negatives, ranks)
    return {"pairs": pairs.num_rows, "items_with_hard_negatives": int((negatives >= 0).any(axis=1).sum())}
