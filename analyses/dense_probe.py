"""Dense probes: a linear (1 x 1) head on stored token maps for segmentation and depth.

Segmentation: multinomial logistic head on single tokens; a token's training label is the class of
most known pixels under it. Depth: ridge regression of the mean known depth under a token (metres).
At test time the head's output map (logits or depth) is enlarged bilinearly to the pixels and
compared there with the target map, on images that training has not seen. The penalty is chosen on
held-out training images, never on tokens of the images that trained the head.

Memory: the training tokens, at most `train_tokens` rows of 4 bytes a channel; for segmentation, a
standardised copy of them, up to the head's `memory_mb`, and a second one while the penalty is
chosen; for depth, channel-by-channel matrices, one for each fold; shards of the store as they
stream; one test image enlarged to its pixels; three counts per class for each test image.

Source: the questions of Tables 6, 7, 11 and 12 of Shi et al. (2024). Deviation: their decoders are
Mask2Former and VPD; here the head is linear, so that the representation decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from analyses.configs import DenseConfig
from analyses.linear import from_moments
from analyses.linear.head import Head
from analyses.linear.logistic import LogisticProblem
from analyses.probe import choose_l2
from analyses.reading import target_maps
from analyses.reading.labelled_tokens import TargetMaps, TrainingTokens, draw, good_rows, token_maps
from analyses.reading.pooled import FeatureRows
from analyses.reading.progress import shown
from analyses.reading.splits import held_out
from analyses.statistics.dense_scores import PerImage, scores
from feature_store import FeatureStore, InputError
from feature_store.source import names_of

Say = Callable[[str], object]
"""Shows the current step beside the progress bar."""
RIDGES = tuple(10.0**e for e in range(-6, 3))
"""Ridges tried for depth: penalties over the mean eigenvalue of the tokens' scatter."""


def compute(
    train_store: FeatureStore,
    test_store: FeatureStore,
    *,
    sources: str | Sequence[str],
    targets: tuple[TargetMaps, TargetMaps],
    config: DenseConfig | None = None,
) -> pd.DataFrame:
    """One row per source.

    Parameters
    ----------
    targets : (train, test) arrays, dims (image, row, col), or objects that read a map when indexed
        One map per store row, in pixels of the image as the model saw it. Segmentation: int, -1 =
        ignored. Depth: float metres, NaN = unknown.

    Returns
    -------
    pandas.DataFrame
        ``source``; segmentation: ``miou`` (mean over classes that occur in the test maps),
        ``low``, ``high``, ``pixel_accuracy``; depth: ``rmse`` (metres), ``low``, ``high``,
        ``delta1`` (share of pixels within a factor of 1.25); ``l2`` (segmentation) or ``ridge``
        (depth), ``channels``, ``train_images``, ``tokens_per_image`` (drawn for training),
        ``test_images``. Attributes ``resampled``: source to bootstrap resamples of miou or rmse,
        paired between sources; ``per_image``: source to
        :class:`~analyses.statistics.dense_scores.PerImage`.

    Raises
    ------
    InputError
        Target maps that do not fit the stores, no known pixel, targets in one training image only
        and no penalty given, or images shared by both stores.
    """
    config = config or DenseConfig()
    images = held_out(train_store, test_store, keep_shared=config.keep_shared)
    for store, maps in zip((train_store, test_store), targets, strict=True):
        if len(maps) != len(store):
            raise InputError(f"{len(maps)} target maps given; {store.path} needs {len(store)}")
    task = _TASKS[config.task]
    sources = names_of(sources)
    records, resampled, per_image = [], {}, {}
    for source in sources:
        rows = good_rows(test_store, source)
        rows = rows[~images.left_out[rows]]
        total = len(good_rows(train_store, source)) + len(rows)
        with shown(source, total=total, unit="image", wanted=config.progress) as bar:
            seen = draw(
                train_store, source, targets[0], task.target, merge=config.merge,
                limit=config.train_tokens, seed=config.seed, count=bar.update,
            )  # fmt: skip
            head, penalty = fit_head(seen, config, say=bar.set_postfix_str)
            outputs = _outputs(test_store, source, rows, targets[1], head, config, bar.update)
            found = PerImage.scored(outputs, rows, config)
        record, resampled[source] = scores(found.sums, rows, len(test_store), config)
        per_image[source] = found
        records.append(
            {"source": source}
            | record
            | {
                task.penalty: penalty,
                "channels": seen.x.shape[1],
                "train_images": seen.images,
                "tokens_per_image": seen.per_image,
                "test_images": len(rows),
            }
        )
    table = pd.DataFrame.from_records(records)
    table.attrs = {"config": asdict(config), "train": train_store.path, "test": test_store.path}
    table.attrs |= {"resampled": resampled, "shared_images": images.report()}
    table.attrs["per_image"] = per_image
    return table


