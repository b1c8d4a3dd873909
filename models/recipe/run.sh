#!/usr/bin/env bash
# The whole recipe, one step after the other; a step whose file is there is not run again.
#   models/recipe/run.sh [FOLDER]      FOLDER holds everything on the way: build/model
# STEPS (training steps, 10000), SELF_STEPS (of the self-labelling round, 1500), SHORT_STEPS (each of
# the runs that compare seeds, critical weights and generated rows, 500), THREADS (2), PYTHON, and
# PYTHONS (prefixes of further Python installations, whose library releases become patches and
# traces).
# Interrupted training goes on from its last checkpoint. MODEL (models/pith-mini) is written by the
# last step alone: with the self-labelled model where that judges better (adopt.py), else the first.
set -euo pipefail
cd "$(dirname "$0")"
folder=$(mkdir -p "${1:-../../build/model}" && cd "${1:-../../build/model}" && pwd)
model=${MODEL:-$PWD/../pith-mini}
python=${PYTHON:-$PWD/../../build/tools/model/bin/python}
steps=${STEPS:-10000} self_steps=${SELF_STEPS:-1500} short_steps=${SHORT_STEPS:-500}
threads=${THREADS:-2}
generated=0.04 # share of training documents

# step FILE COMMAND...: runs the command unless FILE exists.
step() {
    local file=$1
    shift
    [ -e "$folder/$file" ] && return
    echo "recipe: $file"
    "$@"
}

train() {
    local name=$1
    shift
    echo "recipe: training $name"
    "$python" train.py --checkpoint "$folder/$name.pt" --threads "$threads" "$@"
}

# exported NAME DATASET [OPTION...]: the files of a model, judged.
exported() {
    local name=$1 dataset=$2
    shift 2
    mkdir -p "$folder/$name"
    cp "$folder/tokenizer.json" "$folder/$name/"
    step "$name/model.safetensors" "$python" export.py --dataset "$folder/$dataset" \
        --checkpoint "$folder/$name.pt" --out "$folder/$name" "$@"
    step "$name/evaluation.json" "$python" evaluate.py --brief --dataset "$folder/$dataset" \
        --model "$folder/$name" --out "$folder/$name/evaluation.json"
}

prefixes=()
for prefix in ${PYTHONS:-}; do prefixes+=(--python "$prefix"); done
step corpus.json "$python" corpus.py --out "$folder/corpus.json" --scratch "$folder/scratch" \
    "${prefixes[@]}"
step dataset.pickle "$python" dataset.py --corpus "$folder/corpus.json" --generated "$generated" \
    --out "$folder/dataset.pickle" --tokenizer "$folder/tokenizer.json"
train seed-0 --dataset "$folder/dataset.pickle" --steps "$steps"
exported seed-0 dataset.pickle
step relabelled.pickle "$python" relabel.py --dataset "$folder/dataset.pickle" \
    --checkpoint "$folder/seed-0.pt" --out "$folder/relabelled.pickle"
train self --dataset "$folder/relabelled.pickle" --steps "$self_steps" \
    --start-from "$folder/seed-0.pt" --peak 5e-4
exported self dataset.pickle --started-from "$folder/seed-0.pt"
cp "$folder/seed-0/evaluation.json" "$folder/before-self-label.json"
cp "$folder/self/evaluation.json" "$folder/after-self-label.json"
for run in "0 0.3" "1 0.3" "2 0.3" "0 1.0" "0 3.0" "0 0.3 with generated rows"; do
    read -r seed weight rows <<<"$run"
    name=short-$seed-$weight${rows:+-generated}
    only=(--no-generated)
    [ -n "$rows" ] && only=()
    train "$name" --dataset "$folder/dataset.pickle" --steps "$short_steps" --seed "$seed" \
        --critical-weight "$weight" "${only[@]}"
    exported "$name" dataset.pickle
    cp "$folder/$name/evaluation.json" "$folder/weight-$weight${rows:+ $rows}, seed $seed.json"
done
chosen=$("$python" adopt.py --first "$folder/seed-0" --second "$folder/self" --out "$model")
cp "$chosen.pt.json" "$folder/model.pt.json"
"$python" golden.py --model "$model" --out "$model/golden.json"
WORK=$folder MODEL=$model PYTHON=$python ./eval.sh
