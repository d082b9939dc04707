#!/bin/sh
# The pinterest graph (train.parquet and test.parquet, columns user and pin) as catalogue and taste graph, split as it
# comes: sh configs/pinterest/prepare.sh FOLDER OUT [further options of the graph build]   makes OUT/catalog, OUT/graph.
# Users then hold out a training save for validation as --valid_fraction says; it is known again when the test is asked.
set -eu
data=$1 out=$2 python=${PYTHON:-.venv/bin/python}
shift 2
mkdir -p "$out/tables"
$python -c '
import sys, duckdb
data, out = sys.argv[1:]
duckdb.sql(f"""
    CREATE VIEW saves AS SELECT *, $$save$$ AS action FROM read_parquet($${data}/train.parquet$$)
        UNION ALL SELECT *, $$test$$ FROM read_parquet($${data}/test.parquet$$);
    COPY (SELECT DISTINCT pin AS item_id, $$pin $$ || pin AS title FROM saves ORDER BY pin) TO $${out}/items.parquet$$;
    COPY (SELECT "user" AS user_id, pin AS item_id, action FROM saves ORDER BY "user", action, pin)
        TO $${out}/interactions.parquet$$
""")
' "$data" "$out/tables"
$python -m navigator.cli import table --out "$out/catalog" --items "$out/tables/items.parquet" \
    --interactions "$out/tables/interactions.parquet"
$python -m navigator.cli graph build "$out/catalog" --out "$out/graph" --user_split given --test_actions '[test]' \
    --prune false --walks 0 "$@"
