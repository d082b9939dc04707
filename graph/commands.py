"""Commands `navigator graph build` and `navigator refine`: catalogue -> taste graph -> vectors refined by it."""

import os
import shutil
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from graph.add import add_to
from graph.assemble import Limits, assemble
from graph.audit import audited
from graph.forgotten import Theirs, forgotten_path, forgotten_rows, read_forgotten
from graph.policy import DAY, Purpose, load_policy
from graph.saves import positions
from graph.split import UserSplit
from graph.store import TasteGraph
from navigator.contracts import Catalog, ItemVectors, UserError, is_current, publish, read_manifest
from navigator.contracts.manifest import digest, file_digest
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
    test_actions: list[str] | None = None,
    impressions: list[str] | None = None,
    prune: bool = True,
    co_saves: int = 0,
    signals: bool = True,
    walks: int = 1000,
    length: int = 20,
    restart: float = 0.3,
    unseen_owners: float = 0.0,
    unseen_valid: float = 0.0,
    policy: Path | None = None,
    forgotten: Path | None = None,
) -> dict[str, Any]:
    """Build the taste graph of a catalogue: split first, then edges, walks and training signals from the rest.

    Args:
        catalog: catalogue folder.
        out: folder of the taste graph.
        seed: of the split, the pruning and the walks.
        min_board: smallest board (distinct items) that holds out a test item; two more for a validation item.
        valid_fraction: share of the boards and of the users that also hold out a validation item.
        user_split: hold out each user's last item, everything after one moment in time, or the saves of test_actions.
        global_quantile: that moment, as a quantile of the interactions' times (global-time only).
        interests: link items to the titles of their boards, or to their own keywords; keywords leak held-out saves
            where boards are made of keywords, as in openclipart.
        actions: which actions of interactions.parquet count as saves; all by default, without test_actions and
            impressions.
        test_actions: actions whose interactions are the test saves (user_split given).
        impressions: actions that only show an item; what a user was shown and did not save becomes a signal.
        prune: thin popular items (graph.csr); without it every training save is an edge.
        co_saves: positions within an owner's training sequence that make two items co-saved; 0 leaves the relation out.
        signals: write signals.parquet.
        walks: random walks from each item; 0 leaves out the signals that are made of walks.
        length: most steps of a walk.
        restart: probability of going back to the item after each step.
        unseen_owners: share of the board owners, fixed by their ids, whose boards are kept from training altogether
            and written as test requests; a user's interactions are not touched.
        unseen_valid: a further share of the owners, as validation requests.
        policy: YAML file of purposes, or a graph folder that carries one; Navigator's own by default.
        forgotten: list of people who are left out (see `navigator graph forget`); OUT.forgotten.json by default.

    Returns:
        Counts of nodes, edges, refused rows, held-out saves and signals.

    Raises:
        UserError: no saves, unknown times under global-time, an option out of range, a purpose that may not.
    """
    opened = Catalog.open(catalog)
    config = {
        "seed": seed, "min_board": min_board, "valid_fraction": valid_fraction, "user_split": user_split,
        "global_quantile": global_quantile, "interests": interests, "actions": actions, "test_actions": test_actions,
        "impressions": impressions, "prune": prune, "co_saves": co_saves, "signals": signals, "walks": walks,
        "length": length, "restart": restart, "unseen_owners": unseen_owners, "unseen_valid": unseen_valid,
    }  # fmt: skip
    with audited(out, "graph build", "build", config) as entry:
        rules_of = load_policy(policy)
        entry.policy = rules_of.fingerprint
        left_out = read_forgotten(forgotten_path(out) if forgotten is None else forgotten)
        inputs = {"catalog": opened.fingerprint, "policy": rules_of.fingerprint}
        inputs |= {"forgotten": left_out.fingerprint} if left_out.hashes else {}
        entry.artefacts = dict(inputs)
        if is_current(out, "graph", config, inputs):
            manifest = read_manifest(out, "graph", "")
            entry.artefacts["graph"] = manifest.fingerprint
            return {"out": str(out), "unchanged": True, **manifest.metrics}
        _check_options(config)
        rules = rules_of.purpose("build")
        rules.check_types(["holds", "saved", "has", "about", *(["co_saved"] if co_saves else [])])
        if interests == "boards":
            rules.check_field("titles")
        with publish(out, "graph", config, inputs, seed) as work, tqdm(total=2, desc="taste graph", unit="step") as bar:
            theirs = forgotten_rows(opened.path, left_out)
            work.metrics = assemble(work.path, opened, config, _limits(rules, theirs))
            work.metrics["forgotten"] = theirs.rows
            bar.update()
            if signals:
                work.metrics |= _write_signals(work.path, opened, config, work.metrics, bar)
            rules_of.write(work.path)
            bar.update()
        entry.artefacts["graph"] = read_manifest(out, "graph", "").fingerprint
    return {"out": str(out), "unchanged": False, **work.metrics}


