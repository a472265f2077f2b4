"""How much of a model's representation is a linear function of another's (S2 paper, Table 2)?

A linear map from each source to the target is fitted on all tokens of the training images; its
loss l is the mean over tokens and channels of the squared error, l0 that of the training mean.
Information I = -log2(l / l0) in bits; the ratio I / I* compares it with a reference source,
usually the largest model. Source: S2 paper, section 4.2 and appendix B.

Deviations, all on purpose: the map is exact (from second moments) instead of trained; it is
regularised by default, because tokens of one image are not independent (``ridge=0`` is the paper's
way); test information has an interval over resampled images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from analyses import held_out, ridge
from analyses.accumulate import from_batches
from analyses.grids import pooled
from analyses.information import bits, bootstrap, interval, ratio
from analyses.moments import Moments, MomentsConfig
from analyses.reading import batches, refuse_shared_images, singles
from feature_store.errors import InputError

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

SCARCE = 10.0  # training tokens per channel below which train figures are called doubtful
GAP = 0.2  # part of the train information missing on test images that is called overfitting


@dataclass(frozen=True, kw_only=True)
class ReconstructionConfig:
    """How the maps are fitted and judged."""

    ridge: float | str = "auto"
    """"auto" chooses by cross-validation over folds of images; 0 is least squares, the paper's
    way; a number is the penalty relative to the mean eigenvalue of the source covariance."""
    folds: int = 5
    """Folds of images for ridge="auto"."""
    draws: int = 1000
    """Resamples of the test images behind the 95 % intervals."""
    seed: int = 0
    """Seed of the resamples."""
    grid: str = "same"
    """"same" refuses sources whose token grids differ; "pool" averages all to the common grid."""
    precision: str = "float32"
    """Type of the products of tokens ("float32" or "float64"); sums are always float64."""
    device: str = "cpu"
    """Torch device."""
    progress: bool = False
    """Show a progress bar on standard error."""

    def __post_init__(self) -> None:
        if self.ridge != "auto" and not (
            isinstance(self.ridge, int | float) and 0 <= self.ridge < float("inf")
        ):
            raise InputError(f'ridge is {self.ridge!r}; expected "auto", 0 or a positive number')
        if self.grid not in ("same", "pool"):
            raise InputError(f"grid is {self.grid!r}; choose same or pool")
        if self.draws < 1:
            raise InputError(f"draws is {self.draws}; expected at least 1")

    def moments(self, **changes: Any) -> MomentsConfig:
        """The part of the configuration that decides how moments are accumulated."""
        return MomentsConfig(
            folds=self.folds, precision=self.precision, device=self.device, **changes
        )


def compute(
    train_store: Any,
    test_store: Any,
    *,
    target: str,
    sources: Sequence[str],
    reference: str | None = None,
    config: ReconstructionConfig | None = None,
) -> xr.Dataset:
    """Reconstruct the target from each source on training images, judge on test images.

    Parameters
    ----------
    train_store, test_store : FeatureStore
        Stores that hold all sources and share no image.
    target, reference : str
        Sources such as ``timm:vit_large_patch16_224@224``. The reference becomes a row as well;
        without one, ratios are NaN.
    sources : sequence of str
        Single-scale or S2 sources.
    config : ReconstructionConfig, optional

    Returns
    -------
    xarray.Dataset
        Along ``source``: the fields of :data:`ROW_FIELDS` and ``dof``, ``tokens_per_channel``,
        ``test_ratio_low``, ``test_ratio_high``; ``loss_map`` and ``info_map`` (source, row, col),
        ``channel_info`` (source, channel), all on test images; ``draws`` (source, draw). Bits and
        squared feature units. ``attrs``: target, reference, image and token counts, configuration
        and ``warnings`` (list of str). A target without variance has 0 bits.

    Raises
    ------
    InputError
        Sources not stored or incomplete, train and test sharing images, differing token grids.
    """
    config = config or ReconstructionConfig()
    refuse_shared_images(train_store, test_store)
    names = _row_names(train_store, sources, reference)
    goal = singles(train_store, target)
    parts = {name: singles(train_store, name) for name in names}
    used = list(dict.fromkeys([s for p in parts.values() for s in p] + goal))
    inputs = {s for p in parts.values() for s in p}
    moments_config = config.moments(targets=tuple(s for s in goal if s not in inputs))
    moments = from_batches(_batches(train_store, used, config, "train"), used, moments_config)
    solutions = {name: fit(moments, parts[name], goal, config) for name in names}
    errors = held_out.measure(
        _batches(test_store, used, config, "test"),
        list(solutions.values()),
        goal,
        precision=config.precision,
        device=config.device,
    )
    ends = (str(train_store.resolve(target)), _full(train_store, reference))
    return _result(moments, solutions, errors, ends, config)


def fit(
    moments: Moments,
    source: Sequence[str],
    target: Sequence[str],
    config: ReconstructionConfig | None = None,
) -> ridge.Solution:
    """Fit one map from training moments, its ridge chosen as the configuration says.

    `source` and `target` are single-scale sources side by side; any that the moments hold.
    """
    config = config or ReconstructionConfig()
    if config.ridge == "auto":
        chosen = ridge.cross_validate(moments, source, target).best
    else:
        chosen = float(config.ridge)
    return ridge.solve(moments, source, target, chosen)


def rows(result: xr.Dataset) -> pd.DataFrame:
    """One row per source with the columns :data:`ROW_FIELDS`, as in the paper's Table 2."""
    table = pd.DataFrame({"source": result["source"].values})
    for name in ROW_FIELDS[1:]:
        table[name] = result.attrs[name] if name in result.attrs else result[name].values
    return table


