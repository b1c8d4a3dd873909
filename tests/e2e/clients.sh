#!/usr/bin/env bash
# Clients that others wrote, against a running server: grpcurl (reflection), ghz (1, 8, 50
# connections) and Go's own gRPC (tests/e2e/go). Usage: clients.sh HOST:PORT PROTOSET. Prints
# "ok NAME", "not ok NAME: ..." or "skip NAME: ...".
set -uo pipefail
addr=${1:?usage: clients.sh HOST:PORT PROTOSET}
protoset=${2:?usage: clients.sh HOST:PORT PROTOSET}
service=pith.v1.CompressionService
failed=0

check() { # name, what must be in the output, output
    if grep -q -- "$2" <<<"$3"; then
        echo "ok $1"
    else
        echo "not ok $1: $(head -c 600 <<<"$3" | tr '\n' ' ')"
        failed=1
    fi
}

grpcurl_checks() {
    local text='{"id": "g", "text": "the build of 2026-11-21 failed after 17 minutes", "explain": true}'
    check grpcurl_lists_the_service "$service" "$(grpcurl -plaintext "$addr" list 2>&1)"
    check grpcurl_describes_the_request "string text = 2" \
        "$(grpcurl -plaintext "$addr" describe pith.v1.CompressRequest 2>&1)"
    check grpcurl_compresses '"inputWords": 8' \
        "$(grpcurl -plaintext -d "$text" "$addr" $service/Compress 2>&1)"
    check grpcurl_streams '"id": "g"' \
        "$(grpcurl -plaintext -d "{\"request\": $text}" "$addr" $service/StreamCompress 2>&1)"
    check grpcurl_sees_a_refusal_with_details 'target_ratio' \
        "$(grpcurl -plaintext -d '{"text": "x", "targetRatio": 5}' "$addr" $service/Compress 2>&1)"
    check grpcurl_checks_health '"status": "SERVING"' \
        "$(grpcurl -plaintext "$addr" grpc.health.v1.Health/Check 2>&1)"
}

ghz_checks() {
    local data='{"text": "2026-11-21 11:02:07 worker-3 ERROR retry 4 of 5 failed for part-00017 after 2.5s"}'
    local n=${GHZ_CALLS:-400} connections output
    for connections in 1 8 50; do
        output=$(ghz --insecure --call $service.Compress -d "$data" -n "$n" -c 50 \
            --connections $connections --timeout 60s --format json "$addr" 2>&1)
        check "ghz_gets_every_answer_over_${connections}_connections" "\"OK\": *$n" "$output"
        grep -o '"rps": *[0-9.]*' <<<"$output" | head -1 | sed "s/^/# $connections connections: /"
    done
}

go_client_checks() {
    go_client "$addr" "$protoset" || failed=1
}

for tool in grpcurl ghz go_client; do
    if command -v $tool >/dev/null; then
        ${tool}_checks
    else
        echo "skip $tool: not installed"
    fi
done
exit $failed
