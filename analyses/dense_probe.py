"""Dense probes: a linear (1 x 1) head on stored token maps for segmentation and depth.

Segmentation: multinomial logistic head on single tokens; a token's training label is the class of
most known pixels under it. Depth: ridge regression of the mean known depth under a token (metres).
At test time the head's output map (logits or depth) is enlarged bilinearly to the pixels and
judged there, on images that training has not seen. The penalty is chosen on held-out training
images (never on tokens of the same image).

Source: the questions of Tables 6, 7, 11 and 12 of Shi et al. (2024). Deviation: their decoders are
Mask2Former and VPD; here the head is linear, so that the representation is judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from analyses.dense_maps import cells, enlarged, majority
from analyses.heads import Head
from analyses.linear_head import HeadConfig, Problem
from analyses.pooled import FeatureRows, Merge
from analyses.probe import choose_l2
from feature_store import FeatureStore, InputError

RIDGE_RATIOS = tuple(10.0**e for e in range(-6, 3))
"""Ridge penalties tried, over the mean eigenvalue of the tokens' covariance."""


@dataclass(frozen=True, kw_only=True)
class DenseConfig:
    """How the dense head is trained and judged."""

    task: Literal["segmentation", "depth"] = "segmentation"
    """What the target maps hold: class numbers (-1 = ignored) or metres (NaN = unknown)."""
    merge: Merge = "concat"
    """How the scales of an S2 source combine (Table 12)."""
    l2: float | None = None
    """Penalty; by default chosen on held-out training images."""
    folds: int = 3
    """Groups of training images for that choice."""
    resamples: int = 200
    """Image-bootstrap resamples behind the intervals."""
    confidence: float = 0.95
    """Coverage of the intervals."""
    seed: int = 0
    """Seed of folds and resamples."""
    head: HeadConfig = field(default_factory=lambda: HeadConfig(tolerance=1e-4))
    """How the segmentation head is trained."""

    def __post_init__(self) -> None:
        if self.task not in ("segmentation", "depth"):
            raise InputError(f"task is {self.task!r}; choose segmentation or depth")
        if self.folds < 2 or self.resamples < 1:
            raise InputError(f"found folds {self.folds}, resamples {self.resamples}; need 2 and 1")


def compute(
    train_store: FeatureStore,
    test_store: FeatureStore,
    *,
    sources: Sequence[str],
    targets: tuple[np.ndarray, np.ndarray],
    config: DenseConfig | None = None,
) -> pd.DataFrame:
    """One row per source.

    Parameters
    ----------
    train_store, test_store : FeatureStore
    sources : sequence of str
    targets : (train, test) arrays, dims (image, row, col)
        One map per store row, in pixels of the image as the model saw it. Segmentation: int, -1 =
        ignored. Depth: float metres, NaN = unknown.
    config : DenseConfig, optional

    Returns
    -------
    pandas.DataFrame
        ``source``; segmentation: ``miou`` (mean over classes that occur in the test maps),
        ``low``, ``high``, ``pixel_accuracy``; depth: ``rmse`` (metres), ``low``, ``high``,
        ``delta1`` (share of pixels within a factor of 1.25); ``l2``, ``channels``,
        ``train_images``, ``test_images``.

    Raises
    ------
    InputError
        Maps that do not fit the stores, or no known pixel.
    """
    config = config or DenseConfig()
    for store, maps in zip((train_store, test_store), targets, strict=True):
        if maps.ndim != 3 or len(maps) != len(store):
            raise InputError(
                f"target maps have shape {maps.shape}; {store.path} needs ({len(store)}, row, col)"
            )
    fit = _fit_segmentation if config.task == "segmentation" else _fit_depth
    judge = segmentation_scores if config.task == "segmentation" else depth_scores
    records = []
    for source in sources:
        seen, rows = _tokens(train_store, source, config.merge)
        unseen, test_rows = _tokens(test_store, source, config.merge)
        head, l2 = fit(seen, targets[0][rows], config)
        output = unseen @ head.weight.astype(np.float32) + head.bias.astype(np.float32)
        records.append(
            {"source": source}
            | judge(output, targets[1][test_rows], config)
            | {
                "l2": l2,
                "channels": seen.shape[-1],
                "train_images": len(seen),
                "test_images": len(unseen),
            }
        )
    table = pd.DataFrame.from_records(records)
    table.attrs = {"config": asdict(config), "train": train_store.path, "test": test_store.path}
    return table


def segmentation_scores(
    logits: np.ndarray, maps: np.ndarray, config: DenseConfig
) -> dict[str, float]:
    """mIoU with its interval, and pixel accuracy, of enlarged logit maps.

    Parameters
    ----------
    logits : float32 array, dims (image, row, col, class)
    maps : int array, dims (image, pixel row, pixel col)
    """
    classes = max(logits.shape[-1], int(maps.max()) + 1)
    tables = np.zeros((len(maps), classes, classes))  # image, true class, predicted class
    for n, truth in enumerate(maps):
        predicted = enlarged(logits[n], truth.shape).argmax(-1)
        known = truth >= 0
        pairs = truth[known] * classes + predicted[known]
        tables[n] = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    total = tables.sum(0)
    low, high = _bootstrap(tables, mean_iou, config)
    accuracy = np.trace(total) / total.sum()
    return {"miou": mean_iou(total), "low": low, "high": high, "pixel_accuracy": float(accuracy)}


