#!/bin/sh
# Where words matter: openclipart with boards = keyword. Title alone, title + 2 items, uploaders never seen; seeds, ablation, rivals.
#   sh configs/posttrain/keyword.sh RUNS            a run takes two minutes on two cores, ten with all 30 layers; what is there is kept
# VARIANTS="" leaves the ablation out; SEEDS="0 1 2" are the seeds, VARIANT_SEEDS those of the ablation; TUNED="" leaves the tuned encoder out.
set -eu
runs=$1 python=${PYTHON:-.venv/bin/python} seeds=${SEEDS-0 1 2} few=${VARIANT_SEEDS-${SEEDS-0 1 2}} tuned=${TUNED-0}
variants=${VARIANTS-start-only no-map no-describe no-text-query completion ranking random no-graph no-folds k2 k4 frozen full layers30 native}
mkdir -p "$runs"
nav() { $python -m navigator.cli "$@" --json; }
nav import openclipart --boards keyword --out "$runs/catalog"
nav embed "$runs/catalog" --out "$runs/content"
nav graph build "$runs/catalog" --out "$runs/graph" --valid_fraction 1.0
nav refine --graph "$runs/graph" --vectors "$runs/content" --catalog "$runs/catalog" --out "$runs/refined"
nav swap --vectors "$runs/refined" --layers 6 --out "$runs/swapped"
models="" encoder=embedded

train() { # NAME, SWAPPED, VECTORS, SEED, further options
    name=$1 swapped=$2 vectors=$3 seed=$4; shift 4
    $python -m train.posttrain --config configs/posttrain/keyword.yaml --model "$runs/$swapped" --vectors "$runs/$vectors" \
        --catalog "$runs/catalog" --graph "$runs/graph" --encoder "$encoder" --out "$runs/$name@$seed" --loop.seed "$seed" "$@" --json
    models="$models,$name@$seed=$runs/$name@$seed:$runs/$vectors"
}
swapped() { # NAME, VECTORS, further options
    name=$1 vectors=$2; shift 2; nav swap --vectors "$runs/$vectors" --out "$runs/$name" "$@"
}

spent() { # MODEL: the seconds its training took
    $python -c 'import json, sys; print(int(json.load(open(sys.argv[1]))["metrics"]["train_seconds"]))' "$runs/$1/manifest.json"
}

for seed in $seeds; do train ours swapped refined "$seed"; done
for variant in $variants; do
    for seed in $few; do
        case $variant in
            start-only) train $variant swapped refined "$seed" --language frozen \
                --loop.learning_rates '{tower: 0, heads: 0, start: 1.0e-2, maps: 3.0e-4, language: 0}' ;;
            no-map) train $variant swapped refined "$seed" \
                --loop.learning_rates '{tower: 3.0e-4, heads: 2.0e-4, start: 1.0e-2, maps: 0, language: 2.0e-4}' ;;
            no-describe) train $variant swapped refined "$seed" --objective.tasks '{board-title: 0.9, text-query: 0.1}' ;;
            no-text-query) train $variant swapped refined "$seed" --objective.tasks '{board-title: 0.9, describe: 0.1}' ;;
            completion | ranking) # a fifth of the steps for one task more; ranking has hard negatives
                test $variant = ranking && more=ranking || more=board-completion
                train $variant swapped refined "$seed" --objective.tasks "{board-title: 0.6, $more: 0.2, text-query: 0.1, describe: 0.1}" ;;
            random) swapped swapped-random refined --layers 6 --pretrained false
                train $variant swapped-random refined "$seed" ;;
            no-graph) swapped swapped-content content --layers 6; train $variant swapped-content content "$seed" ;;
            no-folds) train $variant swapped refined "$seed" --objective.folds 0 ;;
            k2) swapped swapped-k2 refined --layers 6 --tokens 2; train $variant swapped-k2 refined "$seed" ;;
            k4) swapped swapped-k4 refined --layers 6 --tokens 4; train $variant swapped-k4 refined "$seed" ;;
            frozen | full) train $variant swapped refined "$seed" --language $variant ;;
            layers30) swapped swapped-whole refined; train $variant swapped-whole refined "$seed" --language_check true ;;
            native) swapped swapped-native refined --layers 6 --native embedded
                train $variant swapped-native refined "$seed" --native true --loop.max_seconds "$(spent ours@$seed)" ;;
            *) echo "unknown variant $variant" >&2; exit 2 ;;
        esac
    done
done
paired=content,content-graph
for name in start-only native; do case $models in *,$name@*) paired=$paired,$name ;; esac; done
ask() { # REPORT, CONTENT, REFINED: title alone, and title with two items
    for show in 0 2; do
        $python -m bench.cli taste --catalog "$runs/catalog" --graph "$runs/graph" --task board-completion --part unseen-test \
            --show $show --encoder "$encoder" --refit false --systems popularity,item-knn,ease \
            --vectors "content=$runs/$2,content-graph=$runs/$3" --models "${models#,}" --rivals "$paired" --out "$runs/$1-show$show"
    done
}
ask report content refined

if [ "$tuned" ]; then # the same with an encoder tuned on the boards that may be learned; its words and vectors are others, so a report of its own
    $python -m train.clip --catalog "$runs/catalog" --graph "$runs/graph" --out "$runs/encoder" --holdout 0 --loop.steps 150 \
        --loop.eval_every 25 --loop.precision no --json
    nav embed "$runs/catalog" --encoder "$runs/encoder" --graph "$runs/graph" --out "$runs/content-tuned"
    nav refine --graph "$runs/graph" --vectors "$runs/content-tuned" --catalog "$runs/catalog" --out "$runs/refined-tuned"
    swapped swapped-tuned refined-tuned --layers 6
    models="" encoder=$runs/encoder paired=content,content-graph
    for seed in $tuned; do train tuned swapped-tuned refined-tuned "$seed"; done
    ask report-tuned content-tuned refined-tuned
fi
