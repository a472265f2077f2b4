"""The paper's decoders as tables ask for them: trained on crops of the images, nothing stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from analyses.configs import DenseConfig
from analyses.reading.progress import watched
from feature_store.errors import InputError
from workbench.heads import on_the_fly
from workbench.heads.options import OnTheFly
from workbench.heads.recipes import RECIPES
from workbench.results.messages import note
from workbench.tables.records.measurement import Context, Measured

CLASSES = 150
"""Of ADE20k, for estimates."""


def options(
    asked: Mapping[str, Any],
    *,
    device: str = "cpu",
    arithmetic: Literal["fp32", "bf16", "fp16"] = "fp32",
    workers: int = 0,
    iterations: int | None = None,
) -> OnTheFly:
    """How a decoder is trained.

    Parameters
    ----------
    asked : mapping
        ``published``, the recipe's name, and perhaps ``merge``.
    device, arithmetic, workers
        Of the run.
    iterations : int, optional
        Fewer steps than published.
    """
    recipe = RECIPES[asked["published"]]
    if iterations is not None and iterations < recipe.training.iterations:
        recipe = recipe.shortened(iterations)
    return OnTheFly(
        config=DenseConfig(
            task=recipe.task, merge=asked.get("merge", "concat"), depth_cap=recipe.depth_cap,
            progress=watched(),
        ),
        decoder=replace(recipe.decoder, device=device),
        crops=replace(recipe.crops, arithmetic=arithmetic, workers=workers),
        training=recipe.training,
        eigen_crop=recipe.eigen_crop,
    )  # fmt: skip


def decoder(context: Context, sources: Sequence[str], asked: Mapping[str, Any]) -> Measured:
    """mIoU in per cent, or RMSE in metres, of a published decoder; bootstrap over test images.

    Raises
    ------
    InputError
        The training was asked to stop.
    """
    assert context.folder is not None
    given = options(
        asked, device=context.device, arithmetic=context.arithmetic, workers=context.workers,
        iterations=context.iterations,
    )  # fmt: skip
    table = on_the_fly.compute(
        context.images["train"], context.images["test"], sources=sources, options=given,
        folder=context.folder, log=note,
    )  # fmt: skip
    if table is None:
        raise InputError(f"stopped; repeat the command to resume the decoder in {context.folder}")
    name, factor = ("miou", 100) if given.config.task == "segmentation" else ("rmse", 1)
    values, resampled = {}, {}
    for row in table.to_dict("records"):
        values[row["source"]] = {name: tuple(factor * row[part] for part in (name, "low", "high"))}
        drawn = table.attrs["resampled"][row["source"]]
        resampled[row["source"]] = {name: [float(f"{factor * value:.6g}") for value in drawn]}
    notes: tuple[str, ...] = ()
    if context.iterations is not None:
        notes = (f"Decoders are trained for {context.iterations:,} steps.",)
    return Measured(values, resampled, notes, config=asdict(given))  # type: ignore[arg-type]


def shortened(asked: Mapping[str, Any], iterations: int | None) -> str:
    """Why a number of so few steps is not comparable; empty where it is."""
    published = RECIPES[asked["published"]].training.iterations
    if iterations is None or iterations >= published:
        return ""
    return f"its decoder was trained for {iterations:,} steps, the paper's for {published:,}"
