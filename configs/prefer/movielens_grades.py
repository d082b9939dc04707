"""Grades for train.prefer out of MovieLens stars: after a stretch of a user's training ratings, how they rated the next ten.

    python configs/prefer/movielens_grades.py CATALOG GRAPH OUT.parquet

Only training saves of the graph are read. Stars 0.5 to 5 become grades 1 to 5, halves kept.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graph.store import TasteGraph
from navigator.contracts import Catalog

SHOWN, NEXT, REQUESTS = 50, 10, 4  # history, graded items, requests of a user at most


def main(catalog: Path, taste_graph: Path, out: Path) -> None:
    opened = Catalog.open(catalog)
    rated = opened.table("interactions", ["user_id", "item_id", "value"]).to_pylist()
    stars = {(row["user_id"], row["item_id"]): row["value"] for row in rated}
    ids, rng, rows = opened.item_ids, np.random.default_rng(0), []
    for user in TasteGraph.open(taste_graph, opened).sequences:
        places = np.arange(SHOWN, len(user.items) - NEXT)
        for place in rng.permutation(places)[:REQUESTS].tolist():
            history = [ids[item] for item in user.items[place - SHOWN : place]]
            for item in user.items[place : place + NEXT]:
                if (value := stars.get((user.owner, ids[item]))) is not None:
                    grade = max(1.0, float(value))
                    rows.append({"board_title": "", "history": history, "item": ids[item], "grade": grade})
    pq.write_table(pa.Table.from_pylist(rows), out)
    print(f"{len(rows)} grades written to {out}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
