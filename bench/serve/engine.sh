#!/usr/bin/env bash
# The engine without a server: pith-mini, and the text path alone with a runner that computes nothing;
# then short texts at an even pace alone and beside one of a million tokens. Wants quiet cores.
#   bench/serve/engine.sh [load|null|giant ...]      GIANT_BYTES, EVERY_MS, SECONDS_EACH to scale
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build/release}
model=${MODEL:-models/pith-mini}
seconds=${SECONDS_EACH:-10}
cmake --build "$build" -j "${JOBS:-2}" --target engine_driver engine_driver_null >/dev/null

section() {
    printf '\n### %s\n\n' "$1"
    shift
    "$@" --seconds "$seconds"
}

for part in "${@:-load null giant}"; do
    for name in $part; do
        case $name in
        load) section "pith-mini, texts of 2 KiB, 16 in flight" \
            "$build/engine_driver" "$model" load --bytes 2048 --clients 16 ;;
        null)
            section "no model, texts of 100 bytes, 64 in flight" \
                "$build/engine_driver_null" "$model" load --bytes 100 --clients 64
            section "no model, texts of 100 bytes, one in flight" \
                "$build/engine_driver_null" "$model" load --bytes 100 --clients 1
            section "no model, texts of 64 KiB, 64 in flight" \
                "$build/engine_driver_null" "$model" load --bytes 65536 --clients 64
            ;;
        giant) section "a million tokens and short texts" \
            "$build/engine_driver" "$model" giant --bytes 2300 \
            --giant-bytes "${GIANT_BYTES:-4400000}" --every-ms "${EVERY_MS:-250}" ;;
        *) echo "no part named $name" >&2; exit 2 ;;
        esac
    done
done
