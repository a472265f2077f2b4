"""Expected hours, memory and disk of extracting ImageNet-1k at the papers' models: Markdown.

    python scripts/slurm/expected.py --tflops 200

Takes about a minute, without GPU or weights. GMACs and bytes are those of `workbench cost`; hours
are 2 x GMACs x images / (GPUs x TFLOP/s) and include nothing else. TFLOP/s is an assumption about
the forward pass in bf16: measure yours with
`workbench cost --throughput --device cuda --arithmetic bf16`.
"""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from workbench.cost import cost

RUNS = (
    ("timm:vit_base_patch16_224.mae", ("224", "448", "672")),
    ("timm:vit_large_patch16_224.mae", ("224",)),
    ("timm:vit_huge_patch14_224.mae", ("224",)),
    ("timm:vit_base_patch16_224.orig_in21k", ("224", "448", "672")),
    ("timm:vit_large_patch16_224.orig_in21k", ("224",)),
    ("timm:vit_huge_patch14_224.orig_in21k", ("224",)),
    ("open_clip:ViT-B-16/laion2b_s34b_b88k", ("224", "448", "672")),
    ("open_clip:ViT-L-14/laion2b_s32b_b82k", ("224",)),
    ("open_clip:ViT-H-14/laion2b_s32b_b79k", ("224",)),
)
"""The paper's sources of Table 2 (S2 scales of the small model, the larger models once)."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Assumptions."""

    images: int = 1_281_167
    """Images; ImageNet-1k train by default."""
    tflops: float = 200.0
    """Sustained TFLOP/s of one GPU."""
    gpus: int = 8
    """GPUs of the second column of hours."""
    shard_images: int = 256
    """Images per shard."""


def main(options: Options) -> str:
    """The table."""
    head = (
        f"| model | scales | GMACs per image | images/s per GPU | hours on 1 GPU | on "
        f"{options.gpus} | float16 on disk, TB | files | memory of buffers, GB |"
    )
    lines = [head, "|" + "---|" * 9]
    for model, scales in RUNS:
        found = cost(model, scales)
        gmacs, stored = found.gmacs, found.bytes_per_image
        rate = options.tflops * 1e3 / (2 * gmacs)
        hours = options.images / rate / 3600
        files = -(-options.images // options.shard_images) * (3 * len(scales) + 1)
        # Three shards at most: one being computed, two being written.
        buffers = 3 * options.shard_images * stored / 1e9
        lines.append(
            f"| `{model}` | {' '.join(scales)} | {gmacs:.1f} | {rate:.0f} | {hours:.1f} | "
            f"{hours / options.gpus:.1f} | {options.images * stored / 1e12:.2f} | {files:,} | "
            f"{buffers:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(main(tyro.cli(Options)))
