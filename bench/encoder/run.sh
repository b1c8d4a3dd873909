#!/usr/bin/env bash
# Benchmarks the encoder on the ModernBERT-base shape with weights from the integer generator, beside
# ONNX Runtime fp32 (PYTHON with numpy, and onnx + onnxruntime for the peer). Arguments go to
# compare.py: --threads, --dtype, --isa, --rounds.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
build=${BUILD:-build/release}
if ! "$python" -c 'import numpy' 2>/dev/null; then
    echo "skipped: $python has no numpy to write the model with"
    exit 0
fi
cmake --build "$build" --target pith_model pith_backend pith_weights pith_kernels pith_base >/dev/null
driver=$build/encoder_bench
# shellcheck disable=SC2046
${CC:-cc} -std=c11 -D_GNU_SOURCE -O2 -I. bench/encoder/*.c "$build"/libpith_{model,backend,kernels,weights,base}.a \
    $(pkg-config --libs jansson) -lm -lpthread -o "$driver"
model=$build/random-base
[ -r "$model/model.safetensors" ] ||
    "$python" tests/support/random_model.py "$model" --shape base --dtype bf16
"$python" bench/encoder/compare.py "$driver" "$model" "$@"
