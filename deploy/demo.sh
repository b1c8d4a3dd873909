#!/usr/bin/env bash
# Starts pithd with the model that ships, sends real tool outputs through gRPC and shows, for each,
# the original with dropped words dimmed, the compressed text, and the figures.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=build/release
log=$(mktemp)
$bin/pithd --listen 127.0.0.1:0 2>"$log" &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true; rm -f "$log"' EXIT

for _ in $(seq 100); do
    addr=$(sed -n 's/.*listening on \([^ ]*\).*/\1/p' "$log")
    [ -n "$addr" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.1
done
[ -n "$addr" ] || { cat "$log" >&2; exit 1; }

color=never
[ -t 1 ] && color=always
head -c 3000 ARCHITECTURE.md >"$log.prose"
for file in deploy/demo/*.txt "$log.prose"; do
    name=$(basename "$file" .txt)
    [ "$file" = "$log.prose" ] && name=prose
    printf '\n==== %s: the original, dropped words dimmed\n' "$name"
    $bin/pith compress --addr "$addr" --explain --color "$color" "$file" >"$log.out" 2>"$log.err"
    head -n -1 "$log.err"
    printf '\n---- %s: compressed\n' "$name"
    cat "$log.out"
    printf -- '\n---- %s: %s\n' "$name" "$(tail -n 1 "$log.err")"
done
rm -f "$log.prose" "$log.out" "$log.err"
