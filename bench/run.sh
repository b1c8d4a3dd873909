#!/usr/bin/env bash
# Every benchmark, each beside its peer and interleaved in one run: ratios and percents of the limit.
# The page goes to stdout and to build/bench.txt; commit it under bench/results/ when it is to be cited.
#   bench/run.sh [tokenizer|textpath|encoder|server|memory|serve ...]
set -uo pipefail
cd "$(dirname "$0")/.."
deploy/bootstrap.sh --bench
export PYTHON=${PYTHON:-$PWD/build/tools/bench/bin/python}
cmake --preset release >/dev/null && cmake --build build/release -j "${JOBS:-2}" --target pithd pith || exit 1

section() {
    printf '\n## %s\n\n' "$1"
    shift
    "$@"
}

{
    printf '# Benchmarks\n\n%s, %s cores, commit %s, %s\n' \
        "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)" "$(nproc)" \
        "$(git rev-parse --short HEAD)" "$(date -u +%F)"
    for part in "${@:-tokenizer textpath encoder server memory}"; do
        for name in $part; do
            section "$name" "bench/$name/run.sh"
        done
    done
} 2>&1 | tee build/bench.txt
