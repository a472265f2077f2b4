"""Linear probe: how well a linear head on frozen, pooled features tells the classes apart.

There are two recipes. ``converged``: standardised features, multinomial logistic head at the
minimum of mean cross-entropy + l2 / 2 * |W|^2, with l2 chosen on held-out training images.
``paper``: the recipe of Shi et al. (2024), appendix A: linear head, 30 epochs, learning rate 5e-4,
batches of 512, on the features as they are stored.

Source: Table 5 and Figure 2 (accuracy), Table 3 (training loss on classification) of "When Do We
Not Need Larger Vision Models?". The paper states neither the optimiser nor the pooling; both are
options here, by default Adam and the mean over all tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from analyses.configs import ProbeConfig
from analyses.linear.folds import FitsInTurn, FoldedFits
from analyses.linear.head import Head
from analyses.linear.logistic import LogisticProblem
from analyses.linear.sgd import fit_minibatch
from analyses.reading.engine import Engine
from analyses.reading.labels import LabelledSplit, match_labels
from analyses.reading.pooled import FeatureRows, pool
from analyses.reading.progress import each
from analyses.reading.splits import held_out
from analyses.statistics.bootstrap import bootstrap_means, wilson
from feature_store import FeatureStore, InputError
from feature_store.source import names_of

L2_GRID = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""Penalties tried, strongest first, in half-decade steps."""
COMPARISON_TOLERANCE = 1e-4
"""Gradient tolerance (nats) while penalties are compared: held-out losses differ by far more."""


def compute(
    train_store: FeatureStore,
    test_store: FeatureStore,
    *,
    sources: str | Sequence[str],
    config: ProbeConfig | None = None,
    engine: Engine | None = None,
) -> pd.DataFrame:
    """One row per source: training loss, test accuracy and its interval.

    Parameters
    ----------
    train_store, test_store : FeatureStore
        Labelled; classes are matched by name. Unlabelled images, and images that failed in any of
        the sources, are left out of all sources.
    sources : str or sequence of str
        Such as ``["bundled:efficientnet_lite0@1x", "bundled:efficientnet_lite0@1x+2x"]``.
    config : ProbeConfig, optional
    engine : Engine, optional
        Reads and pools the stores; the heads are trained in this process.

    Returns
    -------
    pandas.DataFrame
        ``source``; ``train_loss`` (nats per image, without the penalty); ``train_accuracy``;
        ``test_loss`` (nats, infinite if a test class is absent from training); ``test_accuracy``
        with Wilson's interval ``low``, ``high``; ``l2`` (NaN for the paper's recipe);
        ``converged``; ``channels``; ``classes``; ``train_images``; ``test_images``. Attribute
        ``resampled``: source to bootstrap resamples of the test accuracy, paired between sources.
        Attribute ``unseen_classes``: class that training lacks to its number of test images.
        Attribute ``label_rule``: how an ``imagenet:`` test set is scored
        (:mod:`analyses.reading.label_rule`); None for others.

    Raises
    ------
    InputError
        No labels, one class only, no test image with a label, or images shared by both stores.
    """
    config = config or ProbeConfig()
    sources = names_of(sources)
    if not sources:
        raise InputError("no source given; name at least one, such as MODEL@1x")
    images = held_out(train_store, test_store, keep_shared=config.keep_shared)
    train = pool(train_store, sources, config.pooling, engine=engine)
    test = pool(test_store, sources, config.pooling, left_out=images.left_out, engine=engine)
    split = match_labels(train_store, test_store, train.rows, test.rows, rules=True)
    records, resampled = [], {}
    tested = test.rows[split.test_rows]
    for source in each(sources, progress=config.progress, label="probe"):
        seen = train.features(source, config.merge).keep(split.train_rows)
        unseen = test.features(source, config.merge).keep(split.test_rows)
        if seen.shape[1] != unseen.shape[1]:
            raise InputError(
                f"{source} has {seen.shape[1]} channels in {train_store.path} and "
                f"{unseen.shape[1]} in {test_store.path}; extract both with the same model and tap"
            )
        head, l2 = train_head(seen, split.train, len(split.names), config)
        record, hits = _evaluate(head, l2, seen, unseen, split, config)
        records.append({"source": source} | record)
        resampled[source] = bootstrap_means(
            hits[:, None], tested, len(test_store), resamples=config.resamples, seed=config.seed
        )[:, 0].tolist()
    table = pd.DataFrame.from_records(records)
    table.attrs = {"config": asdict(config), "train": train_store.path, "test": test_store.path}
    table.attrs |= {"resampled": resampled, "shared_images": images.report()}
    table.attrs |= {"unseen_classes": split.unseen, "label_rule": split.described}
    return table


