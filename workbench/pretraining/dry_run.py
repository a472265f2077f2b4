"""Estimate the cost of a run from shapes, without training and without reading images.

    GMACs of a step = 3 forward passes of every student crop (4 if activations are recomputed)
                      + 1 forward pass of every teacher crop
    memory = 16 bytes per parameter (weight, gradient, two moments) + 4 (average) + activations
    activations = 17 values per token, channel and layer of the crops awaiting a backward pass

Parameters of the heads count, their multiply-accumulates and outputs do not.

Source of the activations: Korthikanti et al. (2022), arXiv 2205.05198, eq. (2): 34 bytes in
two-byte arithmetic, if attention does not store its matrix.
"""

from __future__ import annotations

import math
from typing import Any

from workbench import cost
from workbench.models.registry import build
from workbench.multiscale import plan_scale
from workbench.multiscale.scale import resolve_scales
from workbench.pretraining.backbone import describe
from workbench.pretraining.config import Distillation, PretrainConfig, PretrainRecipe

VALUES = 17
FORWARD_AND_BACKWARD = 3
TFLOPS = 200.0
"""Sustained TFLOP/s assumed, not measured; as in ``workbench tables --dry-run``."""


def estimate(
    config: PretrainConfig, recipe: PretrainRecipe, asked: Distillation, *, images: int, keep: int,
    devices: int,
) -> dict[str, Any]:  # fmt: skip
    """Parameters, work, memory and disk of a run.

    Parameters
    ----------
    images : int
        Number of training images.
    keep : int
        Number of checkpoints kept.
    devices : int
        Number of GPUs.

    Returns
    -------
    dict
        ``params`` (of the backbone), ``steps``, ``images`` (seen), ``gmacs_per_step``,
        ``memory_gb`` (of each GPU), ``gpu_hours`` (at ``tflops``), ``disk_gb``.
    """
    info = describe(config)
    scales = resolve_scales(config.scales, info.native)
    crops = sum(plan_scale(scale, info).crops_per_image for scale in scales)
    steps = math.ceil(config.epochs * images / config.batch)
    forward = cost.cost(info.name, scales).gmacs
    distilled = config.objective == "dinov2"
    student, teacher = 1.0, 0.0
    if distilled:
        student, teacher = 2 + asked.local_crops * asked.local_pixels**2, 2.0
    passes = FORWARD_AND_BACKWARD + recipe.recompute
    per_image = forward * (passes * student + teacher)
    head = 0 if not distilled else _head_params(info.channels * len(scales), asked)
    copies = 20 * (info.params + head)
    depth = len(getattr(build(info.name).module, "blocks", ())) or 1
    tokens = info.grid[0] * info.grid[1] + info.prefix
    width = 2 if recipe.arithmetic != "fp32" else 4
    kept = 1 if recipe.recompute else crops
    activations = VALUES * width * tokens * info.channels * depth * kept * student
    per_pass = config.batch / devices / recipe.parts
    return {
        "params": info.params,
        "steps": steps,
        "images": steps * config.batch,
        "gmacs_per_step": per_image * config.batch,
        "memory_gb": (copies + activations * per_pass) / 1e9,
        "gpu_hours": 2e9 * per_image * config.batch * steps / (TFLOPS * 1e12) / 3600,
        "tflops": TFLOPS,
        "disk_gb": (copies * keep + 4 * info.params) / 1e9,
    }


def _head_params(channels: int, asked: Distillation) -> int:
    bottleneck = 256
    return asked.hidden * (channels + asked.hidden + bottleneck) + bottleneck * asked.prototypes
