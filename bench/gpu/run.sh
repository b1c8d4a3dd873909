#!/usr/bin/env bash
# The GPU path measured and checked on this machine, in about eight minutes:
#   bench/gpu/run.sh --out DIR [--dry-run] [--stage N ...]
# DIR/tune/sm_90a-132.json, put in place of bench/gpu/tune's, makes the backend's table of tiles:
#   bench/gpu/tune.py > runtime/backend/cuda/tiles.h
# Needs nvcc (or a carried build in build/gpu) and Python 3; for the peers a Python with PyTorch (PYTHON=...).
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${PYTHON:-python3}" bench/gpu/run.py "$@"
