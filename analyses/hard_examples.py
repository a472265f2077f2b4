"""Hard examples: images on which the larger model loses less and S2 on the smaller does not.

For every labelled test image, with L the cross-entropy (nats) of a linear head on the source's
pooled features (heads of :mod:`analyses.probe`):

    drop = L_small - L_large          (what scaling the model gives)
    s2_drop = L_small - L_s2          (what scaling the image gives)

Ranked by ``drop`` among images with ``s2_drop <= margin``. Each is described by its nearest
training images in one source's features:

* rare: its mean cosine distance to the k nearest training images of its own class exceeds the
  given quantile of what training images of that class have among themselves;
* ambiguous: the head's second class is at least `ratio` times as likely as its first, or at least
  half of the k nearest training images have another label.

An image can be both or neither. Source: Shi et al. (2024), section 4.1 and Figure 7, where the two
kinds are told apart by eye.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from scipy.special import softmax

from analyses.configs import HardConfig
from analyses.linear.head import loss_and_hits
from analyses.probe import ProbeConfig, train_head
from analyses.reading.engine import Engine
from analyses.reading.labels import LabelledSplit, match_labels
from analyses.reading.pooled import Pooled, pool
from analyses.reading.progress import each
from analyses.reading.roles import Roles
from analyses.reading.splits import held_out
from analyses.statistics.bootstrap import wilson
from analyses.statistics.nearest_neighbours import class_distances, normalise, search
from feature_store import FeatureStore
from feature_store.source import names_of


def compute(
    train_store: FeatureStore,
    test_store: FeatureStore,
    *,
    sources: str | Sequence[str],
    config: HardConfig | None = None,
    engine: Engine | None = None,
) -> pd.DataFrame:
    """The hardest test images, one row each, hardest first.

    Parameters
    ----------
    train_store, test_store : FeatureStore
        Labelled; classes are matched by name.
    sources : str or sequence of str
        Any list with a small model at one scale, the same at several, and larger models at one
        scale, named from small to large (:class:`analyses.reading.roles.Roles`).
    engine : Engine, optional
        Pools the partitions of the stores; this process by default.

    Returns
    -------
    pandas.DataFrame
        ``row`` (of the test store), ``image_id``, ``label``; ``drop``, ``s2_drop`` and
        ``small_loss``, ``s2_loss``, ``large_loss`` (nats); ``small_top``, ``s2_top``,
        ``large_top`` (lists of (class, probability)); ``rare``, ``ambiguous`` (bool);
        ``distance`` and ``threshold`` (cosine distance to its class, and where rare begins);
        ``second`` (likelihood of the second class over the first), ``other_labels`` (share of
        neighbours with another label); ``easy`` (test rows), ``nearest`` (training rows),
        ``nearest_labels``; ``others`` (for each further source: name, loss, top classes). May have
        fewer rows than asked for. ``attrs["accuracy"]``: for every source its ``test_loss`` and
        ``test_accuracy`` with Wilson's interval ``low``, ``high``.

    Raises
    ------
    InputError
        No small, S2 or large among the sources; whatever the probe refuses.
    """
    config = config or HardConfig()
    sources = names_of(sources)
    roles = Roles.of(sources)
    images = held_out(train_store, test_store, keep_shared=config.probe.keep_shared)
    ranked = {"small": roles.small, "s2": roles.s2, "large": roles.large}
    pooling = config.probe.pooling
    train = pool(train_store, sources, pooling, engine=engine)
    test = pool(test_store, sources, pooling, left_out=images.left_out, engine=engine)
    split = match_labels(train_store, test_store, train.rows, test.rows)
    logits = {
        name: _test_logits(train, test, name, split, config.probe)
        for name in each(sources, progress=config.probe.progress, label="hard examples")
    }
    evaluated = {name: loss_and_hits(z, split.test) for name, z in logits.items()}
    loss = pd.DataFrame({name: losses for name, (losses, _) in evaluated.items()})
    drop, s2_drop = loss[roles.small] - loss[roles.large], loss[roles.small] - loss[roles.s2]
    # A class that training lacks has infinite loss everywhere: no head can be compared on it.
    eligible = (drop > 0) & (s2_drop <= config.margin) & np.isfinite(loss).all(axis=1)
    hard = drop[eligible].sort_values(ascending=False).index[: config.count].to_numpy()
    top = {name: _top(z[hard], split.names, config) for name, z in logits.items()}
    table = pd.DataFrame(
        {
            "row": test.rows[split.test_rows][hard],
            "image_id": test_store.image_ids[test.rows[split.test_rows][hard]],
            "label": [split.names[c] for c in split.test[hard]],
            "drop": drop[hard].to_numpy(),
            "s2_drop": s2_drop[hard].to_numpy(),
            **{f"{role}_loss": loss[name][hard].to_numpy() for role, name in ranked.items()},
            **{f"{role}_top": top[name] for role, name in ranked.items()},
            "others": [
                [(name, float(loss[name][row]), top[name][n]) for name in roles.others]
                for n, row in enumerate(hard)
            ],
        }
    )
    easy = _easiest(loss.max(axis=1).to_numpy(), split.test, hard, config.easy)
    table["easy"] = [test.rows[split.test_rows][rows].tolist() for rows in easy]
    described = _describe(train, test, roles.large, split, hard, logits[roles.large][hard], config)
    table = pd.concat([table, described], axis=1)
    table.attrs = {
        "config": asdict(config),
        "sources": ranked,
        "shared_images": images.report(),
        "eligible": int(eligible.sum()),
        "unseen_classes": split.unseen,
        "accuracy": [{"source": name} | _accuracy(*evaluated[name]) for name in sources],
    }
    return table


def _accuracy(loss: np.ndarray, hits: np.ndarray) -> dict[str, float]:
    low, high = wilson(int(hits.sum()), len(hits))
    accuracy = float(hits.mean())
    return {"test_loss": float(loss.mean()), "test_accuracy": accuracy, "low": low, "high": high}


def _test_logits(
    train: Pooled, test: Pooled, source: str, split: LabelledSplit, config: ProbeConfig
) -> np.ndarray:
    """Logits of the labelled test images under the source's head: dims (image, class)."""
    seen = train.features(source, config.merge).keep(split.train_rows)
    head, _ = train_head(seen, split.train, len(split.names), config)
    return head.logits(test.features(source, config.merge).keep(split.test_rows))


