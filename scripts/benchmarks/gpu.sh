#!/usr/bin/env bash
# Everything the project claims on a GPU, part by part, those most wanted first.
#
#   bash scripts/benchmarks/gpu.sh                     about 6 minutes on one data-centre GPU, 10 GB of disk
#   bash scripts/benchmarks/gpu.sh extraction moments  only these parts
#   bash scripts/benchmarks/gpu.sh --tiny --out DIR    every line on a CPU, in a minute, to see that it runs
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
case " $* " in
    *" --tiny "*) ;; # keeps the caller's threads: nothing is measured
    *) unset OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS OMP_WAIT_POLICY GOMP_SPINCOUNT ;;
esac
exec "${PYTHON:-python3}" "$here/gpu.py" "$@"
