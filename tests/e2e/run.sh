#!/usr/bin/env bash
# Real programs and real clients against the release build: the command line, Python grpcio, grpcurl,
# ghz, Go's gRPC, tritonclient, headroom-ai. Every check prints "ok NAME", "not ok NAME" or "skip NAME".
set -uo pipefail
cd "$(dirname "$0")/../.."
bin=build/release
python=/usr/bin/python3 # Debian's, which has Debian's grpcio
[ -x "$python" ] || python=python3
# tritonclient and headroom-ai are on PyPI alone; where they cannot be had, their tests are skipped by name.
clients=${PITH_CLIENTS_PYTHON:-build/tools/clients/bin/python}
[ -x "$clients" ] || timeout 300 deploy/bootstrap.sh --clients >/dev/null 2>&1
[ -x "$clients" ] || clients=$python
failed=0

"$python" tests/e2e/cli.py --bin "$bin" || failed=1
one() {
    local output status by=$python
    [ "${1##*/}" = oip_test.py ] && by=$clients
    output=$("$by" "$1" --pithd "$bin/pithd" --protoset "$bin/gen/pith.protoset" 2>&1)
    status=$?
    printf '%s\n' "$output"
    [ $status -eq 0 ] || [ $status -eq 77 ]
}
export -f one
export bin python clients
printf '%s\n' tests/e2e/*_test.py | xargs -P "${JOBS:-2}" -I{} bash -c "one {}" || failed=1

log=$(mktemp)
"$bin/pithd" --listen 127.0.0.1:0 --http 127.0.0.1:0 2>"$log" &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -f "$log"' EXIT
for _ in $(seq 100); do
    addr=$(sed -n 's/.*listening on \([^ ,]*\).*/\1/p' "$log")
    [ -n "$addr" ] && break
    sleep 0.1
done
PATH=$PWD/build/tools/bin:$PATH tests/e2e/clients.sh "$addr" "$bin/gen/pith.protoset" || failed=1

"$clients" tests/e2e/headroom_check.py --http "$(sed -n 's/.*http on \([^ ,]*\).*/\1/p' "$log" | tail -1)" || failed=1
exit $failed