def _describe(
    train: Pooled,
    test: Pooled,
    source: str,
    split: LabelledSplit,
    hard: np.ndarray,
    logits: np.ndarray,
    config: HardConfig,
) -> pd.DataFrame:
    """Rare and ambiguous, by the nearest training images in the large source's features."""
    seen = train.features(source).keep(split.train_rows).load()
    mean = seen.mean(0)
    rows = normalise(seen, mean)
    queries = normalise(test.features(source).keep(split.test_rows).load()[hard], mean)
    store_rows = train.rows[split.train_rows]
    if not len(hard):
        columns = "rare ambiguous distance threshold second other_labels nearest nearest_labels"
        return pd.DataFrame(columns=columns.split())
    near = search(rows, queries, min(config.neighbours, len(rows)), device=config.device).row
    distance, threshold = class_distances(
        rows, split.train, queries, split.test[hard], neighbours=config.neighbours,
        quantile=config.rare_quantile, device=config.device,
    )  # fmt: skip
    probability = np.sort(softmax(logits, axis=1), axis=1)
    second = probability[:, -2] / probability[:, -1]
    others = (split.train[near] != split.test[hard][:, None]).mean(1)
    return pd.DataFrame(
        {
            "rare": distance > threshold,
            "ambiguous": (second >= config.ratio) | (others >= 0.5),
            "distance": distance,
            "threshold": threshold,
            "second": second,
            "other_labels": others,
            "nearest": store_rows[near].tolist(),
            "nearest_labels": [[split.names[c] for c in row] for row in split.train[near]],
        }
    )


def _easiest(
    loss: np.ndarray, labels: np.ndarray, hard: np.ndarray, count: int
) -> list[np.ndarray]:
    """For each hard image the images of its class with the smallest worst loss."""
    order = np.argsort(loss, kind="stable")
    order = order[~np.isin(order, hard)]
    return [order[labels[order] == labels[n]][:count] for n in hard]


def _top(logits: np.ndarray, names: list[str], config: HardConfig) -> list[list[tuple[str, float]]]:
    probability = softmax(logits, axis=1)
    order = np.argsort(-probability, axis=1)[:, : config.predictions]
    return [
        [(names[c], float(p[c])) for c in best] for p, best in zip(probability, order, strict=True)
    ]
