"""The experiment with dense heads on real images: a line for each row, and what S2 has over it.

Runs of ``scripts/experiments/dense_heads.py``: a linear head or a decoder on the frozen tokens of a
row's source, scored on unseen images. :data:`BASE` is compared with the other rows of the same
images, head, options of its training, and seeds.

An interval covers test images and seeds. Resamples of images depend on the seed of the run: they
pair two rows of one seed, but not two seeds. So each resample of the mean draws seeds with
replacement, and adds to the mean of their scores what one of them deviates from its score in one
resample of the images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from analyses.statistics.bootstrap import interval

SUMMARY = "tables_6_7_dense"
BASE = "Lite0-S2"
"""Row that the others are compared with: two scales, interpolated, split, concatenated."""
WHOLE, ADDED = "Lite0-S2 whole", "Lite0-S2 add"
"""What Tables 11 and 12 compare with it."""
CONSTANT = "constant"
"""The floor: the training mean, or the most frequent class, everywhere."""
SCALED = "median-scaled"
"""Second score of depth: each prediction multiplied by the ratio of true to predicted median."""
Scored = Mapping[int, tuple[float, np.ndarray]]
"""Seed → score, and resamples of it over the test images."""


def compute(
    runs: Iterable[Mapping[str, Any]], gmacs: Mapping[str, float], parts: Mapping[str, str]
) -> pd.DataFrame:
    """Summarise runs over their seeds.

    Parameters
    ----------
    runs : iterable of dict
        Records of the script, in the order in which lines are wanted.
    gmacs : mapping
        Row → multiply-accumulates of its backbone in units of 1e9.
    parts : mapping
        Dataset → name of its second score, such as of a part of its test images; may be empty.

    Returns
    -------
    pandas.DataFrame
        ``data``, ``row``, ``head``, ``iterations``, ``hidden`` (of a decoder), ``source``, ``grid``
        (tokens), ``gmacs``, ``train_images``, ``test_images``, ``metric``, ``value`` (mean IoU as a
        share, or RMSE in metres; a mean over seeds), ``low``, ``high`` (95 %), ``seeds``,
        ``difference`` (:data:`BASE` minus this), ``difference_low``, ``difference_high``,
        ``shared_seeds``; ``part`` and the same scores of it, with ``part_`` in front.
    """
    groups: dict[tuple, dict[str, dict[int, Mapping[str, Any]]]] = {}
    for run in runs:
        rows = groups.setdefault(_setting(run), {})
        rows.setdefault(run["row"], {})[run["seed"]] = run
    lines = []
    for setting, rows in groups.items():
        about = dict(zip(("data", "head", "iterations", "hidden"), setting, strict=True))
        part = parts.get(about["data"], "")
        for row, own in rows.items():
            base = rows.get(BASE, {}) if row != BASE else {}
            line = {**about, **_facts(next(iter(own.values()))), "gmacs": gmacs[row]}
            line |= _compared(_scored(own, line["metric"]), _scored(base, line["metric"]))
            if part:
                pair = (_scored(side, line["metric"], part) for side in (own, base))
                line |= {f"part_{name}": value for name, value in _compared(*pair).items()}
                line |= {"part": part, "part_images": next(iter(own.values()))[part]["images"]}
            lines.append(line)
    return pd.DataFrame(lines, columns=COLUMNS)


def _setting(run: Mapping[str, Any]) -> tuple:
    """What has to be equal of two runs for their rows to be compared."""
    trained, decoder = run.get("training", {}), run.get("decoder", {})
    return run["data"], run["head"], trained.get("iterations"), decoder.get("hidden")


def _facts(run: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("row", "source", "train_images", "test_images")
    metric = "miou" if "miou" in run else "rmse"
    return {name: run[name] for name in kept} | {
        "grid": "{} x {}".format(*run["grid"]), "metric": metric
    }  # fmt: skip


def _scored(runs: Mapping[int, Mapping[str, Any]], metric: str, part: str = "") -> Scored:
    """Scores of a row's runs by seed, on all test images or on a part of them."""
    records = {seed: run[part] if part else run for seed, run in runs.items()}
    return {seed: (one[metric], np.array(one["resampled"])) for seed, one in records.items()}


def _compared(own: Scored, base: Scored) -> dict[str, float]:
    """Mean over seeds with its interval, and the paired difference over the seeds of both rows."""
    found = dict(zip(("value", "low", "high"), over_seeds(own), strict=True)) | {"seeds": len(own)}
    shared = sorted(own.keys() & base.keys())
    if shared:
        minus = {
            seed: (base[seed][0] - own[seed][0], base[seed][1] - own[seed][1]) for seed in shared
        }
        names = ("difference", "difference_low", "difference_high")
        found |= dict(zip(names, over_seeds(minus), strict=True))
        found["shared_seeds"] = len(shared)
    return found


def over_seeds(scored: Scored) -> tuple[float, float, float]:
    """Mean over seeds, and its 95 % interval over test images and seeds.

    Of one seed this is the interval of its own resamples.

    Examples
    --------
    >>> over_seeds({0: (0.5, np.array([0.4, 0.6])), 1: (0.5, np.array([0.4, 0.6]))})[0]
    0.5
    """
    values = np.array([value for value, _ in scored.values()])
    resampled = np.array([resamples for _, resamples in scored.values()])
    rng = np.random.default_rng([len(values), 6])
    drawn = rng.integers(len(values), size=resampled.shape)
    deviation = np.take_along_axis(resampled - values[:, None], drawn[:1], 0)[0]
    low, high = interval(values[drawn].mean(0) + deviation)
    return tuple(round(float(value), 6) for value in (values.mean(), low, high))  # type: ignore[return-value]


_SCORES = ("value", "low", "high", "seeds")
_MINUS = ("difference", "difference_low", "difference_high", "shared_seeds")
_PART = tuple(f"part_{name}" for name in ("images", *_SCORES[:3], *_MINUS[:3]))
COLUMNS = [
    "data", "row", "head", "iterations", "hidden", "source", "grid", "gmacs", "train_images",
    "test_images", "metric", *_SCORES, *_MINUS, "part", *_PART,
]  # fmt: skip
