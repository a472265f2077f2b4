"""Few-shot accuracy: closed-form ridge regression to one-hot labels on a handful of images.

For a draw of n = shots * classes training images with centred features X (n, channel) and centred
one-hot labels Y (n, class), ridge with penalty l2 gives, through the n-by-n Gram matrix
X X^T = U diag(s) U^T, the scores

    f(z) = mean(y) + (z - mean(x)) X^T U diag(1 / (s + l2)) U^T Y .

With more images than channels the channel-by-channel X^T X gives the same with less work. One
eigen-decomposition serves every penalty. The penalty is l2 = r * sum(s) / n; r is the one with the
best accuracy on training images that were not drawn, averaged over all draws of that many shots
(the same choice for every draw, so that no draw is favoured).

Source: SoViT, Table 3 (10-shot linear probes). The paper states neither penalty nor its choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from analyses.linear.head import Head
from analyses.reading.batches import each, refuse_shared_images
from analyses.reading.labels import match_labels
from analyses.reading.partition import Engine
from analyses.reading.pooled import FeatureRows, Merge, Pooling, pool
from analyses.statistics.bootstrap import mean_draws
from feature_store import FeatureStore, InputError

PENALTIES = tuple(10.0**e for e in range(-6, 4))
"""Ratios r of the penalty to the mean eigenvalue that are tried."""


@dataclass(frozen=True, kw_only=True)
class FewShotConfig:
    """How many images, how often."""

    shots: tuple[int, ...] = (1, 5, 10, 25)
    """Training images per class."""
    repeats: int = 20
    """Seeded draws of the training images; sources are compared on the same draws."""
    validation: int = 1000
    """At most so many undrawn training images choose the penalty."""
    pooling: Pooling = "mean"
    """What represents an image: the mean over tokens, or the first prefix token (CLS)."""
    merge: Merge = "concat"
    """How the scales of an S2 source combine."""
    confidence: float = 0.95
    """Coverage of the interval of the mean over draws."""
    resamples: int = 1000
    """Bootstrap resamples, of draws and test images, behind the differences of sources."""
    seed: int = 0
    """Seed of the draws and resamples."""
    progress: bool = False
    """Show a progress bar over the sources on standard error."""

    def __post_init__(self) -> None:
        if not self.shots or min(self.shots) < 1:
            raise InputError(f"shots are {self.shots}; expected positive numbers such as 1 5 10 25")
        if self.repeats < 2:
            raise InputError(f"repeats is {self.repeats}; an interval over draws needs at least 2")
        if self.resamples < 1:
            raise InputError(
                f"resamples is {self.resamples}; draws of the accuracy need at least 1"
            )


def compute(
    train_store: FeatureStore,
    test_store: FeatureStore,
    *,
    sources: Sequence[str],
    config: FewShotConfig | None = None,
    engine: Engine | None = None,
) -> pd.DataFrame:
    """One row per source and number of shots; the stores are read on `engine` if there is one.

    Returns
    -------
    pandas.DataFrame
        ``source``, ``shots``, ``test_accuracy`` (mean over draws), ``low``, ``high`` (Student's
        interval of that mean: what another set of draws would give, for these test images),
        ``ratio`` (chosen r), ``repeats``. Attribute ``draws``: shots to source to resamples of
        the accuracy, paired between sources; both draws and test images are resampled, so they
        spread more than the interval, which holds the test images fixed.

    Raises
    ------
    InputError
        What :func:`analyses.probe.compute` refuses; a class with fewer images than shots, or no
        training image left to choose the penalty on.
    """
    config = config or FewShotConfig()
    refuse_shared_images(train_store, test_store)
    train, test = (
        pool(s, sources, config.pooling, engine=engine) for s in (train_store, test_store)
    )
    split = match_labels(train_store, test_store, train.rows, test.rows)
    _check_counts(split.train, split.names, max(config.shots))
    records: list[dict] = []
    resampled: dict[int, dict[str, list[float]]] = {shots: {} for shots in config.shots}
    tested = test.rows[split.test_rows]
    for source in each(sources, progress=config.progress, label="few-shot"):
        seen = train.features(source, config.merge).keep(split.train_rows).load()
        unseen = FeatureRows.of(test.features(source, config.merge).keep(split.test_rows).load())
        for shots in config.shots:
            drawn = draws(split.train, shots, config)
            scores = [
                _judged(seen, split.train, rows, held, (unseen, split.test)) for rows, held in drawn
            ]
            best = int(np.mean([held for held, _ in scores], axis=0).argmax())
            hits = np.stack([found[best] for _, found in scores], axis=1)
            records.append({"source": source, "shots": shots} | _summary(hits, best, config))
            resampled[shots][source] = _resampled(hits, tested, len(test_store), config)
    table = pd.DataFrame.from_records(records)
    table.attrs = {"config": asdict(config), "train": train_store.path, "test": test_store.path}
    table.attrs["draws"] = resampled
    return table


def draws(
    labels: np.ndarray, shots: int, config: FewShotConfig
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each draw: drawn rows, and undrawn rows that choose the penalty."""
    result = []
    for draw in range(config.repeats):
        rng = np.random.default_rng([config.seed, shots, draw])
        order = rng.permutation(len(labels))
        first = [order[labels[order] == c][:shots] for c in range(labels.max() + 1)]
        rows = np.concatenate(first)
        held = order[~np.isin(order, rows)][: config.validation]
        result.append((rows, held))
    return result


