#!/bin/sh
# The tuned encoder against the untuned on openclipart, ablated, three seeds: sh configs/openclipart/eyes.sh RUNS CATALOG
# RUNS is where everything goes, CATALOG an imported openclipart. About 40 minutes on two cores.
set -eu
runs=$1 catalog=$2 python=${PYTHON:-.venv/bin/python}
$python -m navigator.cli graph "$catalog" --out "$runs/graph" --unseen_owners 0.2 --unseen_valid 0.15 --valid_fraction 1.0
tune() {  # name, then options: one run a seed
    name=$1; shift
    for seed in 0 1 2; do
        $python -m train.clip --catalog "$catalog" --graph "$runs/graph" --cache "$runs/cache" --loop.seed $seed \
            --out "$runs/$name@$seed" "$@" > "$runs/$name@$seed.txt"
    done
}
encoders=untuned=embedded
for name in ${VARIANTS:-no-stay picture-text neighbours hard-negatives fusion}; do
    case $name in
        picture-text) tune $name --objective.neighbours 0 --objective.fusion false ;;
        neighbours) tune $name --objective.fusion false ;;
        fusion) tune $name ;;
        hard-negatives) tune $name --objective.hard_negatives 4 ;;
        no-stay) tune $name --objective.stay 0 ;;
    esac
    for seed in 0 1 2; do encoders="$encoders,$name@$seed=$runs/$name@$seed"; done
done
if [ -z "${TUNE_ONLY:-}" ]; then
    $python -m bench.cli encoder --catalog "$catalog" --graph "$runs/graph" --encoders "$encoders" --throughput 0 --out "$runs/report"
fi
