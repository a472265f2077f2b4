"""Selective extraction: the base scale first, then only the crops that a policy chooses.

Skipped crops are filled with the nearest base tokens, as :mod:`analyses.scale_selection.layout`
says; prefix tokens of skipped crops with those of the base scale. Each image is decided by itself,
so a store does not depend on the order or the number of processes in which it was computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analyses.scale_selection.config import SIMPLE
from analyses.scale_selection.layout import Layout, ScaleLayout
from analyses.scale_selection.policies import (
    FittedPolicy,
    read_policy,
    simple_keys,
    simple_threshold,
)
from feature_store import InputError, Source
from workbench import code_hash
from workbench.extraction.image_loader import ImageBatch
from workbench.extraction.jobs import Job
from workbench.extraction.loaded_models import LoadedModel
from workbench.extraction.request import ExtractRequest
from workbench.models import Tokens
from workbench.multiscale import ScalePlan, merge, pool
from workbench.multiscale.forward import crops_of, features, run_crops


@dataclass(frozen=True)
class Selector:
    """A policy and its budget."""

    name: str
    """A simple policy, or ``fitted``."""
    budget: float
    """Share of the larger scales' crops."""
    fitted: FittedPolicy | None = None

    @classmethod
    def of(cls, request: ExtractRequest) -> Selector | None:
        """The selector of a request; None if all crops are run."""
        if request.select is None or request.budget is None:
            return None
        if request.select in SIMPLE:
            return cls(request.select, request.budget)
        return cls("fitted", request.budget, read_policy(request.select))

    def check(self, job: Job) -> Layout:
        """The crops of a job.

        Raises
        ------
        InputError
            No base scale, no larger one, one that is not cut into crops or has another base image,
            or a policy that was fitted on another model or other scales.
        """
        base = base_of(job)
        larger = {source: plan for source, plan in job.plans.items() if source != base}
        uncut = [plan for plan in larger.values() if plan.crops == (1, 1)]
        apart = [plan for plan in larger.values() if plan.base != job.plans[base].base]
        if not larger or uncut or apart:
            found = "no larger scale" if not larger else f"scale {(uncut + apart)[0].scale}"
            raise InputError(
                f"--select chooses among the crops of larger scales; found {found} of "
                f"{job.info.name}, expected multiples of {job.plans[base].scale}, such as 2x"
            )
        layout = layout_of(job, base)
        if self.fitted is not None:
            self.fitted.refuse_others(f"{job.info.name}#{job.info.tap}", layout)
        return layout

    def manifest(self, plan: ScalePlan, weights_sha256: str) -> dict[str, Any]:
        """Further manifest fields of a selected scale; none for the base scale.

        Raises
        ------
        InputError
            A policy that was fitted on other weights.
        """
        if _is_base(plan):
            return {}
        if self.fitted is not None:
            self.fitted.refuse_other_weights(weights_sha256)
        policy: dict[str, Any] = {"policy": self.name, "budget": self.budget}
        if self.fitted is not None:
            policy["policy_sha256"] = hashlib.sha256(repr(self.fitted).encode()).hexdigest()
        return {"selection": policy | {"code_sha256": code_hash.selecting_sha256()}}

    def choose(self, layout: Layout, base: np.ndarray, ids: Sequence[str]) -> np.ndarray:
        """Crops that are run: bool, dims (image, crop); each image by itself."""
        if self.fitted is not None:
            return self.fitted.keys(layout, base) >= self.fitted.threshold(self.budget)
        keys = simple_keys(self.name, layout, base, ids)
        return keys >= simple_threshold(layout, self.budget)


def base_of(job: Job) -> Source:
    """The job's base scale.

    Raises
    ------
    InputError
        It has none.
    """
    for source, plan in job.plans.items():
        if _is_base(plan):
            return source
    raise InputError(
        f"--select looks at the base scale first; found {', '.join(s.scales[0] for s in job.plans)}"
        f" of {job.info.name}, expected 1x among the scales"
    )