def ridge_heads(
    x: np.ndarray, labels: np.ndarray, ratios: Sequence[float]
) -> tuple[list[Head], np.ndarray]:
    """A head for every penalty, and the penalties.

    Parameters
    ----------
    x : float array, dims (n, channel)
    labels : int array, dims (n,)
        Every class 0 to max at least once.
    ratios : sequence of float
        Penalty over mean eigenvalue.

    Returns
    -------
    heads : list of Head
        Its logits are the scores.
    l2 : float64 array, dims (ratio,)
        As in scikit-learn's ``Ridge(alpha)``. All 0 if the rows are equal: scores are then the
        class frequencies.
    """
    mean = x.mean(0, dtype=np.float64)
    centred = x - mean
    onehot = np.eye(labels.max() + 1)[labels]
    frequency = onehot.mean(0)
    if len(x) <= x.shape[1]:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        targets, back = vectors.T @ (onehot - frequency), centred.T @ vectors
    else:
        values, back = np.linalg.eigh(centred.T @ centred)
        targets = back.T @ (centred.T @ (onehot - frequency))
    values = values.clip(0)
    l2 = np.asarray(ratios) * values.sum() / len(x)
    damped = values + l2[:, None]
    inverse = np.divide(1, damped, out=np.zeros_like(damped), where=damped > 0)
    weights = [back @ (row[:, None] * targets) for row in inverse]
    return [Head(weight, frequency - mean @ weight) for weight in weights], l2


def _judged(
    x: np.ndarray,
    labels: np.ndarray,
    rows: np.ndarray,
    held: np.ndarray,
    test: tuple[FeatureRows, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy on held-out training images, dims (ratio,); hits on test, dims (ratio, image)."""
    heads, _ = ridge_heads(x[rows], labels[rows], PENALTIES)
    # All penalties in one product: their features are converted once.
    side_by_side = Head(
        np.concatenate([head.weight for head in heads], axis=1),
        np.concatenate([head.bias for head in heads]),
    )

    def hits(queries: FeatureRows, truth: np.ndarray) -> np.ndarray:
        told = [
            scores.reshape(len(scores), len(heads), -1).argmax(2)
            for scores in side_by_side.logit_blocks(queries)
        ]
        return (np.concatenate(told) == truth[:, None]).T

    return hits(FeatureRows.of(x[held]), labels[held]).mean(1), hits(*test)


def _summary(hits: np.ndarray, best: int, config: FewShotConfig) -> dict[str, object]:
    """Mean accuracy and its interval from hits, dims (image, draw)."""
    test = hits.mean(0)
    half = student.ppf(0.5 + config.confidence / 2, config.repeats - 1) * test.std(ddof=1)
    half /= np.sqrt(config.repeats)
    mean = float(test.mean())
    return {
        "test_accuracy": mean,
        "low": float(mean - half),
        "high": float(mean + half),
        "ratio": PENALTIES[best],
        "repeats": config.repeats,
    }


def _resampled(
    hits: np.ndarray, rows: np.ndarray, images: int, config: FewShotConfig
) -> list[float]:
    """Mean accuracy of resampled draws on resampled test images."""
    found = mean_draws(hits, rows, images, resamples=config.resamples, seed=config.seed)
    chosen = np.random.default_rng([config.seed, 1]).integers(config.repeats, size=found.shape)
    return np.take_along_axis(found, chosen, 1).mean(1).tolist()


def _check_counts(labels: np.ndarray, names: list[str], shots: int) -> None:
    counts = np.bincount(labels)
    if counts.min() < shots:
        few = int(counts.argmin())
        raise InputError(
            f"class {names[few]!r} has {counts[few]} training images, fewer than {shots} shots; "
            "ask for fewer shots or extract more images"
        )
    if len(labels) <= shots * len(names):
        raise InputError(
            f"{shots} shots take all {len(labels)} training images and leave none to choose the "
            "penalty on; ask for fewer shots"
        )