def add_edges(graph: Path, edges: Path, catalog: Path, out: Path, relation: str = "saved") -> dict[str, Any]:
    """Add edges to a taste graph without building it again; signals are made anew with the graph's own options.

    Args:
        graph: taste graph folder; it stays as it is.
        edges: Parquet file with the columns source, target (external ids) and, if known, at (seconds since 1970) and
            weight.
        catalog: catalogue folder the graph was built from; it has all items.
        out: folder of the larger graph.
        relation: holds (board to item), saved (user to item) or follows (user to board).

    Returns:
        Counts of the larger graph; "added" says what was read, kept and refused.

    Raises:
        UserError: all edges refused, a time the graph cannot say, a graph with co-saves, a purpose that may not.
    """
    opened = Catalog.open(catalog)
    with audited(out, "graph add", "build", {"relation": relation}, also=graph) as entry:
        old = TasteGraph.open(graph, opened, "build")
        policy, left_out = load_policy(graph), read_forgotten(forgotten_path(graph))
        entry.policy = policy.fingerprint
        old.purpose.check_types([relation])
        if not edges.is_file():
            raise UserError(f"edges {edges} does not exist; give a Parquet file with source, target, at?, weight?")
        config = old.manifest.config | {"relation": relation}
        inputs = old.manifest.inputs | {"graph": old.fingerprint, "edges": file_digest(edges)[:16]}
        inputs |= {"forgotten": left_out.fingerprint} if left_out.hashes else {}
        entry.artefacts = dict(inputs)
        if is_current(out, "graph", config, inputs):
            return {"out": str(out), "unchanged": True, **read_manifest(out, "graph", "").metrics}
        seed = old.manifest.seed
        with publish(out, "graph", config, inputs, seed) as work, tqdm(total=2, desc="add edges", unit="step") as bar:
            work.metrics = add_to(work.path, old, edges, relation, left_out)
            bar.update()
            if config["signals"]:
                work.metrics |= _write_signals(work.path, opened, config, work.metrics, bar)
            policy.write(work.path)
            bar.update()
        if left_out.hashes:
            shutil.copyfile(forgotten_path(graph), forgotten_path(out))
        entry.artefacts["result"] = read_manifest(out, "graph", "").fingerprint
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

    if dim < 1 or graph_weight < 0:
        raise UserError(f"dim {dim}, graph_weight {graph_weight}: allowed are dim >= 1 and graph_weight >= 0")
    opened = Catalog.open(catalog)
    with audited(out, "refine", "export", {"dim": dim, "graph_weight": graph_weight}, also=graph) as entry:
        source = TasteGraph.open(graph, opened, "export")
        entry.policy, entry.artefacts = source.purpose.policy, {"graph": source.fingerprint}
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
        entry.artefacts["vectors"] = read_manifest(out, "vectors", "").fingerprint
    return {"out": str(out), "unchanged": False, **work.metrics}


def _check_options(config: dict[str, Any]) -> None:
    """Raises UserError: an option out of range, or two that do not go together."""
    walks, length, restart = (config[name] for name in ("walks", "length", "restart"))
    if walks < 0 or length < 1 or not 0 < restart < 1:
        raise UserError(
            f"walks {walks}, length {length}, restart {restart}: allowed are >= 0, >= 1 and between 0 and 1"
        )
    if config["co_saves"] < 0:
        raise UserError(f"co_saves {config['co_saves']}: allowed are whole numbers from 0, such as 5")
    if (config["user_split"] == "given") != bool(config["test_actions"]):
        raise UserError(
            f"user_split {config['user_split']} with test_actions {config['test_actions'] or 'none'}: give --test_actions "
            "ACTION together with --user_split given, or neither"
        )
    roles = ("actions", "test_actions", "impressions")
    named = [action for role in roles for action in config[role] or []]
    twice = next((action for action in named if named.count(action) > 1), None)
    if twice is not None:
        raise UserError(f"action {twice!r} is named twice among actions, test_actions and impressions; it can be one")


def _limits(rules: Purpose, theirs: Theirs) -> Limits:
    """What the policy and the list of forgotten people leave out of a build."""
    oldest = None if rules.retention_days is None else int(time.time()) - rules.retention_days * DAY
    return Limits(theirs.stay if theirs.users else lambda table: "true", oldest)


def _write_signals(
    folder: Path, catalog: Catalog, config: dict[str, Any], counts: dict[str, Any], bar: tqdm
) -> dict[str, Any]:
    """Walk over the training edges, write signals.parquet; returns what is in it."""
    from graph.impressions import impressions_of
    from graph.relation import EDGE_TYPES, Relation
    from graph.signal_table import write_signal_table
    from graph.signals import RANK_HIGH, walked_signals
    from graph.store import CSR
    from graph.walk import Walkable, walk
    from navigator.contracts.signals import read_histories

    sizes = {name: counts[f"nodes_{name}"] for name in ("item", "board", "user")}
    relations = []
    for edge_type in EDGE_TYPES[:2]:
        about = counts["relations"][edge_type[1]]
        relations.append(Relation.open(folder / CSR, edge_type, about["time_first"], about["time_unit"]))
    edges = Walkable.of(relations, sizes)
    options = {name: config[name] for name in ("walks", "length", "restart", "seed")}

    def visits_of(nodes: np.ndarray) -> Any:
        found = walk(edges, "item", nodes, {"item": RANK_HIGH}, **options, threads=os.cpu_count() or 1)
        bar.set_postfix_str(f"walked from {int(nodes[-1]) + 1:,} items")
        return found["item"]

    walked = ()
    if config["walks"]:
        boards = read_histories(folder / "sequences.parquet", "board-completion", catalog.item_ids)
        walked = walked_signals(visits_of, sizes["item"], boards, PAIRS_PER_ITEM)
    shown: dict[str, int] = {}
    batches = ()
    if config["impressions"]:
        cut = counts.get("time_cut")
        saves = None if config["actions"] is None else [*config["actions"], *(config["test_actions"] or [])]
        shown, batches = impressions_of(catalog, folder / "sequences.parquet", config["impressions"], saves, cut)
    rows = write_signal_table(folder, catalog.item_ids, walked, batches)
    return shown | {"signals": rows}
