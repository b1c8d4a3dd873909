#!/usr/bin/env bash
# The transport alone: pithd with the scripted engine of the tests, beside a Python grpcio server on
# the same C core that gives the same answer. ghz drives both, A B A B.
set -uo pipefail
cd "$(dirname "$0")/../.."
export PATH=$PWD/build/tools/bin:$PATH
command -v ghz >/dev/null || { echo "skip server: ghz is not installed"; exit 0; }
cmake --build build/release -j "${JOBS:-2}" --target fake_pithd >/dev/null || exit 1
python=/usr/bin/python3
"$python" -c "import grpc, google.protobuf" 2>/dev/null || python=${PYTHON:-python3}
exec "$python" bench/server/compare.py --pithd build/release/fake_pithd \
    --protoset build/release/gen/pith.protoset "$@"
