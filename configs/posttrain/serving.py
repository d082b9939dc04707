"""What sources, ranking and diversity do to NDCG@10 of `navigator recommend` on validation: why its defaults are so.

    python configs/posttrain/serving.py MODEL VECTORS INDEX CATALOG GRAPH [QUERIES]

QUERIES is a seeded choice of so many validation queries, all by default. No title is shown.
"""

import sys
from pathlib import Path

import numpy as np

from graph.store import TasteGraph
from navigator.contracts.signals import valid_queries
from navigator.metrics import per_query
from navigator.options import WEIGHTS, Options
from navigator.pipeline import Pipeline

NONE = dict.fromkeys(WEIGHTS, 0.0)
TRIED = {
    "model alone": Options(weights=NONE | {"model": 1.0}, ranking=0.0, decay=1.0),
    "content + graph mean alone": Options(weights=NONE | {"content-graph": 1.0}, ranking=0.0, decay=1.0),
    "fused": Options(ranking=0.0, decay=1.0),
    "fused, ranking .5": Options(ranking=0.5, decay=1.0),
    "fused, ranking 1": Options(decay=1.0),
    "as served (ranking 1, decay .95)": Options(),
}


def main(model: Path, vectors: Path, index: Path, catalog: Path, taste_graph: Path, limit: int = 0) -> None:
    pipeline = Pipeline.open(model, vectors, index, catalog)
    store, signals = pipeline.store, TasteGraph.open(taste_graph, pipeline.catalog)
    queries = valid_queries(signals.sequences, limit)
    for name, pipeline.options in TRIED.items():
        answers = [pipeline.recommend([store.ids[row] for row in q.history]).results for q in queries]
        ranked = np.array([store.rows_of([r.item for r in answer]) for answer in answers])
        print(f"{per_query(ranked, [q.targets for q in queries])['ndcg@10'].mean():.3f}  {name}", flush=True)
    print(f"NDCG@10, {len(queries)} validation queries")


if __name__ == "__main__":
    folders = [Path(word) for word in sys.argv[1:6]]
    main(*folders, limit=int(sys.argv[6]) if len(sys.argv) > 6 else 0)
