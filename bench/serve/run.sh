#!/usr/bin/env bash
# A whole server under load, beside the engine alone and beside peers. Arguments go to serve.py:
# --seconds S of each measurement (5), --rounds N, --only PART,PART of closed, engine, null, http, open,
# overload, mixed, streams, cancel, giant, peers; --check: goals that are missed fail (make test-long).
set -uo pipefail
cd "$(dirname "$0")/../.."
export PATH=$PWD/build/tools/bin:$PATH
command -v ghz >/dev/null || { echo "skip serve: ghz is not installed"; exit 0; }
cmake --build build/release -j "${JOBS:-2}" --target pithd engine_driver engine_driver_null pithd_null echo_server load_client http_client >/dev/null || exit 1
python=${PYTHON:-python3}
"$python" -c "import grpc, google.protobuf" 2>/dev/null || python=/usr/bin/python3
exec "$python" bench/serve/serve.py "$@"
