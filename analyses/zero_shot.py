"""Zero-shot classification: an image has the class whose text lies nearest to it.

    class(i) = argmax_c  sum_s  v_is / |v_is| . t_c

with v_is the image's vector at scale s in the space that images and texts share, and t_c the unit
vector of class c: the mean of the unit vectors of its prompts. Nothing is trained.

Source: Radford et al. (2021), arXiv 2103.00020, section 3.1; SoViT, Table 4. Summing over scales is
this project's: scales side by side against the text repeated give the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analyses.reading.engine import Engine
from analyses.reading.features import singles
from analyses.reading.label_rule import compared_names, described, label_rule
from analyses.reading.pooled import pool
from analyses.statistics.bootstrap import bootstrap_means, wilson
from feature_store import FeatureStore, InputError
from feature_store.source import names_of


@dataclass(frozen=True, kw_only=True)
class ZeroShotConfig:
    """How accuracy is reported."""

    confidence: float = 0.95
    """Coverage of the intervals."""
    resamples: int = 1000
    """Image-bootstrap resamples behind the differences of sources."""
    seed: int = 0
    """Seed of the resamples."""


def compute(
    store: FeatureStore,
    *,
    sources: str | Sequence[str],
    classes: Mapping[str, np.ndarray],
    config: ZeroShotConfig | None = None,
    engine: Engine | None = None,
) -> pd.DataFrame:
    """One row per source.

    Parameters
    ----------
    sources : str or sequence of str
        Sources at a tap behind the projection to the shared space.
    classes : mapping of str to float array, dims (class, channel)
        For each source the vectors of the store's classes, in the order of
        :func:`analyses.reading.label_rule.compared_names`.
    engine : Engine, optional
        Reads and pools the store.

    Returns
    -------
    pandas.DataFrame
        ``source``, ``test_accuracy`` with Wilson's interval ``low``, ``high``; ``classes``,
        ``channels``, ``test_images``. Attribute ``resampled``: source to bootstrap resamples of the
        accuracy, paired between sources. Attribute ``label_rule``: as of
        :func:`analyses.probe.compute`.

    Raises
    ------
    InputError
        No label, or class vectors of another width than the source's.
    """
    config = config or ZeroShotConfig()
    records, resampled = [], {}
    names, said = compared_names(store), None
    rule = label_rule(store, names)
    for source in names_of(sources):
        vectors, rows = _vectors(store, source, engine)
        labels = store.labels[rows]
        if not (labels >= 0).any():
            raise InputError(f"{store.path} ({store.dataset}) has no labels; zero-shot needs them")
        texts = np.asarray(classes[source], np.float32)
        if texts.shape != (len(names), vectors.shape[1]):
            raise InputError(
                f"{source} has {vectors.shape[1]} channels and {store.path} has "
                f"{len(names)} classes; the texts are {texts.shape}"
            )
        known = labels >= 0
        scores, truth = vectors[known] @ texts.T, labels[known]
        right = scores.argmax(1) == truth if rule is None else rule.hits(scores, truth)
        hits, said = right.astype(np.float64), described(store, truth, len(names))
        low, high = wilson(int(hits.sum()), len(hits), config.confidence)
        records.append(
            {
                "source": source,
                "test_accuracy": float(hits.mean()),
                "low": low,
                "high": high,
                "classes": len(texts),
                "channels": vectors.shape[1],
                "test_images": len(hits),
            }
        )
        resampled[source] = bootstrap_means(
            hits[:, None], rows[known], len(store), resamples=config.resamples, seed=config.seed
        )[:, 0].tolist()
    table = pd.DataFrame.from_records(records)
    table.attrs |= {"resampled": resampled, "label_rule": said}
    return table


def _vectors(
    store: FeatureStore, source: str, engine: Engine | None
) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the unit vectors of all scales, dims (image, channel), and the store's rows."""
    names = singles(store, source)
    prefixed = all("prefix" in store.source(name).arrays for name in names)
    pooled = pool(store, source, "prefix" if prefixed else "mean", engine=engine)
    total = 0.0
    for name in names:
        vectors = pooled.features(name).load()
        total = total + vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray(total), pooled.rows
