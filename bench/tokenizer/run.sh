#!/usr/bin/env bash
# Benchmarks the tokenizer: beside Hugging Face's (PYTHON with `tokenizers`; skipped without) and
# over sizes of equal characters. PITH_SHARED holds the full vocabularies, else ../shared.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
build=${BUILD:-build/release}
shared=${PITH_SHARED:-../shared}
cmake --build "$build" --target pith_text pith_base >/dev/null
driver=$build/tokenizer_bench
# shellcheck disable=SC2046
${CC:-cc} -std=c11 -D_GNU_SOURCE -O2 -I. bench/tokenizer/driver.c "$build/libpith_text.a" \
    "$build/libpith_base.a" $(pkg-config --libs libutf8proc jansson libpcre2-8) -lpthread -o "$driver"
found=0
status=0
for vocabulary in models/pith-mini/tokenizer.json "$shared"/data/tokenizers/*/tokenizer.json; do
    [ -r "$vocabulary" ] || continue
    found=1
    if "$python" -c 'import tokenizers' 2>/dev/null; then
        "$python" bench/tokenizer/compare.py "$driver" "$vocabulary" "${ROUNDS:-7}" || status=1
    else
        echo "skipped: $python has no tokenizers package to compare with"
    fi
    echo "equal characters, $vocabulary"
    "$driver" "$vocabulary" --linear
done
[ $found = 1 ] || echo "skipped: no vocabulary found (PITH_SHARED)"
exit $status
