#!/usr/bin/env bash
# Everything the project claims on a GPU, part by part, those most wanted first.
#
#   bash scripts/benchmarks/gpu.sh                     about 6 minutes on one data-centre GPU, 10 GB of disk
#   bash scripts/benchmarks/gpu.sh extraction moments  only these parts
#   bash scripts/benchmarks/gpu.sh --tiny --out DIR    every line on a CPU, in two minutes, to see that it runs
#
# A part whose JSON exists in results/gpu is not run again: remove the file to repeat it. It needs no
# installation of this project and no network: from the checkout, with a Python that has torch,
# torchvision, scipy, scikit-learn, pandas and pillow, and these wheels brought along and on
# PYTHONPATH: timm, safetensors, huggingface_hub, open_clip_torch, ftfy, wcwidth, regex, xarray,
# zarr, numcodecs, donfig, google-crc32c, xxhash, simplejpeg, tyro, docstring-parser, shtab,
# typeguard, seaborn, matplotlib, tabulate, jinja2, tqdm. Parts whose library is absent are skipped.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export PYTHONPATH="$here/../..${PYTHONPATH:+:$PYTHONPATH}"
unset OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS OMP_WAIT_POLICY GOMP_SPINCOUNT
out="$here/results/gpu" options=() parts=()
while [ "$#" -gt 0 ]; do
    case "$1" in
        --tiny) options+=(--tiny) ;;
        --out) out="$2"; shift ;;
        *) parts+=("$1") ;;
    esac
    shift
done
if [ "${#parts[@]}" -eq 0 ]; then
    parts=(extraction table2 decode training moments probe sets table13 out_of_memory faiss compiled)
fi
failed=()
for part in "${parts[@]}"; do
    if [ -e "$out/$part.json" ]; then
        echo "gpu: $part is there ($out/$part.json)"
    elif ! "${PYTHON:-python3}" "$here/gpu.py" "$part" --out "$out" "${options[@]}"; then
        failed+=("$part")
    fi
done
if [ "${#failed[@]}" -gt 0 ]; then
    echo "gpu: failed: ${failed[*]}" >&2
    exit 1
fi
