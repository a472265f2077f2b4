"""The paper's decoders as tables ask for them: trained on crops of the images, nothing stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from analyses.configs import DenseConfig
from analyses.reading.progress import watched
from analyses.reading.splits import image_notes
from workbench.heads import on_the_fly
from workbench.heads.config import CropConfig
from workbench.heads.optimiser import enough_memory
from workbench.heads.options import DenseOptions, OnTheFly
from workbench.heads.recipes import RECIPES
from workbench.models.info import Arithmetic
from workbench.results.messages import note
from workbench.tables.records.measurement import Context, Measured


def options(
    asked: Mapping[str, Any],
    *,
    device: str = "cpu",
    arithmetic: Arithmetic = "fp32",
    workers: int = 0,
    iterations: int | None = None,
) -> OnTheFly:
    """How a decoder is trained.

    Parameters
    ----------
    asked : mapping
        ``published``, the recipe's name, and perhaps ``merge``.
    device, arithmetic, workers
        Options of the run.
    iterations : int, optional
        Number of steps, if :func:`fewer` than published are wanted.
    """
    config = DenseConfig(
        task=RECIPES[asked["published"]].task, merge=asked.get("merge", "concat"),
        progress=watched(),
    )  # fmt: skip
    chosen = DenseOptions(
        published=asked["published"], iterations=fewer(asked, iterations),
        crops=CropConfig(arithmetic=arithmetic, workers=workers),
    )  # fmt: skip
    return chosen.on_the_fly(config, device)


def decoder(context: Context, sources: Sequence[str], asked: Mapping[str, Any]) -> Measured:
    """mIoU in per cent, or RMSE in metres, of a published decoder; bootstrap over test images.

    Raises
    ------
    KeyboardInterrupt
        The training was asked to stop: so is the whole run, which resumes when it is repeated.
    """
    assert context.folder is not None
    given = options(
        asked, device=context.device, arithmetic=context.arithmetic, workers=context.workers,
        iterations=context.iterations,
    )  # fmt: skip
    with enough_memory(given.decoder, "name a device with more memory in the configuration"):
        table = on_the_fly.compute(
            context.images["train"], context.images["test"], sources=sources, options=given,
            folder=context.folder, log=note,
        )  # fmt: skip
    if table is None:
        raise KeyboardInterrupt
    name, factor = ("miou", 100) if given.config.task == "segmentation" else ("rmse", 1)
    values, resampled = {}, {}
    for row in table.to_dict("records"):
        values[row["source"]] = {name: tuple(factor * row[part] for part in (name, "low", "high"))}
        drawn = table.attrs["resampled"][row["source"]]
        resampled[row["source"]] = {name: [float(f"{factor * value:.6g}") for value in drawn]}
    notes = tuple(image_notes(table.attrs["shared_images"]))
    if context.iterations is not None:
        notes += (f"Decoders are trained for {context.iterations:,} steps.",)
    return Measured(values, resampled, notes, config=asdict(given))  # type: ignore[arg-type]


def fewer(asked: Mapping[str, Any], iterations: int | None) -> int | None:
    """Steps of a trial; None where as many as published are asked for, or more."""
    published = RECIPES[asked["published"]].training.iterations
    return iterations if iterations is not None and iterations < published else None


def shortened(asked: Mapping[str, Any], iterations: int | None) -> str:
    """Why a number of so few steps is not comparable; empty where it is."""
    steps = fewer(asked, iterations)
    if steps is None:
        return ""
    published = RECIPES[asked["published"]].training.iterations
    return f"its decoder was trained for {steps:,} steps, the paper's for {published:,}"
