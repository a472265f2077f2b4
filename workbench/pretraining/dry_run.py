"""Estimate the cost of a run from shapes, without training and without reading images.

    GMACs of a step = 3 forward passes of every student crop (4 if activations are recomputed)
                      + 1 forward pass of every teacher crop
    memory = 16 bytes per parameter (weight, gradient, two moments) + 4 (average)
             + pixels and tokens of all crops, in fp32
             + activations: 17 values per token, channel and layer of all crops
             + heads: 5 fp32 values for each output
             (activations that are recomputed: of one crop per image, after the heads; the larger
             of the two then counts)
    disk = 16 bytes per parameter (weight, two moments, average) for every checkpoint that is kept
           and the one being written + the weights

A supervised head counts if the number of classes is known; multiply-accumulates of heads do not.

Source of the activations: Korthikanti et al. (2022), arXiv 2205.05198, eq. (2): 34 bytes in
two-byte arithmetic, if attention does not store its matrix. The 5 values are measured: the peak of
both losses of self-distillation, forward and backward.
"""

from __future__ import annotations

import math
from typing import Any

from workbench import cost
from workbench.cost.hours import TFLOPS, gpu_hours
from workbench.models.info import BackboneInfo
from workbench.models.registry import build
from workbench.multiscale import plan_scale
from workbench.multiscale.scale import resolve_scales
from workbench.pretraining.backbone import describe, tokens
from workbench.pretraining.config import Distillation, PretrainConfig, PretrainRecipe

VALUES, HEAD_VALUES = 17, 5
BLANKED = 0.3
"""Share of the patches of a large crop that is blanked: 0.1 to 0.5 in half of them, and there are
two."""
FORWARD_AND_BACKWARD = 3


def estimate(
    config: PretrainConfig, recipe: PretrainRecipe, asked: Distillation, *, images: int,
    classes: int | None, keep: int, devices: int,
) -> dict[str, Any]:  # fmt: skip
    """Parameters, work, memory and disk of a run.

    Parameters
    ----------
    images : int
        Number of training images.
    classes : int, optional
        Number of their classes, for the supervised head.
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
    steps = config.steps(images)
    counted = cost.cost(info.name, scales)
    distilled = config.objective == "dinov2"
    student, teacher = 1.0, 0.0
    if distilled:
        student, teacher = 2 + asked.local_crops * asked.local_pixels**2, 2.0
    passes = FORWARD_AND_BACKWARD + recipe.recompute
    gmacs = counted.gmacs * (passes * student + teacher)
    head, outputs = _head(info, len(scales) * info.channels, classes, config, asked)
    params = counted.params + head
    each = _bytes_per_image(info, scales, recipe, student, outputs)
    per_pass = config.batch / devices / recipe.parts
    return {
        "params": counted.params,
        "steps": steps,
        "images": steps * config.batch,
        "gmacs_per_step": gmacs * config.batch,
        "memory_gb": (20 * params + per_pass * each) / 1e9,
        "gpu_hours": gpu_hours(gmacs * config.batch * steps),
        "tflops": TFLOPS,
        "disk_gb": (16 * params * (keep + 1) + 4 * counted.params) / 1e9,
    }


def _bytes_per_image(
    info: BackboneInfo, scales: list[str], recipe: PretrainRecipe, student: float, outputs: float
) -> float:
    """Memory for an image whose crops have the area of `student` base images, at all scales."""
    sides = [(plan.crops_per_image, plan.crop) for plan in (plan_scale(s, info) for s in scales)]
    native = info.native**2
    crops = student * sum(count * rows * cols for count, (rows, cols) in sides) / native
    largest = max(rows * cols for _, (rows, cols) in sides) / native
    depth = len(getattr(build(info.name).module, "blocks", ())) or 1
    width = 2 if recipe.arithmetic != "fp32" else 4
    values = tokens(info) * info.channels
    activations = VALUES * width * values * depth * (largest if recipe.recompute else crops)
    heads = 4 * HEAD_VALUES * outputs
    more = max(activations, heads) if recipe.recompute else activations + heads
    return more + 4 * (3 * native + values) * crops


def _head(
    info: BackboneInfo, channels: int, classes: int | None, config: PretrainConfig,
    asked: Distillation,
) -> tuple[int, float]:  # fmt: skip
    """Parameters of the head on so many channels, and its outputs for each image in training."""
    if config.objective == "supervised":
        return (channels + 1) * (classes or 0), classes or 0
    bottleneck = 256
    params = asked.hidden * (channels + asked.hidden + bottleneck) + bottleneck * asked.prototypes
    rows = 2 + asked.local_crops + BLANKED * math.prod(info.grid)
    return params, rows * asked.prototypes
