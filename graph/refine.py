"""Command `navigator refine`: content vectors -> vectors with graph factors beside them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from graph.audit import audited
from graph.saves import positions
from graph.store import TasteGraph
from navigator.contracts import Catalog, ItemVectors, UserError, is_current, publish, read_manifest
from navigator.contracts.manifest import digest
from navigator.contracts.vectors import normalise, write_vectors

_ROWS = 8192


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
