"""Vector stores that forget a user: rows of the user and of their boards go, refined vectors are computed again.

A store says in its manifest what it was made from. Content vectors know no user. Vectors refined by `navigator refine`
follow from the graph alone and are computed again. Vectors trained on a graph cannot be mended from outside.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from graph.commands import refine
from graph.forgotten import Theirs
from graph.traces import traces
from navigator.contracts import Catalog, ItemVectors, Manifest, UserError, publish, read_manifest
from navigator.contracts.vector_file import FILE, write_tensors

_ROWS = 8192
_TRAINED = "taste-encoder"
_NODE_TYPES = {"items": "item", "boards": "board", "users": "user"}


def stores_in(paths: list[Path]) -> list[Path]:
    """The vector stores that are meant, each once: a folder of train.gnn (kind taste-encoder) means the stores in it."""
    stores: list[Path] = []
    for path in map(Path, paths):
        stores += [path / name for name in _NODE_TYPES if (path / name).is_dir()] if _is_trained(path) else [path]
    return list(dict.fromkeys(stores))


def _is_trained(path: Path) -> bool:
    """Whether train.gnn made the folder; one of another kind, or none, is for whoever opens it as a store."""
    try:
        read_manifest(path, _TRAINED, "")
    except UserError:
        return False
    return True


def node_type(manifest: Manifest) -> str | None:
    """What a store says its vectors are of: item, board or user; None where it says nothing."""
    return manifest.config.get("node_type") or _NODE_TYPES.get(manifest.config.get("of", ""))


def content_of(stores: list[Path]) -> dict[Path, Path]:
    """For each refined store the content store among the others that it was made from."""
    manifests = {path: read_manifest(path, "vectors", f"navigator embed CATALOG --out {path}") for path in stores}
    by_fingerprint = {manifest.fingerprint: path for path, manifest in manifests.items()}
    found = {}
    for path, manifest in manifests.items():
        if not _refined(manifest):
            continue
        if manifest.inputs["vectors"] not in by_fingerprint:
            raise UserError(
                f"vectors {path} are refined from content vectors {manifest.inputs['vectors']}, which --vectors does not "
                "name; add their folder, so that the refined ones can be computed again"
            )
        found[path] = by_fingerprint[manifest.inputs["vectors"]]
    return found


def _refined(manifest: Manifest) -> bool:
    """Whether `navigator refine` made the store."""
    return {"graph", "vectors"} <= set(manifest.inputs) and {"content_encoder", "graph_weight"} <= set(manifest.config)


def graph_of(store: Path) -> str | None:
    """Fingerprint of the graph that a store was made with, None for vectors of content alone."""
    return read_manifest(store, "vectors", "").inputs.get("graph")


def clean(store: Path, content: dict[Path, Path], graph: Path, catalog: Catalog, theirs: Theirs) -> dict[str, Any]:
    """Make one store forget as far as it can; says what was done."""
    manifest = read_manifest(store, "vectors", "")
    done = {"path": str(store), "rows": 0, "before": manifest.fingerprint}
    if store in content:
        config = manifest.config
        answer = refine(graph, content[store], store, catalog.path, config["dim"], config["graph_weight"])
        done |= {"action": "computed again", "changed": not answer["unchanged"]}
    else:
        done["rows"] = _take_out(store, manifest, catalog, theirs)
        done |= {"action": "rows removed" if done["rows"] else "nothing of theirs", "changed": bool(done["rows"])}
    return done | {"after": read_manifest(store, "vectors", "").fingerprint}


def _of_items(manifest: Manifest, ids: list[str], catalog: Catalog) -> bool:
    """Whether a store is of items: its config says so, or every id of it is an item's."""
    named = node_type(manifest)
    return named == "item" if named else all(node in catalog.item_index for node in ids)


def _take_out(store: Path, manifest: Manifest, catalog: Catalog, theirs: Theirs) -> int:
    """Publish a store of users or boards again without their rows; returns how many there were."""
    opened = ItemVectors.open(store)
    named = node_type(manifest)
    mine = {*(theirs.users if named != "board" else []), *(theirs.boards if named != "user" else [])}
    if _of_items(manifest, opened.ids, catalog):
        return 0
    keep = np.array([node not in mine for node in opened.ids], bool)
    if keep.all():
        return 0
    rows = np.flatnonzero(keep)
    table = pq.read_table(store / "ids.parquet")
    with publish(store, "vectors", manifest.config, manifest.inputs, manifest.seed) as work:
        blocks = (opened.matrix[rows[start : start + _ROWS]] for start in range(0, len(rows), _ROWS))
        shape = (len(rows), opened.dim)
        write_tensors(work.path / FILE, blocks, shape, opened.matrix.dtype, opened.scale)
        pq.write_table(table.filter(keep), work.path / "ids.parquet")
        work.metrics = manifest.metrics | {"forgotten": int((~keep).sum()) + manifest.metrics.get("forgotten", 0)}
    return int((~keep).sum())


def left(store: Path, catalog: Catalog, theirs: Theirs) -> dict[str, int]:
    """Places in the store where an id of theirs is still found."""
    items = _of_items(read_manifest(store, "vectors", ""), ItemVectors.open(store).ids, catalog)
    return traces(store, {*theirs.users, *theirs.boards}, items)