def fit_head(
    seen: TrainingTokens,
    config: DenseConfig,
    penalty: float | None = None,
    say: Say = lambda line: None,
) -> tuple[Head, float]:
    """The linear head of a task on drawn tokens, and its penalty, chosen if none is given."""
    if penalty is not None:
        given: dict[str, Any] = {_TASKS[config.task].penalty: penalty}
        config = replace(config, **given)
    return _TASKS[config.task].fit(seen, config, say)


def _outputs(
    store: FeatureStore,
    source: str,
    rows: np.ndarray,
    maps: TargetMaps,
    head: Head,
    config: DenseConfig,
    done: Callable[[], object],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The head's output map and the truth, image by image."""
    weight, bias = head.weight.astype(np.float32), head.bias.astype(np.float32)
    for row, tokens in token_maps(store, source, config.merge, rows):
        yield tokens @ weight + bias, maps[row]
        done()


def _fit_segmentation(seen: TrainingTokens, config: DenseConfig, say: Say) -> tuple[Head, float]:
    labels = seen.y.astype(np.int64)
    classes = int(labels.max(initial=0)) + 1
    if classes < 2:
        raise InputError("the training masks hold fewer than two classes")
    problem = LogisticProblem(FeatureRows.of(seen.x), labels, classes, config.head)
    l2 = config.l2
    if l2 is None:
        folds = _known_elsewhere(_folds(seen, config), labels)
        l2 = choose_l2(problem, folds, lambda tried: say(f"trying l2 {tried:g}"))
    say(f"l2 {l2:g}")
    return problem.fit(l2=l2), l2


def _known_elsewhere(folds: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The folds, with -1 (never held out) for tokens of a class that lies in one fold only.

    Held out, they would meet a head that does not know their class, and call for a stronger penalty
    than the other tokens need.
    """
    spread = np.zeros((labels.max() + 1, folds.max() + 1), bool)
    spread[labels, folds] = True
    known = np.where(spread.sum(1)[labels] > 1, folds, -1)
    if (known < 0).all():
        raise InputError("no class lies in two training images of different folds; give l2")
    return known


def _fit_depth(seen: TrainingTokens, config: DenseConfig, say: Say) -> tuple[Head, float]:
    if not len(seen.y):
        raise InputError("the training depth maps hold no known pixel")
    ridge = config.ridge
    folds = np.zeros(len(seen.y), int) if ridge is not None else _folds(seen, config)
    moments = from_moments.of_rows(seen.x, seen.y[:, None], folds)
    if ridge is None:
        ridge = from_moments.cross_validate(moments, ["x"], ["y"], RIDGES).best
    say(f"ridge {ridge:g}")
    best = from_moments.solve(moments, ["x"], ["y"], ridge)
    return Head(best.weights, best.mean_y - best.mean_x @ best.weights), ridge


def _folds(seen: TrainingTokens, config: DenseConfig) -> np.ndarray:
    """Fold of each token; all tokens of an image share theirs.

    Only images with a target count, so that no fold is empty and none holds everything.
    """
    images, place = np.unique(seen.image, return_inverse=True)
    if len(images) < 2:
        raise InputError(
            f"one training image has targets, and choosing the penalty needs at least two; give "
            f"{_TASKS[config.task].penalty}"
        )
    rng = np.random.default_rng(config.seed)
    return rng.permutation(np.arange(len(images)) % config.folds)[place]


@dataclass(frozen=True, kw_only=True)
class _Task:
    """The parts that differ between the tasks."""

    target: Callable[[np.ndarray], np.ndarray]
    """Turn the pixels under a token into its training target."""
    fit: Callable[[TrainingTokens, DenseConfig, Say], tuple[Head, float]]
    """Head and penalty."""
    penalty: Literal["l2", "ridge"]
    """Option and column of the penalty."""


_TASKS = {
    "segmentation": _Task(target=target_maps.majority, fit=_fit_segmentation, penalty="l2"),
    "depth": _Task(target=target_maps.mean_depth, fit=_fit_depth, penalty="ridge"),
}
