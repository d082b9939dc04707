#!/bin/sh
# What each part of the graph encoder gives: content + graph vectors against content alone, recall@10 and cold recall@10.
#   sh configs/taste/ablation.sh RUNS CATALOG GRAPH VECTORS TASK "SEEDS"
# RUNS takes the encoders and RUNS/report the comparison; TASK is board-completion or next-item. What is there is kept.
set -eu
runs=$1 catalog=$2 graph=$3 vectors=$4 task=$5 seeds=${6:-0 1 2} python=${PYTHON:-.venv/bin/python}
named="content=$vectors"

variant() {  # NAME, further options
    name=$1
    shift
    for seed in $seeds; do
        $python -m train.gnn --config configs/taste/omnisage.yaml --catalog "$catalog" --graph "$graph" \
            --vectors "$vectors" --out "$runs/$name-$seed" --loop.seed "$seed" "$@" --json
        named="$named,$name@$seed=$runs/$name-$seed/items"
    done
}

variant no-graph --objective.neighbours none
variant k-hop --objective.neighbours k-hop
variant walk
variant walk-hard --objective.hard_negatives 10
variant walk-0-random --objective.negatives 0
variant walk-10k-random --objective.negatives 10000
variant ids-beside --objective.encoder lightgcn --objective.dim 256 --loop.steps 400
$python -m navigator.cli refine --graph "$graph" --vectors "$vectors" --catalog "$catalog" --out "$runs/factors" --json
$python -m bench.cli graph rank --catalog "$catalog" --graph "$graph" --task "$task" --k 10 --max_history 20 \
    --systems '[]' --vectors "$named,factors=$runs/factors" --out "$runs/report"