def _row_names(store: Any, sources: Sequence[str], reference: str | None) -> list[str]:
    if not sources:
        raise InputError("no source to reconstruct from; name at least one")
    wanted = [str(store.resolve(name)) for name in sources]
    repeated = {name for name in wanted if wanted.count(name) > 1}
    if repeated:
        raise InputError(f"source named twice: {', '.join(sorted(repeated))}")
    return list(dict.fromkeys([*wanted, *([_full(store, reference)] if reference else [])]))


def _full(store: Any, name: str | None) -> str:
    return str(store.resolve(name)) if name else ""


def _batches(store: Any, used: list[str], config: ReconstructionConfig, what: str) -> Iterable:
    found = batches(store, used, progress=config.progress, label=what)
    return pooled(found, used) if config.grid == "pool" else found


def _result(
    moments: Moments,
    solutions: dict[str, ridge.Solution],
    errors: held_out.Errors,
    ends: tuple[str, str],
    config: ReconstructionConfig,
) -> xr.Dataset:
    target, reference = ends
    names = list(solutions)
    fits = list(solutions.values())
    train_loss = np.array([s.residual.mean() for s in fits])
    train_info = bits(train_loss, [s.variance.mean() for s in fits])
    test_info = bits(errors.loss[:-1], errors.loss[-1])
    draws = bootstrap(errors.image[:-1], errors.image[-1], draws=config.draws, seed=config.seed)
    at = names.index(reference) if reference else None
    low, high = interval(draws)
    ratio_draws = np.full_like(draws, np.nan) if at is None else _paired_ratio(draws, at)
    ratio_low, ratio_high = interval(ratio_draws)
    columns = {
        "train_loss": train_loss,
        "train_info_bits": train_info,
        "train_ratio": ratio(train_info, np.nan if at is None else float(train_info[at])),
        "test_loss": errors.loss[:-1],
        "test_info_bits": test_info,
        "test_ratio": ratio(test_info, np.nan if at is None else float(test_info[at])),
        "test_info_low": low,
        "test_info_high": high,
        "test_ratio_low": ratio_low,
        "test_ratio_high": ratio_high,
        "ridge": np.array([s.ridge for s in fits]),
        "dof": np.array([s.dof for s in fits]),
        "tokens_per_channel": np.array([moments.count() / len(s.weights) for s in fits]),
    }
    result = xr.Dataset({k: ("source", np.asarray(v, float)) for k, v in columns.items()})
    result = result.assign_coords(source=names)
    result["loss_map"] = (("source", "row", "col"), errors.cell[:-1])
    result["info_map"] = (("source", "row", "col"), bits(errors.cell[:-1], errors.cell[-1]))
    result["channel_info"] = (("source", "channel"), bits(errors.channel[:-1], errors.channel[-1]))
    result["draws"] = (("source", "draw"), draws)
    result.attrs = {
        "target": target,
        "reference": reference,
        "train_images": int(moments.images.sum()),
        "train_tokens": moments.count(),
        "test_images": errors.image.shape[1],
        "null_train_loss": float(fits[0].variance.mean()),
        "null_test_loss": float(errors.loss[-1]),
        "config": asdict(config),
        "warnings": [],
    }
    result.attrs["warnings"] = warnings_for(result)
    return result


def _paired_ratio(draws: np.ndarray, at: int) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(draws[at] > 0, draws / draws[at], np.nan)


def warnings_for(result: xr.Dataset) -> list[str]:
    """Plain sentences on figures that mislead: scarce tokens, more freedom than images, overfit."""
    found = []
    images = result.attrs["train_images"]
    for name in result["source"].values:
        row = result.sel(source=name)
        if row["tokens_per_channel"] < SCARCE:
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
        if train > 0.01 and test < (1 - GAP) * train and row["test_info_high"] < train:
            found.append(
                f"{name}: overfits, {train:.3f} bits on train but {test:.3f} on test images; use "
                f"more images or ridge='auto'"
            )
    return found
