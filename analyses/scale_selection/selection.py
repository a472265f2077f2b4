"""Which crops are needed? The metric against the share of crops that is run, by policy.

A larger scale costs one forward pass for each of its crops, and not every crop helps. A policy
chooses crops of each image within a budget, which is a mean over the dataset; skipped crops are
filled with base tokens (:mod:`~analyses.scale_selection.layout`). For each policy and budget a
linear predictor is fitted on training maps that the same policy filled at the same budget, because
a predictor fitted on full maps does not transfer to filled maps.

The gain of a crop (:mod:`~analyses.scale_selection.gains`) is measured on images outside the
training set of the predictor, which was fitted on maps with a random half of the crops. The oracle
adds crops greedily by the true loss, also on test images: it is an upper reference, not a policy
that could be run. Bottom-up predicts the gain of a crop from its base tokens by ridge regression.

Source: the open question of Shi et al. (2024), section 6; PS3 (arXiv 2503.19903) trains a selector.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pandas as pd

from analyses.moments.second_moments import fold_of
from analyses.reading.progress import shown
from analyses.reading.splits import held_out
from analyses.scale_selection.bottom_up import BottomUp
from analyses.scale_selection.config import SIMPLE, SelectionConfig
from analyses.scale_selection.layout import Layout
from analyses.scale_selection.policies import FittedPolicy, simple_keys, top_down_keys
from analyses.scale_selection.study import Keys, Study, chosen_by
from analyses.scale_selection.table import table_of
from analyses.scale_selection.task import Task
from feature_store import FeatureStore, InputError

HALF = 0.5
"""Share of random crops in the maps on which the predictors for the gains are fitted."""


def compute(
    train_store: FeatureStore,
    test_store: FeatureStore,
    *,
    layout: Layout,
    task: Task,
    config: SelectionConfig | None = None,
    queries: np.ndarray | None = None,
) -> pd.DataFrame:
    """One row for each policy and budget.

    Parameters
    ----------
    train_store, test_store : FeatureStore
        Stores with the scales of the layout.
    task : Task
        :class:`ReconstructTask`, :class:`ProbeTask` or :class:`DenseTask`.
    queries : float array, dims (query, channel), optional
        Embeddings for the policy ``top-down``.

    Returns
    -------
    pandas.DataFrame
        ``policy``, ``budget``, ``crops_per_image`` (of the larger scales), ``metric``,
        ``metric_name``, ``low``, ``high``, ``share_of_full_gain`` (0 at budget 0, 1 with all
        crops); ``over_random``, ``over_random_low``, ``over_random_high`` (difference from the
        random policy at the same budget, paired over images; NaN if it was not asked for);
        ``penalty``, ``train_images``, ``test_images``. Attributes: ``keys`` and ``gains`` (policy
        to test keys, and test gains, dims (image, crop)), ``rows`` (of the test store), ``fitted``
        (:class:`FittedPolicy` of bottom-up), ``kept`` (policy to the budget that keeps 95 % of the
        gain), ``resampled`` ((policy, budget) to resamples), ``shared_images``.

    Raises
    ------
    InputError
        Stores or policies do not fit, or ``top-down`` lacks embeddings.
    """
    config = config or SelectionConfig()
    if "top-down" in config.policies and queries is None:
        raise InputError("the policy top-down needs embeddings of classes or texts; found none")
    images = held_out(train_store, test_store, keep_shared=config.keep_shared)
    study = Study((train_store, test_store), layout, task, config, images.left_out)
    with shown("select", total=study.steps, unit="fit", wanted=config.progress) as bar:
        study.done = bar.update
        keys, fitted, gains = _keys(study, queries)
        first = sorted(config.policies, key=lambda name: name != "random")  # sets the penalties
        points = {
            (policy, budget): study.point(keys[policy], budget)
            for policy in first
            for budget in sorted({0.0, *config.budgets, 1.0})
        }
    table = table_of(points, task.metric_name, config)
    rows = np.flatnonzero(study.rows[1])
    table.attrs |= {
        "config": asdict(config), "train": train_store.path, "test": test_store.path,
        "shared_images": images.report(), "fitted": fitted, "rows": rows,
        "keys": {policy: found[1][rows] for policy, found in keys.items()},
        "gains": None if gains is None else gains[rows],
    }  # fmt: skip
    return table


def _keys(
    study: Study, queries: np.ndarray | None
) -> tuple[dict[str, Keys], FittedPolicy | None, np.ndarray | None]:
    """Keys of every policy; the fitted policy; the gains of test images, if they were measured."""
    policies, fitted, gains = study.config.policies, None, None
    found = {name: _scored(study, name, queries) for name in policies if _from_tokens(name)}
    if {"oracle", "bottom-up"} & set(policies):
        (of_train, oracle_train), (gains, oracle_test) = _measured(study)
        found["oracle"] = (oracle_train, oracle_test)
        if "bottom-up" in policies:
            regression = BottomUp.fit(_base(study, 0), study.layout, of_train)
            keys = tuple(np.full(one.shape, -np.inf) for one in (of_train, gains))
            for side, predict in enumerate((regression.held_out_keys, regression.keys)):
                for index, base in _base(study, side):
                    keys[side][index] = predict(study.layout, base, index)
            found["bottom-up"] = (keys[0], keys[1])
            manifest = study.stores[0].source(study.layout.base).manifest
            train = keys[0][study.rows[0]]
            fitted = regression.policy(manifest, study.layout, study.task.name, train)
    return found, fitted, gains


def _from_tokens(policy: str) -> bool:
    return policy in SIMPLE or policy == "top-down"


def _scored(study: Study, policy: str, queries: np.ndarray | None) -> Keys:
    """Keys of a policy that needs nothing but base tokens."""
    sides = []
    for side, store in enumerate(study.stores):
        keys = np.full((len(store), study.layout.count), -np.inf)
        for index, base in _base(study, side):
            if policy == "top-down":
                assert queries is not None
                keys[index] = top_down_keys(study.layout, base, queries)
            else:
                ids = store.image_ids[index].tolist()
                keys[index] = simple_keys(policy, study.layout, base, ids, study.config.seed)
        sides.append(keys)
    return sides[0], sides[1]


def _base(study: Study, side: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row numbers and base tokens."""
    rows = study.rows[side]
    for batch in study.stores[side].stream([study.layout.base]):
        part = np.flatnonzero(rows[batch.index])
        if len(part):
            yield batch.index[part], np.asarray(batch.tokens[study.layout.base][part], np.float32)


def _measured(study: Study) -> tuple[Keys, Keys]:
    """(gains, oracle keys) of training images, each by a predictor fitted on other images; and of
    test images."""
    half = chosen_by(_scored(study, "random", None)[0], study.rows[0], HALF)
    crops = study.layout.count
    arrays = [[np.full((len(s), crops), -np.inf) for _ in range(2)] for s in study.stores]
    fold = fold_of(np.arange(len(study.stores[0])), study.config.folds)
    head, _ = study.fit(half, HALF)
    study.gains(1, head, study.rows[1], arrays[1])
    for k in range(study.config.folds):
        mine = study.rows[0] & (fold == k)
        if mine.any():
            head, _ = study.fit(half, HALF, study.rows[0] & (fold != k))
            study.gains(0, head, mine, arrays[0])
    return tuple(arrays[0]), tuple(arrays[1])  # type: ignore[return-value]
