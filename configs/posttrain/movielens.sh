#!/bin/sh
# Post-training on MovieLens + posters: leave-last-out (with the gap slice), last 5 as a set, a global time split; seeds, ablation, rivals.
#   sh configs/posttrain/movielens.sh RUNS MOVIELENS     MOVIELENS: folder that `navigator import movielens --source` reads
# What is there is kept. SPLITS, SEEDS, VARIANTS and VARIANT_SEEDS choose, RIVALS="" leaves SASRec out; variants run on the first split alone.
# NATIVE="" leaves the native model out, which has a report of its own: it reads ten films, for more are slow on a CPU.
# Every system, ours and the rivals', learns from training saves alone (--refit false): one set of vectors serves all of them.
set -eu
runs=$1 source=$2 python=${PYTHON:-.venv/bin/python} seeds=${SEEDS-0 1 2} few=${VARIANT_SEEDS-${SEEDS-0 1 2}} splits=${SPLITS-last5 last1 time}
variants=${VARIANTS-map-only no-map frozen lora random layers6 no-graph no-folds residual k2 k4 ranking}
rivals=${RIVALS-,sasrec,sasrec-vectors} native=${NATIVE-0}
mkdir -p "$runs"
nav() { $python -m navigator.cli "$@" --json; }
nav import movielens --source "$source" --out "$runs/catalog"
nav embed "$runs/catalog" --picture_weight 0 --out "$runs/content" # validation: posters cost quality with the embedded encoder
nav swap --vectors "$runs/content" --layers 2 --out "$runs/off-the-shelf" # align would change its tower, not its query: the heads are zero

train() { # NAME, SWAPPED, VECTORS, SEED, further options
    name=$1 swapped=$2 vectors=$3 seed=$4; shift 4
    $python -m train.posttrain --config configs/posttrain/movielens.yaml --model "$runs/$swapped" --vectors "$vectors" \
        --catalog "$runs/catalog" --graph "$runs/graph-$split" --out "$runs/$split-$name@$seed" --loop.seed "$seed" "$@" --json
    models="$models,$name@$seed=$runs/$split-$name@$seed:$vectors"
}
swapped() { # NAME, VECTORS, further options
    name=$1 vectors=$2; shift 2; nav swap --vectors "$vectors" --out "$runs/$split-$name" "$@"
}
variant() { # NAME, SEED
    refined=$runs/refined-$split
    case $1 in
        map-only) train "$1" $split-swapped "$refined" "$2" --language frozen \
            --loop.learning_rates '{tower: 0, heads: 0, start: 1.0e-2, maps: 2.0e-3}' ;;
        no-map) train "$1" $split-swapped "$refined" "$2" \
            --loop.learning_rates '{tower: 5.0e-4, heads: 1.0e-3, start: 1.0e-2, maps: 0, language: 1.0e-4}' ;;
        frozen) train "$1" $split-swapped "$refined" "$2" --language frozen ;;
        lora) train "$1" $split-swapped "$refined" "$2" --language lora ;;
        random) swapped random "$refined" --layers 2 --pretrained false; train "$1" $split-random "$refined" "$2" ;;
        layers6) swapped layers6 "$refined" --layers 6; train "$1" $split-layers6 "$refined" "$2" ;;
        no-graph) swapped content "$runs/content" --layers 2; train "$1" $split-content "$runs/content" "$2" ;;
        no-folds) train "$1" $split-swapped "$refined" "$2" --objective.folds 0 ;;
        residual) train "$1" $split-swapped "$refined" "$2" --objective.residual true
            models="${models%:*}:$runs/$split-residual@$2/vectors" ;;
        k2) swapped k2 "$refined" --layers 2 --tokens 2; train "$1" $split-k2 "$refined" "$2" ;;
        k4) swapped k4 "$refined" --layers 2 --tokens 4; train "$1" $split-k4 "$refined" "$2" ;;
        ranking) train "$1" $split-swapped "$refined" "$2" --objective.tasks '{next-item: 0.8, ranking: 0.2}' ;;
        *) echo "unknown variant $1" >&2; exit 2 ;;
    esac
}

first=${splits%% *}
for split in $splits; do
    case $split in
        last1) how="--user_split leave-last-out --last 1" ;;
        last5) how="--user_split leave-last-out --last 5" ;;
        time) how="--user_split global-time" ;;
        *) echo "unknown split $split" >&2; exit 2 ;;
    esac
    models=",off-the-shelf=$runs/off-the-shelf:$runs/content"
    nav graph build "$runs/catalog" --out "$runs/graph-$split" --valid_fraction 1.0 $how
    nav refine --graph "$runs/graph-$split" --vectors "$runs/content" --catalog "$runs/catalog" --out "$runs/refined-$split"
    swapped swapped "$runs/refined-$split" --layers 2
    for seed in $seeds; do train ours $split-swapped "$runs/refined-$split" "$seed"; done
    if [ "$split" = "$first" ]; then for name in $variants; do for seed in $few; do variant "$name" "$seed"; done; done; fi
    paired=""
    case $models in *,map-only@*) paired=,map-only ;; esac
    $python -m bench.cli taste --catalog "$runs/catalog" --graph "$runs/graph-$split" --refit false \
        --systems "popularity,item-knn,item-knn-short,ease,ease-short$rivals" --sasrec_vectors "$runs/refined-$split" \
        --sasrec_seconds 400 --grids.sasrec_dim '[64]' --grids.sasrec_loss '[sampled]' --grids.sasrec_rate '[0.003]' \
        --vectors "content=$runs/content,content-graph=$runs/refined-$split" --models "${models#,}" --grids.model_last '[50]' \
        --rivals "popularity,item-knn,item-knn-short,ease,ease-short,content,content-graph,off-the-shelf$rivals$paired" --out "$runs/report-$split"
    if [ "$split" = last1 ] && [ "$native" ]; then
        swapped swapped-native "$runs/refined-$split" --layers 2 --native embedded
        models=",ours@0=$runs/$split-ours@0:$runs/refined-$split"
        for seed in $native; do
            train native $split-swapped-native "$runs/refined-$split" "$seed" --native true --loop.max_seconds 300 \
                --objective.max_history 10 --valid_queries 60
        done
        $python -m bench.cli taste --catalog "$runs/catalog" --graph "$runs/graph-$split" --refit false --systems popularity \
            --vectors "content=$runs/content,content-graph=$runs/refined-$split" --models "${models#,}" --grids.model_last '[10]' \
            --rivals native,content,content-graph --out "$runs/report-native"
    fi
done
