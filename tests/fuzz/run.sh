#!/usr/bin/env bash
# Fuzzes every target for SECONDS (two at a time) from its committed corpus. A finding fails and
# leaves its input under build/fuzz/findings.
set -uo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-30}
cmake --preset fuzz >/dev/null || exit 1
targets=$(cd tests/fuzz && ls fuzz_*.c | sed 's/\.c$//')
cmake --build build/fuzz -j "${JOBS:-2}" --target $targets >build/fuzz/build.log 2>&1 ||
    { tail -40 build/fuzz/build.log; exit 1; }
mkdir -p build/fuzz/findings
export UBSAN_OPTIONS=print_stacktrace=1

one() {
    local target=$1 corpus=build/fuzz/corpus/${1#fuzz_}
    mkdir -p "$corpus"
    if "build/fuzz/$target" -max_total_time="$2" -rss_limit_mb=2048 -timeout=20 -print_final_stats=0 \
        -artifact_prefix="build/fuzz/findings/$target-" "$corpus" \
        "tests/fuzz/corpus/${target#fuzz_}" >"build/fuzz/$target.log" 2>&1; then
        echo "ok fuzz.$target ($(grep -o 'Done [0-9]* runs' "build/fuzz/$target.log"))"
    else
        echo "not ok fuzz.$target"
        tail -40 "build/fuzz/$target.log"
        return 1
    fi
}
export -f one
printf '%s\n' $targets | xargs -P 2 -I{} bash -c "one {} $seconds"
