"""Dense probes: a linear (1 x 1) head on stored token maps for segmentation and depth.

Segmentation: multinomial logistic head on single tokens; a token's training label is the class of
most known pixels under it. Depth: ridge regression of the mean known depth under a token (metres).
At test time the head's output map (logits or depth) is enlarged bilinearly to the pixels and
judged there, on images that training has not seen. The penalty is chosen on held-out training
images (never on tokens of the same image).

Memory: the training tokens, at most `train_tokens` rows of 4 bytes a channel, and for segmentation,
up to the head's `memory_mb`, a standardised copy of them; shards of the store as they stream; one
test image enlarged to its pixels; for each test image three counts per class.

Source: the questions of Tables 6, 7, 11 and 12 of Shi et al. (2024). Deviation: their decoders are
Mask2Former and VPD; here the head is linear, so that the representation is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from analyses.linear import dense_ridge
from analyses.linear.head import Head
from analyses.linear.logistic import HeadConfig, Problem
from analyses.probe import choose_l2
from analyses.reading import target_maps
from analyses.reading.batches import refuse_shared_images
from analyses.reading.labelled_tokens import Maps, TrainingTokens, draw, good_rows, token_maps
from analyses.reading.pooled import FeatureRows, Merge
from analyses.statistics.bootstrap import interval, resampled
from feature_store import FeatureStore, InputError


@dataclass(frozen=True, kw_only=True)
class DenseConfig:
    """How the dense head is trained and judged."""

    task: Literal["segmentation", "depth"] = "segmentation"
    """What the target maps hold: class numbers (-1 = ignored) or metres (NaN = unknown)."""
    merge: Merge = "concat"
    """How the scales of an S2 source combine (Table 12)."""
    train_tokens: int = 2**17
    """Tokens to train on at most, equally many of each image; half a MiB for each channel."""
    l2: float | None = None
    """Penalty, by default chosen on held-out training images; segmentation: that of
    :mod:`analyses.linear.logistic`; depth: over the mean eigenvalue of the tokens' scatter."""
    folds: int = 3
    """Groups of training images for that choice."""
    resamples: int = 200
    """Image-bootstrap resamples behind the intervals."""
    confidence: float = 0.95
    """Coverage of the intervals."""
    seed: int = 0
    """Seed of drawn tokens, folds and resamples."""
    head: HeadConfig = field(default_factory=lambda: HeadConfig(tolerance=1e-4))
    """How the segmentation head is trained."""

    def __post_init__(self) -> None:
        if self.task not in ("segmentation", "depth"):
            raise InputError(f"task is {self.task!r}; choose segmentation or depth")
        if self.folds < 2 or self.resamples < 1:
            raise InputError(f"found folds {self.folds}, resamples {self.resamples}; need 2 and 1")
        if self.train_tokens < 1:
            raise InputError(f"train_tokens is {self.train_tokens}; give a positive number")
        if self.l2 is not None and self.l2 < 0:
            raise InputError(f"l2 is {self.l2}; give a penalty that is not negative")


def compute(
    train_store: FeatureStore,
    test_store: FeatureStore,
    *,
    sources: Sequence[str],
    targets: tuple[Maps, Maps],
    config: DenseConfig | None = None,
) -> pd.DataFrame:
    """One row per source.

    Parameters
    ----------
    train_store, test_store : FeatureStore
    sources : sequence of str
    targets : (train, test) arrays, dims (image, row, col), or objects that read maps when asked
        One map per store row, in pixels of the image as the model saw it. Segmentation: int, -1 =
        ignored. Depth: float metres, NaN = unknown.
    config : DenseConfig, optional

    Returns
    -------
    pandas.DataFrame
        ``source``; segmentation: ``miou`` (mean over classes that occur in the test maps),
        ``low``, ``high``, ``pixel_accuracy``; depth: ``rmse`` (metres), ``low``, ``high``,
        ``delta1`` (share of pixels within a factor of 1.25); ``l2``, ``channels``,
        ``train_images``, ``tokens_per_image`` (drawn for training), ``test_images``. Attribute
        ``draws``: source to bootstrap draws of miou or rmse, paired between sources.

    Raises
    ------
    InputError
        Maps that do not fit the stores, no known pixel, targets in one training image only and
        no `l2`, or images shared by both stores.
    """
    config = config or DenseConfig()
    refuse_shared_images(train_store, test_store)
    for store, maps in zip((train_store, test_store), targets, strict=True):
        if len(maps) != len(store):
            raise InputError(f"found {len(maps)} target maps; {store.path} needs {len(store)}")
    task = _TASKS[config.task]
    records, draws = [], {}
    for source in sources:
        seen = draw(
            train_store, source, targets[0], task.target,
            merge=config.merge, limit=config.train_tokens, seed=config.seed,
        )  # fmt: skip
        head, l2 = task.fit(seen, config)
        rows = good_rows(test_store, source)
        sums = _judged(test_store, source, rows, targets[1], head, config)
        record, draws[source] = scores(sums, rows, len(test_store), config)
        records.append(
            {"source": source}
            | record
            | {
                "l2": l2,
                "channels": seen.x.shape[1],
                "train_images": seen.images,
                "tokens_per_image": seen.per_image,
                "test_images": len(rows),
            }
        )
    table = pd.DataFrame.from_records(records)
    table.attrs = {"config": asdict(config), "train": train_store.path, "test": test_store.path}
    table.attrs["draws"] = draws
    return table


