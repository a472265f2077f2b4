"""Few-shot accuracy: closed-form ridge regression to one-hot labels on a handful of images.

For a draw of n = shots * classes training images with centred features X (n, channel) and centred
one-hot labels Y (n, class), the n-by-n Gram matrix X X^T = U diag(s) U^T gives the scores of an
image z

    f(z) = mean(y) + (z - mean(x)) X^T U diag(1 / (s + penalty)) U^T Y,    penalty = ridge * mean(s)

with mean(s) = sum(s) / n. With more images than channels, the channel-by-channel X^T X gives the
same scores with less work. One eigendecomposition serves every ridge. The chosen ridge has the best
accuracy on training images that were not drawn, averaged over all draws of that many shots; it is
the same for every draw, so that no draw is favoured.

Source: SoViT, Table 3 (10-shot linear probes). The paper states neither the ridge nor its choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from analyses.configs import FewShotConfig
from analyses.linear.head import Head
from analyses.linear.ridge import solve_rows
from analyses.reading.engine import Engine
from analyses.reading.label_rule import LabelRule
from analyses.reading.labels import match_labels
from analyses.reading.pooled import FeatureRows, pool
from analyses.reading.progress import each
from analyses.reading.splits import held_out
from analyses.statistics.bootstrap import bootstrap_means
from feature_store import FeatureStore, InputError
from feature_store.source import names_of

RIDGES = tuple(10.0**e for e in range(-6, 4))
"""Ridges tried: penalties over the mean eigenvalue of the Gram matrix."""


def compute(
    train_store: FeatureStore,
    test_store: FeatureStore,
    *,
    sources: str | Sequence[str],
    config: FewShotConfig | None = None,
    engine: Engine | None = None,
) -> pd.DataFrame:
    """One row per source and number of shots; `engine`, if given, reads and pools the stores.

    Returns
    -------
    pandas.DataFrame
        ``source``, ``shots``, ``test_accuracy`` (mean over draws), ``low``, ``high`` (Student's
        interval of that mean: what another set of draws would give, for these test images),
        ``ridge`` (the chosen one), ``repeats``. Attribute ``resampled``: shots to source to
        resamples of the accuracy, paired between sources. Both draws and test images are resampled,
        so the resamples spread more than the interval, which holds the test images fixed. Attribute
        ``unseen_classes``: class that training lacks to its number of test images, all errors.
        Attribute ``label_rule``: as of :func:`analyses.probe.compute`.

    Raises
    ------
    InputError
        As :func:`analyses.probe.compute`; also a class with fewer images than shots, or no
        training image left to choose the ridge on.
    """
    config = config or FewShotConfig()
    sources = names_of(sources)
    images = held_out(train_store, test_store, keep_shared=config.keep_shared)
    train = pool(train_store, sources, config.pooling, engine=engine)
    test = pool(test_store, sources, config.pooling, left_out=images.left_out, engine=engine)
    split = match_labels(train_store, test_store, train.rows, test.rows, rules=True)
    _check_counts(split.train, split.names, max(config.shots))
    records: list[dict] = []
    resampled: dict[int, dict[str, list[float]]] = {shots: {} for shots in config.shots}
    tested = test.rows[split.test_rows]
    for source in each(sources, progress=config.progress, label="few-shot"):
        seen = train.features(source, config.merge).keep(split.train_rows).load()
        unseen = FeatureRows.of(test.features(source, config.merge).keep(split.test_rows).load())
        for shots in config.shots:
            accuracies, hits_of_draws = [], []
            for rows, validation in draws(split.train, shots, config):
                heads = ridge_heads(seen[rows], split.train[rows], RIDGES)
                undrawn = FeatureRows.of(seen[validation])
                accuracies.append(_hits(heads, undrawn, split.train[validation]).mean(1))
                hits_of_draws.append(_hits(heads, unseen, split.test, split.rule))
            best = int(np.mean(accuracies, axis=0).argmax())
            hits = np.stack([found[best] for found in hits_of_draws], axis=1)
            records.append({"source": source, "shots": shots} | _summary(hits, best, config))
            resampled[shots][source] = _resampled(hits, tested, len(test_store), config)
    table = pd.DataFrame.from_records(records)
    table.attrs = {"config": asdict(config), "train": train_store.path, "test": test_store.path}
    table.attrs |= {"resampled": resampled, "shared_images": images.report()}
    table.attrs |= {"unseen_classes": split.unseen, "label_rule": split.described}
    return table


def draws(
    labels: np.ndarray, shots: int, config: FewShotConfig
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each draw: the drawn rows, and the undrawn rows on which the ridge is chosen."""
    result = []
    for draw in range(config.repeats):
        rng = np.random.default_rng([config.seed, shots, draw])
        order = rng.permutation(len(labels))
        rows = np.concatenate([order[labels[order] == c][:shots] for c in range(labels.max() + 1)])
        undrawn = order[~np.isin(order, rows)]
        result.append((rows, undrawn[: config.validation]))
    return result