def train_head(
    rows: FeatureRows, labels: np.ndarray, classes: int, config: ProbeConfig
) -> tuple[Head, float]:
    """The head of the configured recipe, and its penalty (NaN if it has none).

    Parameters
    ----------
    rows : FeatureRows
        Dims (image, channel).
    labels : int array, dims (image,)
        0 to classes - 1, each of them at least once.
    classes : int
    config : ProbeConfig
    """
    if config.recipe == "paper":
        return fit_minibatch(rows, labels, classes, config.minibatch, config.seed), float("nan")
    problem = LogisticProblem(rows, labels, classes, config.head)
    if config.l2 is not None:
        return problem.fit(l2=config.l2), config.l2
    l2 = choose_l2(problem, stratified_folds(labels, config.folds, config.seed))
    return problem.fit(l2=l2), l2


def choose_l2(
    problem: LogisticProblem, folds: np.ndarray, trying: Callable[[float], object] = lambda l2: None
) -> float:
    """The penalty with the smallest mean held-out cross-entropy.

    Penalties are tried from strong to weak, each fit starting at the previous solution, until the
    held-out loss has risen twice in a row: weak penalties cost the most passes. Cross-entropy
    decides rather than accuracy, because it changes smoothly with the penalty.

    Parameters
    ----------
    problem : LogisticProblem
    folds : int array, dims (image,)
        Fold in which the image is held out, -1 = never.
    trying : callable
        Called with each penalty before it is tried.
    """
    held_out_loss = (FoldedFits if problem.in_memory else FitsInTurn)(problem, folds).held_out_loss
    best, worse, chosen = np.inf, 0, L2_GRID[0]
    for l2 in L2_GRID:
        trying(l2)
        total = held_out_loss(l2, COMPARISON_TOLERANCE)
        worse = worse + 1 if total >= best else 0
        if total < best:
            best, chosen = total, l2
        if worse == 2:
            break
    return chosen


def stratified_folds(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Fold of each image, dims (image,): each class is dealt out evenly in a seeded order.

    The only image of a class gets -1 (never held out): without it, its class would be unknown.

    Raises
    ------
    InputError
        No class has two images.
    """
    rng = np.random.default_rng(seed)
    assigned = np.full(len(labels), -1)
    dealt = 0  # start where the previous class stopped, so that small classes fill all folds
    for members in (np.flatnonzero(labels == c) for c in np.unique(labels)):
        if len(members) > 1:
            assigned[rng.permutation(members)] = (dealt + np.arange(len(members))) % folds
            dealt += len(members)
    if dealt == 0:
        raise InputError("no class has two training images to choose the penalty on; give l2")
    # Few images leave some folds empty: number the others consecutively.
    used = np.unique(assigned[assigned >= 0])
    return np.where(assigned < 0, -1, np.searchsorted(used, assigned))


def _evaluate(
    head: Head,
    l2: float,
    seen: FeatureRows,
    unseen: FeatureRows,
    split: LabelledSplit,
    config: ProbeConfig,
) -> tuple[dict[str, object], np.ndarray]:
    """A row of the table, and whether each test image was classified correctly."""
    train_loss, train_hits = head.evaluate(seen, split.train)
    test_loss, test_hits = head.evaluate(unseen, split.test, split.score)
    low, high = wilson(int(test_hits.sum()), len(test_hits), config.confidence)
    record: dict[str, object] = {
        "train_loss": float(train_loss.mean()),
        "train_accuracy": float(train_hits.mean()),
        "test_loss": float(test_loss.mean()),
        "test_accuracy": float(test_hits.mean()),
        "low": low,
        "high": high,
        "l2": l2,
        "converged": head.converged,
        "channels": seen.shape[1],
        "classes": len(split.names),
        "train_images": len(split.train),
        "test_images": len(split.test),
    }
    return record, test_hits
