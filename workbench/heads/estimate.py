"""Estimated cost of training a decoder, from stored tokens and on the fly, without any training.

    GPU hours = 2 x multiply-accumulates / sustained TFLOP/s; the decoder, which is trained in fp32,
                runs at a tenth of the model's rate
    a training step = the decoder's forward pass, counted three times (its backward pass is two);
                      on the fly also the model's forward pass on each image of the batch
    memory = model + 16 bytes per parameter of the decoder (weight, gradient, two moments)
             + tensors that its forward pass keeps for the backward pass + the model's largest
             layers and its maps of all scales before pooling, as crops and merged

The tensors that the decoder keeps are counted on the meta device; losses and matching need further
memory. The model's own work space is taken as 16 values per token and channel.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from feature_store.source import Source
from workbench import models
from workbench.cost import cost
from workbench.cost.hours import TFLOPS, gpu_hours
from workbench.heads.config import DecoderConfig
from workbench.heads.images import Survey
from workbench.heads.options import OnTheFly
from workbench.heads.registry import build
from workbench.heads.windows import starts
from workbench.models.info import BackboneInfo
from workbench.multiscale import Scale, ScalePlan, plan_scale
from workbench.multiscale.memory import CropLimit
from workbench.multiscale.scale import resolve_scales

FP32_SHARE = 0.1
"""Assumed rate of a decoder's fp32 work, as a share of the model's rate: on an H100, plain fp32
peaks at a fifteenth of bf16, and TF32, which PyTorch allows for convolutions, at a half."""
VALUES = 16
"""Values per token and channel that a layer of the model holds at a time; a rule of thumb."""
CLASSES = 150
"""Number of classes assumed for a dataset that does not name them: ADE20k's."""
TERABYTE = 1e12
ASPECT = 4 / 3
"""Aspect ratio assumed for test images, to count their sliding windows; a guess."""


def estimate(
    source: str, options: OnTheFly, *, images: tuple[int, int], classes: int, tflops: float = TFLOPS
) -> dict[str, Any]:
    """Estimated bytes, GPU hours and memory for one source, ``MODEL[#TAP]@SCALES``.

    `images` are the numbers of train and test images, `classes` those of a segmentation, `tflops`
    the sustained TFLOP/s of the model; see :data:`FP32_SHARE` for the decoder.

    Returns
    -------
    dict
        ``source``, ``stored_bytes`` (float16 tokens of all images as the source names them),
        ``unpooled_bytes`` (each scale's map at its own size), ``crops_bytes`` (the same for every
        crop used in training), ``stored_gpu_hours`` and ``on_the_fly_gpu_hours`` (extraction or
        passes in every step, training, test), ``stored_memory_gb`` and ``on_the_fly_memory_gb`` (of
        one GPU), ``head_params``.
    """
    name = Source.parse(source)
    decoder, steps = options.decoder, options.training.iterations
    pooled = cost(name.model, name.scales, tap=name.tap)
    info = models.resolve(name.model, name.tap)
    scales = [Scale.parse(text) for text in resolve_scales(name.scales, info.native)]
    apart = [str(replace(scale, unpooled=True)) for scale in scales]
    unpooled = cost(name.model, apart, tap=name.tap).bytes_per_image
    plans = [plan_scale(scale, info) for scale in scales]
    channels = info.channels * (len(plans) if options.config.merge == "concat" else 1)
    head = _decoder(decoder, channels, plans[0].grid, options.crops.side, classes)
    seen = steps * decoder.batch
    training = 3 * head["gmacs"] * seen
    windows = _windows(options) * (1 + options.crops.mirrored)
    passes = pooled.gmacs * (seen + windows * images[1])
    hours = gpu_hours(1, tflops)
    of_head = hours / FP32_SHARE
    width = VALUES * (4 if options.crops.arithmetic == "fp32" else 2)
    model = 4 * info.params + _working(plans, info, decoder.batch, width)
    trained = 16 * head["params"] + decoder.batch * (head["kept"] + 4 * channels * head["tokens"])
    return {
        "source": source,
        "stored_bytes": pooled.bytes_per_image * sum(images),
        "unpooled_bytes": unpooled * sum(images),
        "crops_bytes": unpooled * seen,
        "stored_gpu_hours": hours * pooled.gmacs * sum(images) + of_head * training,
        "on_the_fly_gpu_hours": hours * passes
        + of_head * (training + head["gmacs"] * windows * images[1]),
        "stored_memory_gb": trained / 1e9,
        "on_the_fly_memory_gb": (trained + model) / 1e9,
        "head_params": head["params"],
    }


