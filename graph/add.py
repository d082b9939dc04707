"""Command `navigator graph add`: a day's edges added; what is there is copied, merged and grown, not sorted or split again.

What was held out stays held out, and nothing new is: added edges are training edges (of a graph cut at a moment in time,
edges after it are refused). A relation's edges equal those of a build from all edges at once with the same hold-out, as
long as the added edges are later, to the time unit, than those there: the pruning law d^0.86 grows by less than one an
edge, so an edge that was pruned would be pruned again. Edges that are older or have no time may take the place of
nothing that was dropped before: then a hub may keep an edge that a build from scratch would have dropped for a dropped
one, the number of its edges is the same.
"""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from graph.added import check_addition, read_edges
from graph.assemble import SCRATCH
from graph.audit import audited
from graph.forgotten import Forgotten, forgotten_path, read_forgotten
from graph.grown import write_relations
from graph.grown_sequences import write_sequences
from graph.ingest import Ingest, Rejected
from graph.make_signals import write_signals
from graph.policy import load_policy
from graph.store import TasteGraph
from navigator.contracts import Catalog, UserError, is_current, publish, read_manifest
from navigator.contracts.manifest import file_digest


def add_edges(graph: Path, edges: Path, catalog: Path, out: Path, relation: str = "saved") -> dict[str, Any]:
    """Add edges to a taste graph without building it again; signals are made anew with the graph's own options.

    Args:
        graph: taste graph folder; it stays as it is.
        edges: Parquet file with the columns source, target (external ids) and, if known, at (whole seconds since 1970;
            empty or -1 is unknown) and weight (0 to 65504). Keep it where it is: `navigator graph forget` adds it
            again, without the user's rows.
        catalog: catalogue folder the graph was built from; it has all items.
        out: folder of the larger graph, another one than the graph's. All added edges train, and what is held out stays
            as the build chose it: under leave-last-out the held-out saves of a user whose later saves are added are no
            longer the user's last, which `navigator graph stats` notes. To move the split, put the edges into the
            catalogue and build again. After a time cut later edges are refused.
        relation: holds (board to item), saved (user to item) or follows (user to board).

    Returns:
        Counts of the larger graph; "added" says what was read, kept and refused.

    Raises:
        UserError: all edges refused, a time the graph cannot say, a graph with co-saves, a purpose that may not.
    """
    opened = Catalog.open(catalog)
    with audited(out, "graph add", "build", {"relation": relation}, also=graph) as entry:
        old = TasteGraph.open(graph, opened, "build")
        if Path(out).resolve() == Path(graph).resolve():
            raise UserError(
                f"--out {out} is the graph that edges are added to, which stays as it is; give another folder"
            )
        policy, left_out = load_policy(graph), read_forgotten(forgotten_path(graph))
        entry.policy = policy.fingerprint
        old.purpose.check_types([relation])
        if not edges.is_file():
            raise UserError(f"edges {edges} does not exist; give a Parquet file with source, target, at?, weight?")
        addition = {"relation": relation, "edges": str(edges.absolute()), "digest": file_digest(edges)}
        config = old.manifest.config | {"added": [*old.manifest.config.get("added", []), addition]}
        inputs = old.manifest.inputs | {"graph": old.fingerprint, "edges": addition["digest"][:16]}
        inputs |= {"forgotten": left_out.fingerprint} if left_out.hashes else {}
        entry.artefacts = dict(inputs)
        if is_current(out, "graph", config, inputs):
            return {"out": str(out), "unchanged": True, **read_manifest(out, "graph", "").metrics}
        seed = old.manifest.seed
        with publish(out, "graph", config, inputs, seed) as work, tqdm(total=2, desc="add edges", unit="step") as bar:
            work.metrics = add_to(work.path, old, edges, relation, left_out)
            bar.update()
            if config["signals"]:
                work.metrics |= write_signals(work.path, opened, config, work.metrics, bar)
            policy.write(work.path)
            bar.update()
        if left_out != read_forgotten(forgotten_path(out)):
            shutil.copyfile(forgotten_path(graph), forgotten_path(out))
        entry.artefacts["result"] = read_manifest(out, "graph", "").fingerprint
    return {"out": str(out), "unchanged": False, **work.metrics}


def add_to(folder: Path, old: TasteGraph, edges: Path, relation: str, forgotten: Forgotten) -> dict[str, Any]:
    """Write everything but signals and policy of the larger graph into a work folder; returns its counts.

    Raises:
        UserError: edges without the columns source and target, all refused, a time the graph cannot say, or a graph
            with co-saves, which have to be counted again.
    """
    edge_type = check_addition(old, edges, relation)
    for leftover in folder.iterdir():
        if leftover.is_dir():
            shutil.rmtree(leftover)
    ingest = Ingest(folder / SCRATCH)
    try:
        added, rejected = read_edges(folder, ingest, old, edge_type, edges, forgotten)
        write_relations(added)
        write_sequences(added)
        _write_rejects(folder, ingest, old, rejected)
    finally:
        ingest.close()
        shutil.rmtree(folder / SCRATCH)
    if (old.path / "unseen.parquet").is_file():
        shutil.copyfile(old.path / "unseen.parquet", folder / "unseen.parquet")
    return added.counts


def _write_rejects(folder: Path, ingest: Ingest, old: TasteGraph, rejected: Rejected) -> None:
    """What was refused before, then what is refused now (rows of the added file)."""
    ingest.write_rejects(folder / "rejects.parquet", [rejected])
    before = old.path / "rejects.parquet"
    if before.is_file():
        joined = pa.concat_tables([pq.read_table(before), pq.read_table(folder / "rejects.parquet")])
        pq.write_table(joined, folder / "rejects.parquet")