def scores(
    sums: Sequence[np.ndarray], rows: np.ndarray, images: int, config: DenseConfig
) -> tuple[dict[str, float], list[float]]:
    """The task's metric with its interval and its second metric; bootstrap draws of the metric.

    Parameters
    ----------
    sums : sequence of arrays, dims (3, class)
        What ``class_counts`` or ``depth_sums`` of the target maps found in each image.
    rows : int array, dims (image,)
        Row numbers of these images in a store of `images`.
    images : int
    config : DenseConfig

    Raises
    ------
    InputError
        No image, or no known pixel.
    """
    if not sums:
        raise InputError("no test image is readable")
    task = _TASKS[config.task]
    metric, second = task.metrics
    wide = max(part.shape[1] for part in sums)
    per_image = np.stack([np.pad(part, ((0, 0), (0, wide - part.shape[1]))) for part in sums])
    flat = per_image.reshape(len(sums), -1).astype(np.float64)
    total = flat.sum(0).reshape(3, wide)
    value = metric(total)
    if np.isnan(value):
        raise InputError("the test maps hold no known pixel")
    resamples = resampled(flat, rows, images, resamples=config.resamples, seed=config.seed)
    draws = [metric(found.reshape(3, wide)) for found in resamples]
    low, high = interval(draws, config.confidence)
    found = {task.names[0]: value, "low": low, "high": high, task.names[1]: second(total)}
    return found, draws


def _judged(
    store: FeatureStore,
    source: str,
    rows: np.ndarray,
    maps: Maps,
    head: Head,
    config: DenseConfig,
) -> list[np.ndarray]:
    """What the task adds up, image by image."""
    weight, bias = head.weight.astype(np.float32), head.bias.astype(np.float32)
    count = _TASKS[config.task].count
    return [
        count(tokens @ weight + bias, maps[row])
        for row, tokens in token_maps(store, source, config.merge, rows)
    ]


def _fit_segmentation(seen: TrainingTokens, config: DenseConfig) -> tuple[Head, float]:
    labels = seen.y.astype(np.int64)
    classes = int(labels.max(initial=0)) + 1
    if classes < 2:
        raise InputError("the training masks hold fewer than two classes")
    problem = Problem(FeatureRows.of(seen.x), labels, classes, config.head)
    l2 = config.l2
    if l2 is None:
        l2 = choose_l2(problem, _known_elsewhere(_folds(seen, config), labels))
    return problem.fit(l2=l2), l2


def _known_elsewhere(folds: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The folds, with -1 (never held out) for tokens of a class that lies in one fold only.

    Held out they would be judged by a head that does not know their class, which asks for a
    stronger penalty than the others need.
    """
    spread = np.zeros((labels.max() + 1, folds.max() + 1), bool)
    spread[labels, folds] = True
    found = np.where(spread.sum(1)[labels] > 1, folds, -1)
    if (found < 0).all():
        raise InputError("no class lies in two training images of different folds; give l2")
    return found


def _fit_depth(seen: TrainingTokens, config: DenseConfig) -> tuple[Head, float]:
    if not len(seen.y):
        raise InputError("the training depth maps hold no known pixel")
    if config.l2 is None:
        ratios, folds = dense_ridge.RATIOS, _folds(seen, config)
    else:
        ratios, folds = (config.l2,), np.zeros(len(seen.y), int)
    weight, bias, ratio = dense_ridge.fit(seen.x, seen.y, folds, ratios)
    return Head(weight[:, None], np.array([bias])), ratio


def _folds(seen: TrainingTokens, config: DenseConfig) -> np.ndarray:
    """Fold of each token; all tokens of an image share theirs.

    Only images with a target count, so that no fold is empty and none holds everything.
    """
    images, place = np.unique(seen.image, return_inverse=True)
    if len(images) < 2:
        raise InputError("one training image has targets: none left to choose the penalty; give l2")
    rng = np.random.default_rng(config.seed)
    return rng.permutation(np.arange(len(images)) % config.folds)[place]


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What differs between the tasks."""

    target: Callable[[np.ndarray], np.ndarray]
    """Pixels under a token to what they teach."""
    fit: Callable[[TrainingTokens, DenseConfig], tuple[Head, float]]
    """Head and penalty."""
    count: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """The head's output map and an image's true map to what is added up."""
    names: tuple[str, str]
    """Columns of the two metrics."""
    metrics: tuple[Callable[[np.ndarray], float], Callable[[np.ndarray], float]]
    """The metrics of what was added up; the first has the interval."""


_TASKS = {
    "segmentation": _Task(
        target=target_maps.majority,
        fit=_fit_segmentation,
        count=target_maps.class_counts,
        names=("miou", "pixel_accuracy"),
        metrics=(target_maps.mean_iou, lambda sums: float(sums[0].sum() / sums[1].sum())),
    ),
    "depth": _Task(
        target=target_maps.mean_depth,
        fit=_fit_depth,
        count=target_maps.depth_sums,
        names=("rmse", "delta1"),
        metrics=(target_maps.rmse, lambda sums: float(sums[1, 0] / sums[2, 0])),
    ),
}
