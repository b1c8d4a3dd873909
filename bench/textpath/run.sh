#!/usr/bin/env bash
# The text path by itself, in short texts and in long ones, beside a peer's tokenizer on the same texts
# (PYTHON with `tokenizers`; its columns stay empty without). Wants quiet cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build/release}
cmake --build "$build" -j "${JOBS:-2}" --target textpath_driver >/dev/null
"${PYTHON:-python3}" bench/textpath/compare.py "$build/textpath_driver" \
    "${TOKENIZER:-models/pith-mini/tokenizer.json}" "${ROUNDS:-5}"
