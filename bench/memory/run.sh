#!/usr/bin/env bash
# Peak memory and time to ready of pithd: VmHWM after 100 texts of 4 KiB, with the shipped model and,
# where PYTHON has numpy, with a ModernBERT-base shape stored as bf16.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
build=${BUILD:-build/release}
"$python" bench/memory/measure.py "$build" models/pith-mini 150
model=$build/random-base
if [ ! -r "$model/model.safetensors" ]; then
    "$python" -c 'import numpy' 2>/dev/null || { echo "skipped: no numpy to write a base model"; exit 0; }
    "$python" tests/support/random_model.py "$model" --shape base --dtype bf16
fi
tokenizer=${PITH_SHARED:-../shared}/data/tokenizers/modernbert/tokenizer.json
[ -r "$model/tokenizer.json" ] || cp "$tokenizer" "$model/" || exit 0
"$python" bench/memory/measure.py "$build" "$model" 700
