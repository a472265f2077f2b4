#!/usr/bin/env bash
# The main study on bundled models and images, from scratch: features at one and two scales, the
# rows of Table 2, a linear probe, two figures.
#
#   bash scripts/demo.sh             less than 3 minutes on 2 idle cores after the set-up, 3 GB of memory;
#                                    the set-up takes about 3 minutes and 6.1 GB of disk, once
#   bash scripts/demo.sh --full      all bundled textiles, about 15 minutes
#
# Writes to runs/demo/ (--out DIR for another folder).
set -euo pipefail
here="$PWD"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$root/scripts/setup.sh"
cd "$here"
exec "$root/.venv/bin/workbench" demo "$@"