def _is_base(plan: ScalePlan) -> bool:
    return (plan.scale.height, plan.scale.width) == plan.base and not plan.scale.raw


def layout_of(job: Job, base: Source) -> Layout:
    """Positions of the crops of a job's larger scales."""
    scales = tuple(
        ScaleLayout.of(
            f"{source.model_and_tap}@{plan.scale}",
            crops=plan.crops,
            crop_grid=job.info.grid,
            merged=plan.merged,
            grid=plan.pooled,
            unpooled=plan.scale.unpooled,
        )
        for source, plan in job.plans.items()
        if source != base
    )
    return Layout(str(base), job.plans[base].grid, scales)


def forward(
    model: LoadedModel, selector: Selector, batch: ImageBatch, ids: Sequence[str]
) -> tuple[dict[Source, Tokens], int]:
    """Features of a batch at all scales of the model's job, and how many crops were run."""
    job, backbone = model.job, model.backbone
    base = base_of(job)
    layout = layout_of(job, base)
    pixels = {t: backbone.normalise(found) for t, found in batch.pixels.items()}
    images = pixels[job.transform(job.plans[base])]
    scale = job.plans[base].scale
    first = features(backbone, images, [scale], max_crops=model.limit)[scale]
    chosen = selector.choose(layout, first.map.float().cpu().numpy(), ids)
    plans = {source: plan for source, plan in job.plans.items() if source != base}
    runs = [torch.from_numpy(part).to(first.map.device) for part in layout.parts(chosen)]
    crops = [
        crops_of(pixels[job.transform(plan)], plan)[run.flatten()]
        for plan, run in zip(plans.values(), runs, strict=True)
    ]
    counts = [len(some) for some in crops]
    found = {base: first}
    if not sum(counts):
        empty = Tokens(first.prefix[:0], first.map[:0])
        parts = [empty] * len(plans)
    else:
        tokens = run_crops(backbone, torch.cat(crops), model.limit)
        both = zip(tokens.prefix.split(counts), tokens.map.split(counts), strict=True)
        parts = [Tokens(*part) for part in both]
    for (source, plan), run, part in zip(plans.items(), runs, parts, strict=True):
        found[source] = filled(part, run, first, plan)
    return found, sum(counts)


def filled(crops: Tokens, run: torch.Tensor, base: Tokens, plan: ScalePlan) -> Tokens:
    """Tokens of images from those of the crops that were run.

    Parameters
    ----------
    crops : Tokens
        Tokens of the crops that were run, image by image: ``map`` (crop, row, col, channel).
    run : bool tensor, dims (image, crop)
    base : Tokens
        Tokens of the base scale.
    """
    images, count = run.shape
    sides = zip(plan.pooled, plan.base, plan.crop, strict=True)
    rows, cols = (cells * crop // whole for cells, whole, crop in sides)
    tokens = base.map.new_zeros((images * count, rows, cols, base.map.shape[-1]))
    tokens[run.flatten()] = crops.map
    inside = run.flatten().to(tokens)[:, None, None, None].expand(-1, rows, cols, 1)
    merged, mask = (
        merge(maps, plan.crops)[:, : plan.merged[0], : plan.merged[1]] for maps in (tokens, inside)
    )
    if plan.scale.unpooled:
        row, col = (
            (2 * torch.arange(size, device=tokens.device) + 1) * cells // (2 * size)
            for size, cells in zip(plan.merged, plan.pooled, strict=True)
        )
        nearest = base.map[:, row][:, :, col]
        maps = torch.where(mask > 0, merged, nearest).contiguous()
    else:
        maps = pool(merged, plan.pooled) + (1 - pool(mask, plan.pooled)) * base.map
    prefix = base.prefix[:, None].repeat(1, count, *[1] * (base.prefix.ndim - 1)).flatten(0, 1)
    prefix[run.flatten()] = crops.prefix
    return Tokens(prefix.reshape(images, count, *base.prefix.shape[1:]).mean(dim=1), maps)