def ridge_heads(x: np.ndarray, labels: np.ndarray, ridges: Sequence[float]) -> list[Head]:
    """A head for every ridge; its logits are the scores f.

    If all rows are equal, the scores are the class frequencies.

    Parameters
    ----------
    x : float array, dims (n, channel)
    labels : int array, dims (n,)
        Every class 0 to max at least once.
    ridges : sequence of float
        Penalty over the mean eigenvalue of the Gram matrix.
    """
    n, channels = x.shape
    y = np.eye(labels.max() + 1)[labels]
    mean_x, mean_y = x.mean(0, dtype=np.float64), y.mean(0)
    # solve_rows takes penalties over sum(s) / channels, whatever n is.
    weights = solve_rows(x - mean_x, y - mean_y, np.asarray(ridges) * channels / n)
    return [Head(weight, mean_y - mean_x @ weight) for weight in weights]


def _hits(
    heads: Sequence[Head], rows: FeatureRows, labels: np.ndarray, rule: LabelRule | None = None
) -> np.ndarray:
    """Whether each head classifies each image correctly, dims (head, image)."""
    # All heads in one product: the features are converted once.
    side_by_side = Head(
        np.concatenate([head.weight for head in heads], axis=1),
        np.concatenate([head.bias for head in heads]),
    )
    done, hits = 0, []
    for scores in side_by_side.logit_blocks(rows):
        of_heads = scores.reshape(len(scores), len(heads), -1)
        of_rows = labels[done : done + len(scores)]
        done += len(scores)
        if rule is None:
            hits.append(of_heads.argmax(2) == of_rows[:, None])
        else:
            hits.append(rule.hits(of_heads, of_rows))
    return np.concatenate(hits).T


def _summary(hits: np.ndarray, best: int, config: FewShotConfig) -> dict[str, object]:
    """Mean accuracy and its interval from hits, dims (image, draw)."""
    test = hits.mean(0)
    half = stdtrit(config.repeats - 1, 0.5 + config.confidence / 2) * test.std(ddof=1)
    half /= np.sqrt(config.repeats)
    mean = float(test.mean())
    return {
        "test_accuracy": mean,
        "low": float(mean - half),
        "high": float(mean + half),
        "ridge": RIDGES[best],
        "repeats": config.repeats,
    }


def _resampled(
    hits: np.ndarray, rows: np.ndarray, images: int, config: FewShotConfig
) -> list[float]:
    """Mean accuracy of resampled draws on resampled test images."""
    means = bootstrap_means(hits, rows, images, resamples=config.resamples, seed=config.seed)
    chosen = np.random.default_rng([config.seed, 1]).integers(config.repeats, size=means.shape)
    return np.take_along_axis(means, chosen, 1).mean(1).tolist()


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
            "ridge on; ask for fewer shots"
        )
