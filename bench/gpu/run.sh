#!/usr/bin/env bash
# The GPU path measured and checked on this machine, in about eight minutes:
#   bench/gpu/run.sh --out DIR [--dry-run] [--stage N ...]
# Needs nvcc (or a carried build in build/gpu) and Python 3; for the peers a Python with PyTorch (PYTHON=...).
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${PYTHON:-python3}" bench/gpu/run.py "$@"
