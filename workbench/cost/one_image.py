"""Latency of one image: its crops batched, one after the other, or in parallel, or uncut.

Every way of running runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pandas as pd
import torch

from feature_store.errors import InputError
from workbench import models
from workbench.cost.config import LatencyConfig
from workbench.cost.parallel import CropWorkers, peak_mb
from workbench.cost.timing import untrained
from workbench.models import Tokens
from workbench.multiscale import Scale, plan_scale, resolve_scales
from workbench.multiscale.forward import crops_of, merge_and_pool

WAYS = ("batched", "sequential", "workers", "whole")
"""All crops in one forward pass; one crop at a time; shared among processes; the image uncut."""


def latency(
    model: str, scales: Sequence[str], config: LatencyConfig, *, tap: str | None = None
) -> pd.DataFrame:
    """Seconds from a base image to its pooled map, and peak memory, for each scale and way.

    Models of timm and open_clip run with untrained weights, as in :func:`throughput`.

    Returns
    -------
    pandas.DataFrame
        ``scale``, ``way`` (:data:`WAYS`), ``crops``, ``seconds`` (median of the repeats), ``low``,
        ``high``, ``peak_mb`` (resident memory of all processes together; of a GPU, what was
        allocated there). Ways that a model cannot take (``whole`` at a fixed size) are left out.
    """
    info = models.resolve(model, tap)
    rows: list[dict[str, Any]] = []
    for scale in resolve_scales(scales, info.native):
        for way in WAYS:
            try:
                plan = plan_scale(_as_run(scale, way), info)
            except InputError:
                continue
            if plan.crops == (1, 1) and way in ("sequential", "workers"):
                continue
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as own:
                asked = (untrained(model), tap, scale, way, config)
                seconds, peak = own.submit(_measure, *asked).result()
            found = {"scale": scale, "way": way, "crops": plan.crops_per_image}
            spread = {"seconds": statistics.median(seconds), "low": min(seconds)}
            rows.append(found | spread | {"high": max(seconds), "peak_mb": peak})
    return pd.DataFrame.from_records(rows)


def run_image(
    model: str, tap: str | None, scale: str, way: str, config: LatencyConfig, images: torch.Tensor
) -> Tokens:
    """Tokens of base images in one way, for comparisons of their values."""
    with ExitStack() as stack:
        return _runner(model, tap, scale, way, config, stack)[0](images)


def _as_run(scale: str, way: str) -> Scale:
    parsed = Scale.parse(scale)
    return replace(parsed, whole=True, pad=False) if way == "whole" else parsed


def _measure(
    model: str, tap: str | None, scale: str, way: str, config: LatencyConfig
) -> tuple[list[float], float]:
    """Seconds of the timed passes, and peak memory in MB."""
    with ExitStack() as stack:
        run, memory = _runner(model, tap, scale, way, config, stack)
        base = plan_scale(_as_run(scale, way), models.resolve(model, tap)).base
        image = torch.randn((1, 3, *base), generator=torch.Generator().manual_seed(0))
        seconds = []
        for _ in range(config.warmup + config.repeats):
            start = time.perf_counter()
            run(image)
            seconds.append(time.perf_counter() - start)
        return seconds[config.warmup :], memory()


def _runner(
    model: str, tap: str | None, scale: str, way: str, config: LatencyConfig, stack: ExitStack
) -> tuple[Callable[[torch.Tensor], Tokens], Callable[[], float]]:
    """Functions from base images to tokens on the host, and to the peak memory."""
    info = models.resolve(model, tap)
    plan = plan_scale(_as_run(scale, way), info)
    if way == "workers":
        workers = stack.enter_context(CropWorkers(model, tap, config))
        own = torch.device("cpu")

        def spread(images: torch.Tensor) -> Tokens:
            return merge_and_pool(workers.run(crops_of(images, plan)), plan)

        return spread, lambda: workers.peak_mb() + (peak_mb(own) if config.device == "cpu" else 0)
    backbone = models.load(model, device=config.device, tap=tap, arithmetic=config.arithmetic)
    at_once = plan.crops_per_image if way == "batched" else 1

    def alone(images: torch.Tensor) -> Tokens:
        crops = crops_of(images.to(backbone.device), plan)
        parts = [backbone(some) for some in crops.split(at_once * len(images))]
        tokens = Tokens(*(torch.cat(part) for part in zip(*parts, strict=True)))
        return Tokens(*(part.cpu() for part in merge_and_pool(tokens, plan)))

    return alone, lambda: peak_mb(backbone.device)