def mean_iou(confusion: np.ndarray) -> float:
    """Mean over classes that occur in the truth of hits / (truth + predicted - hits).

    Examples
    --------
    >>> mean_iou(np.array([[3.0, 1.0], [0.0, 4.0]]))  # 3/4 and 4/5
    0.775
    """
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    occurs = confusion.sum(1) > 0
    return float((hits[occurs] / union[occurs]).mean())


def depth_scores(depth: np.ndarray, maps: np.ndarray, config: DenseConfig) -> dict[str, float]:
    """RMSE in metres with its interval, and δ1, of enlarged depth maps.

    Parameters
    ----------
    depth : float32 array, dims (image, row, col, 1)
    maps : float array, dims (image, pixel row, pixel col)
        NaN = unknown.
    """
    sums = np.zeros((len(maps), 3))  # image; squared error, pixels within 1.25, pixels
    for n, truth in enumerate(maps):
        predicted = enlarged(depth[n], truth.shape)[..., 0]
        known = np.isfinite(truth)
        p, t = predicted[known], truth[known]
        near = np.maximum(t / np.maximum(p, 1e-3), p / t) < 1.25
        sums[n] = ((p - t) ** 2).sum(), near.sum(), known.sum()
    total = sums.sum(0)
    low, high = _bootstrap(sums, _rmse, config)
    return {"rmse": _rmse(total), "low": low, "high": high, "delta1": float(total[1] / total[2])}


def _rmse(sums: np.ndarray) -> float:
    return float(np.sqrt(sums[0] / sums[2]))


def _bootstrap(per_image: np.ndarray, statistic, config: DenseConfig) -> tuple[float, float]:
    """Percentile interval of a statistic of sums over resampled images."""
    rng = np.random.default_rng(config.seed)
    draws = [
        statistic(per_image[rng.integers(0, len(per_image), len(per_image))].sum(0))
        for _ in range(config.resamples)
    ]
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _fit_segmentation(
    tokens: np.ndarray, maps: np.ndarray, config: DenseConfig
) -> tuple[Head, float]:
    classes = int(maps.max()) + 1
    if classes < 2:
        raise InputError("the training masks hold fewer than two classes")
    labels = majority(maps, tokens.shape[1:3], classes).ravel()
    known = labels >= 0
    rows = FeatureRows.of(tokens.reshape(-1, tokens.shape[-1])[known])
    problem = Problem(rows, labels[known], classes, config.head)
    l2 = config.l2
    if l2 is None:
        l2 = choose_l2(problem, labels[known], _image_folds(tokens, config)[known])
    return problem.fit(l2=l2), l2


def _fit_depth(tokens: np.ndarray, maps: np.ndarray, config: DenseConfig) -> tuple[Head, float]:
    under = cells(maps, tokens.shape[1:3])
    count = np.isfinite(under).sum(-1).ravel()
    if not count.any():
        raise InputError("the training depth maps hold no known pixel")
    known = count > 0
    y = (np.nansum(under, -1).ravel()[known] / count[known]).astype(np.float64)
    x = tokens.reshape(-1, tokens.shape[-1])[known].astype(np.float64)
    ratios = RIDGE_RATIOS if config.l2 is None else (config.l2,)
    best = ratios[0]
    if len(ratios) > 1:
        folds = _image_folds(tokens, config)[known]
        error = np.zeros(len(ratios))
        for fold in np.unique(folds):
            held = folds == fold
            for n, (weight, bias) in enumerate(_ridge(x[~held], y[~held], ratios)):
                error[n] += ((x[held] @ weight + bias - y[held]) ** 2).sum()
        best = ratios[int(error.argmin())]
    ((weight, bias),) = _ridge(x, y, (best,))
    return Head(weight[:, None], np.array([bias])), best


def _ridge(x: np.ndarray, y: np.ndarray, ratios: Sequence[float]) -> list[tuple[np.ndarray, float]]:
    """(weight, bias) for every ratio of the penalty to the mean eigenvalue."""
    mean, centre = x.mean(0), y.mean()
    values, vectors = np.linalg.eigh((x - mean).T @ (x - mean))
    target = vectors.T @ ((x - mean).T @ (y - centre))
    solved = [vectors @ (target / (values.clip(0) + r * values.mean())) for r in ratios]
    return [(w, float(centre - mean @ w)) for w in solved]


def _image_folds(tokens: np.ndarray, config: DenseConfig) -> np.ndarray:
    """Fold of each token; all tokens of an image share theirs."""
    rng = np.random.default_rng(config.seed)
    folds = rng.permutation(np.arange(len(tokens)) % config.folds)
    return np.repeat(folds, tokens.shape[1] * tokens.shape[2])


def _tokens(store: FeatureStore, source: str, merge: Merge) -> tuple[np.ndarray, np.ndarray]:
    """All token maps of good images in memory: float32, dims (image, row, col, channel); rows."""
    view = store.features(source, merge=merge)
    rows = np.flatnonzero(store.status == "ok")
    return view.isel(image=rows).values.astype(np.float32), rows
