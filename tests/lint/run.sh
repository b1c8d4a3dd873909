#!/usr/bin/env bash
# Lint: formatting, the include graph, banned calls, long files, stray words. One "ok" or "not ok"
# line a check; each check is first shown a broken input that it must refuse.
cd "$(dirname "$0")/../.."
exec python3 tests/lint/lint.py
