"""The labelled result of a reconstruction: rows of Table 2, maps, intervals, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analyses.linear.from_moments import Solution
from analyses.moments.second_moments import Moments
from analyses.reconstruction.errors import Errors
from analyses.reconstruction.question import ReconstructionConfig, ReconstructionQuestion
from analyses.reconstruction.scale_subsets import Subset, subsets, unique_and_shared
from analyses.statistics.bootstrap import interval
from analyses.statistics.gaussian import isotropy, rank_curve
from analyses.statistics.information import bits, bootstrap, ratio
from feature_store.source import Source

ROW_FIELDS = (
    "source",
    "target",
    "reference",
    "train_loss",
    "train_info_bits",
    "train_ratio",
    "test_loss",
    "test_info_bits",
    "test_ratio",
    "test_info_low",
    "test_info_high",
    "ridge",
)
"""Columns of :func:`rows`, in order."""

FEWEST_TOKENS_PER_CHANNEL = 10.0
"""Training tokens for each source channel; with fewer a row is warned of."""
LARGEST_INFO_LOSS = 0.2
"""Share of the training information (0 to 1) that may be missing on test images before a row is
said to overfit."""


def rows(result: xr.Dataset) -> pd.DataFrame:
    """One row per source with the columns :data:`ROW_FIELDS`, as in the paper's Table 2."""
    table = pd.DataFrame({"source": result["source"].values})
    for name in ROW_FIELDS[1:]:
        table[name] = result.attrs[name] if name in result.attrs else result[name].values
    return table


def assemble(
    question: ReconstructionQuestion,
    moments: Moments,
    maps: Mapping[Subset, Solution],
    errors: Errors,
    config: ReconstructionConfig,
) -> xr.Dataset:
    """Fitted maps (the rows first, then further subsets of scales) and their errors, labelled."""
    count = len(question.sources)
    fits = list(maps.values())[:count]
    at = question.sources.index(question.reference) if question.reference else None
    train_loss = np.array([s.residual.mean() for s in fits])
    train_info = bits(train_loss, np.array([s.variance.mean() for s in fits]))
    null = errors.image[-1]
    test_info = bits(errors.loss[:count], errors.loss[-1])
    resampled = bootstrap(errors.image[:count], null, resamples=config.resamples, seed=config.seed)
    low, high = interval(resampled)
    ratio_low, ratio_high = _ratio_interval(resampled, at)
    columns = {
        "train_loss": train_loss,
        "train_info_bits": train_info,
        "train_ratio": ratio(train_info, np.nan if at is None else float(train_info[at])),
        "test_loss": errors.loss[:count],
        "test_info_bits": test_info,
        "test_ratio": ratio(test_info, np.nan if at is None else float(test_info[at])),
        "test_info_low": low,
        "test_info_high": high,
        "test_ratio_low": ratio_low,
        "test_ratio_high": ratio_high,
        "ridge": [s.ridge for s in fits],
        "dof": [s.dof for s in fits],
        "tokens_per_channel": [moments.count() / len(s.weights) for s in fits],
    }
    result = xr.Dataset(
        {name: ("source", np.asarray(values, float)) for name, values in columns.items()},
        coords={"source": list(question.sources)},
    )
    cell, channel = errors.cell, errors.channel
    result["loss_map"] = (("source", "row", "col"), cell[:count])
    result["info_map"] = (("source", "row", "col"), bits(cell[:count], cell[-1]))
    result["channel_info"] = (("source", "channel"), bits(channel[:count], channel[-1]))
    result["resampled"] = (("source", "resample"), resampled)
    if config.decompose:
        tables = _scale_tables(question, maps, errors)
        result = result.assign(tables.reindex(source=list(question.sources)) if tables else {})
        result = result.assign(_beyond_the_paper(question, moments, fits))
    result.attrs = {
        "target": question.target,
        "reference": question.reference,
        "train_images": int(moments.images.sum()),
        "train_tokens": moments.count(),
        "test_images": len(null),
        "null_train_loss": float(fits[0].variance.mean()),
        "null_test_loss": float(errors.loss[-1]),
        "config": asdict(config),
        "warnings": [],
    }
    result.attrs["warnings"] = warnings_for(result)
    return result


def _beyond_the_paper(
    question: ReconstructionQuestion, moments: Moments, fits: list[Solution]
) -> dict[str, tuple]:
    """Log-det information and the curve over ranks of each row, on the training images."""
    goal = question.parts(question.target)
    measures = [isotropy(moments, solution, goal) for solution in fits]
    curves = [rank_curve(moments, solution, goal) for solution in fits]
    made = {f"train_{key}_bits": ("source", [m[key] for m in measures]) for key in measures[0]}
    return {**made, "rank_info": (("source", "rank"), np.array(curves))}


def _scale_tables(
    question: ReconstructionQuestion, maps: Mapping[Subset, Solution], errors: Errors
) -> xr.Dataset:
    """Bits of each scale alone and of its unique part; NaN for scales that a source lacks."""
    test = dict(zip(maps, bits(errors.loss[:-1], errors.loss[-1]), strict=True))
    train = {part: float(bits(s.residual.mean(), s.variance.mean())) for part, s in maps.items()}
    tables = []
    for name in question.sources:
        parts = question.parts(name)
        if len(parts) == 1:
            continue
        needed = subsets(parts)
        found = [unique_and_shared({s: d[s] for s in needed}, parts) for d in (train, test)]
        dims = {"alone": ("split", "scale"), "unique": ("split", "scale")}
        table = xr.Dataset(
            {key: (dims.get(key, ("split",)), [f[key] for f in found]) for key in found[0]},
            coords={"split": ["train", "test"], "scale": list(Source.parse(name).scales)},
        )
        tables.append(table.expand_dims(source=[name]))
    return xr.concat(tables, "source", join="outer") if tables else xr.Dataset()


def _ratio_interval(resampled: np.ndarray, at: int | None) -> tuple[Any, Any]:
    """Interval of the ratio to the reference, (source,) each; NaN without a reference."""
    if at is None or not (resampled[at] > 0).all():
        return np.nan * resampled[:, 0], np.nan * resampled[:, 0]
    return interval(resampled / resampled[at])


def warnings_for(result: xr.Dataset) -> list[str]:
    """Plain sentences on figures that mislead: scarce tokens, more freedom than images, overfit."""
    found = []
    images = result.attrs["train_images"]
    for name in result["source"].values:
        row = result.sel(source=name)
        if row["tokens_per_channel"] < FEWEST_TOKENS_PER_CHANNEL:
            found.append(
                f"{name}: only {float(row['tokens_per_channel']):.1f} training tokens per source "
                f"channel; train figures say little, use more images"
            )
        elif row["dof"] > images:
            found.append(
                f"{name}: the map has {float(row['dof']):.0f} effective degrees of freedom from "
                f"{images} training images, and tokens of one image are not independent; do not "
                f"read the train figures alone"
            )
        train, test = float(row["train_info_bits"]), float(row["test_info_bits"])
        if (
            train > 0.01
            and test < (1 - LARGEST_INFO_LOSS) * train
            and row["test_info_high"] < train
        ):
            automatic = result.attrs["config"]["ridge"] == "auto"
            alike = "check that train and test images are alike, and " if test < 0 else ""
            found.append(
                f"{name}: overfits, {train:.3f} bits on train but {test:.3f} on test images; "
                f"{alike}use more images{'' if automatic else ' or ridge=auto'}"
            )
    return found
