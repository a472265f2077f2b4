"""The paper's multimodal runs: what each needs, and the commands that run it. Runs nothing itself.

    python scripts/experiments/multimodal_paper.py [--json]
    sbatch scripts/slurm/multimodal.sbatch STORE.zarr SOURCE CAPTIONS.json QUESTIONS.json LLM RUN

Nothing is downloaded; 20 seconds. Encoding in every step repeats `encode` hours in each training on
the same images; stored tokens are encoded once for all projectors, language models and recipes.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from workbench.vlm.paper import GPUS_GB, RUNS, USABLE, needs

SHARDED = (
    "; LLaVA-1.5 sharded weights, gradients and moments over its GPUs (DeepSpeed ZeRO-3), which "
    "workbench vlm train does not do"
)


def fit(row: dict[str, Any], together: int) -> str:
    """Which GPU holds a row, and what it means that none does."""
    if row["gpu_gb"]:
        return f"fits a GPU of {row['gpu_gb']} GB"
    found = f"does not fit a GPU of {GPUS_GB[-1]} GB"
    if row["weights_gib"] * 2**30 < USABLE * GPUS_GB[-1] * 1e9:
        return f"{found} with {together} examples in memory; choose a smaller --together"
    return f"{found}{SHARDED}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--together", type=int, default=4, help="examples in memory per GPU")
    parser.add_argument("--tflops", type=float, default=400, help="peak of a GPU in bfloat16")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = [needs(run, together=asked.together, tflops=asked.tflops) for run in RUNS]
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    for row in found:
        print(
            f"{row['name']}: {row['source']}, {row['llm']}, {row['stage']}\n"
            f"  {row['tokens']} tokens of {row['channels']} channels, "
            f"{row['trained'] / 1e6:.0f} M parameters trained\n"
            f"  each GPU holds {row['weights_gib']:.0f} GiB of weights, gradients and moments, "
            f"{row['activations_gib']:.0f} GiB of activations\n"
            f"  {fit(row, asked.together)}\n"
            f"  cached tokens {row['cached_tib']:.1f} TiB; encoding "
            f"{row['encode_gpu_hours']:.1f} GPU hours, once or in each training"
        )


if __name__ == "__main__":
    main()
