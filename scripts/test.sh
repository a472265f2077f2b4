#!/usr/bin/env bash
# All checks: formatting, lint, types, tests.
#
#   bash scripts/test.sh                     everything, about 35 minutes on 2 cores
#   bash scripts/test.sh tests/analyses -x   passes arguments to pytest and runs nothing else
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh all

# One thread per library and process: test processes run in parallel, and torch and faiss each load
# an OpenMP runtime.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
export PATH="$PWD/.venv/bin:$PATH"

if ! command -v chromium >/dev/null; then
    echo "test: no chromium here; the tests of the page in a browser are skipped (Debian: apt-get install chromium)" >&2
fi
if [ "$#" -eq 0 ]; then
    ruff format --check .
    ruff check .
    mypy
fi
exec python -m pytest -n 2 --dist loadscope --durations 40 --durations-min 5 "$@"