def readable(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Estimates as a table with readable column names and units."""
    frame = pd.DataFrame(rows)
    return pd.DataFrame(
        {
            "source": frame["source"],
            "stored, GB": frame["stored_bytes"] / 1e9,
            "unpooled, GB": frame["unpooled_bytes"] / 1e9,
            "of all crops, GB": frame["crops_bytes"] / 1e9,
            "GPU hours, stored": frame["stored_gpu_hours"],
            "GPU hours, on the fly": frame["on_the_fly_gpu_hours"],
            "GPU memory, GB, stored": frame["stored_memory_gb"],
            "GPU memory, GB, on the fly": frame["on_the_fly_memory_gb"],
        }
    )


def advice(row: Mapping[str, Any]) -> str:
    """One line on whether the tokens of all crops could be stored for a source's decoder."""
    terabytes = row["crops_bytes"] / TERABYTE
    way = "on the fly" if terabytes >= 1 else "either way"
    size = f"{terabytes:.1f} TB" if terabytes >= 1 else f"{1000 * terabytes:.1f} GB"
    return f"{row['source']}: {way}; unpooled tokens of all its crops take {size}"


def assumption(tflops: float = TFLOPS) -> str:
    """One line on the assumptions behind the GPU hours of decoders, and on the work left out."""
    return (
        f"GPU hours of decoders: the model's passes at {tflops:g} TFLOP/s, the decoder, which is "
        f"trained in fp32, at {FP32_SHARE * tflops:g} TFLOP/s (assumed); reading images, losses "
        f"and the matching of masks come on top"
    )


def _working(plans: Sequence[ScalePlan], info: BackboneInfo, batch: int, width: int) -> int:
    """Bytes of the model's layers, `width` per token and channel, and of the maps of all scales."""
    areas = [plan.merged[0] * plan.merged[1] for plan in plans]
    limit = CropLimit().at_once["crops"]
    at_once: dict[tuple[int, int], int] = {}  # crops of equal size run together
    tokens: dict[tuple[int, int], int] = {}
    for plan, area in zip(plans, areas, strict=True):
        at_once[plan.crop] = at_once.get(plan.crop, 0) + batch * plan.crops_per_image
        tokens[plan.crop] = -(-area // plan.crops_per_image) + info.prefix
    most = max(min(at_once[size], limit or at_once[size]) * tokens[size] for size in at_once)
    return info.channels * (width * most + 2 * 4 * batch * sum(areas))


def _windows(options: OnTheFly) -> int:
    """Number of windows on a test image whose aspect ratio is :data:`ASPECT`."""
    crops = options.crops
    if crops.window == "whole":
        return 1
    return len(starts(round(ASPECT * crops.side), crops.side, crops.step))


@functools.lru_cache
def _decoder(
    config: DecoderConfig, channels: int, grid: tuple[int, int], side: int, classes: int
) -> dict[str, Any]:
    """Parameters, and for one image: GMACs, bytes kept for the backward pass and tokens."""
    found = Survey(
        np.zeros(channels), np.ones(channels), grid, (side, side),
        config.max_depth or max(classes - 1, 1), np.arange(1),
    )  # fmt: skip
    with torch.device("meta"):
        head = build(config, found).to("meta").eval()  # in training mode it reads values
    own = {_storage(tensor) for tensor in itertools.chain(head.parameters(), head.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if _storage(tensor) not in own:
            kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    tokens = torch.empty(1, channels, *grid, device="meta")
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        head(tokens)
    return {
        "params": sum(p.numel() for p in head.parameters()),
        "gmacs": counter.get_total_flops() / 2 / 1e9,
        "kept": sum(kept.values()),
        "tokens": grid[0] * grid[1],
    }


def _storage(tensor: torch.Tensor) -> int:
    """Identifier of a tensor's storage; tensors that share memory have the same one."""
    return tensor.untyped_storage()._cdata
