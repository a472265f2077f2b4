"""Measured images per second of a source on this machine: warm-up, median of repeats, spread."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from workbench import models
from workbench.cost.config import ThroughputConfig
from workbench.extraction.malloc import keep_blocks
from workbench.extraction.request import usual_crops
from workbench.models import Backbone, ModelName
from workbench.multiscale import Scale, ScalePlan, features, plan_scale, resolve_scales


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Images per second over the timed passes."""

    median: float
    """Median."""
    low: float
    """Slowest pass."""
    high: float
    """Fastest pass."""
    device: str
    """The machine, in words."""
    config: ThroughputConfig
    """How it was measured."""


def throughput(
    model: str, scales: Sequence[str], config: ThroughputConfig, *, tap: str | None = None
) -> Throughput:
    """Time forward passes alone, on random pixels that are already on the device.

    Interpolation, split, merge and pooling are timed; decoding and storing are not. Models of
    timm and open_clip run with untrained weights: their values do not change the speed, and no
    weights are fetched.
    """
    keep_blocks()
    name = untrained(model)
    backbone = models.load(name, device=config.device, tap=tap, arithmetic=config.arithmetic)
    crops = usual_crops(backbone.device.type, convnet=backbone.info.convnet)
    config = replace(config, max_crops=config.max_crops or crops)
    plans = [
        plan_scale(Scale.parse(s), backbone.info)
        for s in resolve_scales(scales, backbone.info.native)
    ]
    rates = sorted(config.batch / seconds for seconds in _time(backbone, plans, config))
    return Throughput(
        median=statistics.median(rates),
        low=rates[0],
        high=rates[-1],
        device=describe_device(backbone.device),
        config=config,
    )


def untrained(model: str) -> str:
    """The same architecture without weights that would have to be fetched."""
    name = ModelName.parse(model)
    if name.kind not in ("timm", "open_clip") or name.random:
        return model
    return f"random:{name.kind}:{name.arch}" + (f":{name.pixels}" if name.pixels else "")


def _time(backbone: Backbone, plans: list[ScalePlan], config: ThroughputConfig) -> list[float]:
    generator = torch.Generator().manual_seed(0)

    def pixels(height: int, width: int) -> torch.Tensor:
        x = torch.randn((config.batch, 3, height, width), generator=generator)
        return x.to(backbone.device)

    base = pixels(*plans[0].base)
    scales = [plan.scale for plan in plans]
    raw = {scale: pixels(scale.height, scale.width) for scale in scales if scale.raw}
    seconds = []
    for _ in range(config.warmup + config.repeats):
        _wait(backbone.device)
        start = time.perf_counter()
        features(backbone, base, scales, raw=raw, max_crops=config.max_crops or 1)
        _wait(backbone.device)
        seconds.append(time.perf_counter() - start)
    return seconds[config.warmup :]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe_device(device: torch.device) -> str:
    """The device in words, with the number of threads for a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
