#!/usr/bin/env bash
# Benchmarks the linear kernel beside oneDNN (where libdnnl-dev is installed), then the encoder on
# the ModernBERT-base shape with weights from the integer generator, beside ONNX Runtime fp32 (PYTHON
# with numpy, and onnx + onnxruntime for the peer). Arguments go to compare.py: --threads, --dtype,
# --isa, --rounds. Last the model that ships beside PyTorch's same model (MODEL_PYTHON with torch).
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
build=${BUILD:-build/release}
cmake --build "$build" --target pith_model pith_backend pith_weights pith_kernels pith_base >/dev/null
if printf '#include <dnnl.h>\nint main(void){return 0;}' | ${CC:-cc} -x c - -ldnnl -o /dev/null 2>/dev/null; then
    ${CC:-cc} -std=c11 -D_GNU_SOURCE -O2 -I. bench/encoder/gemm/peer.c "$build/libpith_kernels.a" -ldnnl -lm \
        -o "$build/gemm_bench"
    OMP_NUM_THREADS=1 "$build/gemm_bench"
else
    echo "skipped: oneDNN as a peer (libdnnl-dev is not installed)"
fi
if ! "$python" -c 'import numpy' 2>/dev/null; then
    echo "skipped: $python has no numpy to write the model with"
    exit 0
fi
driver=$build/encoder_bench
# shellcheck disable=SC2046
${CC:-cc} -std=c11 -D_GNU_SOURCE -O2 -I. bench/encoder/*.c "$build"/libpith_{model,backend,kernels,weights,base}.a \
    $(pkg-config --libs jansson) -lm -lpthread -o "$driver"
model=$build/random-base
[ -r "$model/model.safetensors" ] ||
    "$python" tests/support/random_model.py "$model" --shape base --dtype bf16
"$python" bench/encoder/compare.py "$driver" "$model" "$@"
torch_python=${MODEL_PYTHON:-build/tools/model/bin/python}
if "$torch_python" -c 'import torch, safetensors' 2>/dev/null; then
    "$torch_python" bench/encoder/torch_compare.py "$driver" models/pith-mini
else
    echo "skipped: PyTorch's same model as a peer ($torch_python has no torch; deploy/bootstrap.sh --model)"
fi
