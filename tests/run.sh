#!/usr/bin/env bash
# The whole suite: lint, unit and property tests under ASan+UBSan, the CUDA kernels through nvcc, the
# engine and server under TSan, layers, real clients against the release build, fuzzing. Prints each
# failure and skip by name and ends with "N passed, N failed, N skipped". --long adds what takes minutes.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
exec python3 tests/run.py "$@"
