"""Estimated cost of the decoders of a run; reads and trains nothing."""

from __future__ import annotations

from typing import Any

from workbench.heads import estimate as heads
from workbench.tables.pipeline import decoders
from workbench.tables.pipeline.analyses import ANALYSES
from workbench.tables.pipeline.plan import MeasurementPlan
from workbench.tables.pipeline.profile import Profile


def rows(plan: MeasurementPlan, profile: Profile) -> list[dict[str, Any]]:
    """Bytes, GPU hours and memory of every decoder that is trained on the images."""
    found = []
    for measurement in plan.measurements:
        if not ANALYSES[measurement.analysis].images:
            continue
        options = decoders.options(
            dict(measurement.options), arithmetic=profile.arithmetic,
            iterations=profile.decoder_iterations,
        )  # fmt: skip
        roles = profile.data[measurement.data]
        images = roles["train"].expected or 0, roles["test"].expected or 0
        for source in measurement.sources:
            row = heads.estimate(
                source, options, images=images, classes=heads.CLASSES, tflops=profile.tflops
            )
            found.append(row | dict(measurement.options) | {"advice": heads.advice(row)})
    return found


def sums(trained: list[dict[str, Any]], tflops: float) -> dict[str, Any]:
    """Sums over the decoders, and what their hours rest on."""
    return {
        "decoder_assumption": heads.assumption(tflops),
        "decoders": len(trained),
        "decoder_gpu_hours": sum(row["on_the_fly_gpu_hours"] for row in trained),
        "crops_bytes": sum(row["crops_bytes"] for row in trained),
    }
