"""Resolve, then run: from a request to models, scales, sources and manifests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from feature_store.errors import InputError
from feature_store.source import Source, names_of, split_tap
from workbench import code_hash
from workbench.datasets import Decoding
from workbench.extraction.request import Fit
from workbench.models import Backbone, BackboneInfo, Transform, resolve
from workbench.multiscale import Scale, ScalePlan, plan_scale, resolve_scales


@dataclass(frozen=True)
class Job:
    """One model at one tap and the scales it runs at."""

    info: BackboneInfo
    """The model, known without its weights."""
    plans: dict[Source, ScalePlan]
    """Single-scale source to how it runs."""

    def transform(self, plan: ScalePlan) -> Transform:
        """The transform from a decoded image to the input pixels of this plan."""
        scale = plan.scale
        size = (scale.height, scale.width) if scale.raw else plan.base
        return self.info.transform.at(*size)


def resolve_jobs(
    models: str | Sequence[str],
    scales: str | Sequence[str],
    keep: int = 0,
    fit: Fit = "model",
) -> list[Job]:
    """Check every model and scale before a weight or a disk is touched.

    `keep` token positions per image make the scale's stored name ``224.t16``; 0 keeps all. `fit` is
    that of :class:`~workbench.extraction.request.ExtractRequest`.

    Raises
    ------
    InputError
        An unknown model or tap, a scale that a model cannot run at, or a model named twice.
    """
    jobs: list[Job] = []
    for name in dict.fromkeys(names_of(models)):
        info = resolve(*split_tap(name))
        if fit == "pad":
            info = replace(info, transform=info.transform.padded(info.mean))
        if any((job.info.name, job.info.tap) == (info.name, info.tap) for job in jobs):
            raise InputError(f"{info.name}#{info.tap} is named twice; name each model and tap once")
        plans = {
            Source(info.name, info.tap, (text + (f".t{keep}" if keep else ""),)): plan_scale(
                Scale.parse(text), info
            )
            for text in resolve_scales(scales, info.native)
        }
        for plan in plans.values():
            rows, cols = plan.grid
            if keep > rows * cols:
                raise InputError(
                    f"{keep} tokens per image cannot be kept of the {rows}x{cols} map of "
                    f"{info.name} at {plan.scale}; choose at most {rows * cols}"
                )
        jobs.append(Job(info, plans))
    return jobs


def below_native(jobs: Iterable[Job], scales: Iterable[str]) -> list[str]:
    """A line for each model that a scale in plain pixels runs below the size it was trained at."""
    each = (part for scale in scales for part in scale.split("+"))
    sizes = [int(scale) for scale in each if scale.isascii() and scale.isdecimal()]
    return [
        f"{job.info.name} was trained at {job.info.native} pixels and runs at {size}: it "
        f"loses by that, and so do comparisons with it; 1x is its native size"
        for job in jobs
        for size in sizes
        if size < job.info.native
    ]


def transforms(jobs: Iterable[Job]) -> tuple[Transform, ...]:
    """The distinct transforms that a decoded image has to go through."""
    return tuple(dict.fromkeys(job.transform(plan) for job in jobs for plan in job.plans.values()))


def manifest(
    job: Job, plan: ScalePlan, backbone: Backbone, dtype: str, decoding: Decoding
) -> dict[str, Any]:
    """Everything that determines the stored values; its hash is the source's identity.

    The code is named by a hash of the files that compute features rather than by a commit: the
    same code resumes after an unrelated commit, and an uncommitted edit changes the hash.
    """
    info = job.info
    return {
        "model": info.name,
        "weights_from": info.weights_from,
        "weights_sha256": backbone.weights_sha256,
        "revision": backbone.info.revision,
        "pretrained": info.pretrained,
        "tap": info.tap,
        "default_tap": info.taps[0],
        "scale": {
            **asdict(plan.scale),
            "base": list(plan.base),
            "crop": list(plan.crop),
            "crops": list(plan.crops),
            "interpolation": "bicubic, float32, antialias when shrinking",
            "pooling": "none" if plan.scale.unpooled else "area average, float32",
            "prefix": "mean over crops",
        },
        "transform": {
            **job.transform(plan).record(),
            "mean": list(info.mean),
            "std": list(info.std),
        },
        "precision": backbone.arithmetic,
        "compiled": backbone.compiled,
        "dtype": dtype,
        "decoder": str(decoding),
        "libraries": code_hash.library_versions(),
        "code_sha256": code_hash.code_sha256(),
    }
