"""Memorization: how well a head on frozen features tells every single image from all others.

Each image is its own class. The loss of instance i, seen in a view with feature x, is minimised for
a fixed budget of epochs:

    linear:  -log softmax(x W + b)[i]                        W (channel, instance)
    bank:    -log softmax(u . v_j / T)[i],  u = normalise(x P),  P (channel, 128), T = 0.07

where v_j is instance j's entry in a memory bank, the running mean of its embeddings (Wu et al.
2018, with the full softmax in place of its sampled approximation). The loss after the budget
measures capacity: a lower loss means that more images are told apart.

The softmax over n instances is computed in chunks of instances, twice: once for its normaliser,
once for the gradient. Memory is batch * chunk; no image-by-image matrix exists.

Source: Shi et al. (2024), section 4.3, Table 3, first column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
import torch

from analyses.configs import MemorizationConfig
from analyses.linear.instance import BankHead, InstanceHead, LinearHead
from analyses.reading.pooled import Pooled, pool
from analyses.reading.progress import each
from analyses.reading.splits import repeated_images
from feature_store import FeatureStore, InputError
from feature_store.source import names_of


def compute(
    views: Sequence[FeatureStore],
    *,
    sources: str | Sequence[str],
    held_out: FeatureStore | None = None,
    config: MemorizationConfig | None = None,
) -> pd.DataFrame:
    """One row per source: loss and accuracy of instance classification at the stated budget.

    Parameters
    ----------
    views : sequence of FeatureStore
        The same images (equal ids, in any order) in one or several augmented views. Labels are
        not used.
    held_out : FeatureStore, optional
        Another view of the same images, on which nothing is trained.

    Returns
    -------
    pandas.DataFrame
        ``source``, ``loss`` (nats per view, over all training views after the last epoch),
        ``accuracy``, ``held_out_accuracy`` (NaN without such a view), ``chance_loss``
        (log of the number of instances), ``instances``, ``views``, ``channels``, ``epochs``;
        ``loss_curve`` and ``accuracy_curve`` (mean over each epoch while training).

    Raises
    ------
    InputError
        No view or source, or stores with different images.
    """
    config = config or MemorizationConfig()
    stores = [*views, *([held_out] if held_out else [])]
    _check_views(views, stores)
    sources = names_of(sources)
    pooled = [pool(store, sources, config.pooling) for store in stores]
    chosen = _common_images(stores, pooled)
    if len(chosen[0]) < 2:
        raise InputError("fewer than two images are readable in every view; at least 2 are needed")
    records = []
    for source in each(sources, progress=config.progress, label="memorize"):
        arrays = [
            p.features(source, config.merge).load()[rows]
            for p, rows in zip(pooled, chosen, strict=True)
        ]
        arrays = _standardised(arrays, len(views))
        head, curves = train(np.stack(arrays[: len(views)]), config)
        records.append({"source": source} | _evaluate(head, arrays, len(views), config) | curves)
    table = pd.DataFrame.from_records(records)
    table.attrs = {"config": asdict(config), "views": [store.path for store in views]}
    table.attrs["shared_images"] = {"repeated": repeated_images(views[0])}
    return table


def train(x: np.ndarray, config: MemorizationConfig) -> tuple[InstanceHead, dict[str, list[float]]]:
    """Train a head to name the instance of every view: float32, dims (view, instance, channel).

    Beside it, ``loss_curve`` and ``accuracy_curve`` hold one number per epoch.
    """
    views, count, channels = x.shape
    rows = torch.from_numpy(x.reshape(-1, channels)).to(config.device)
    generator = torch.Generator().manual_seed(config.seed)
    kind = LinearHead if config.head == "linear" else BankHead
    head: InstanceHead = kind(count, channels, config.chunk, generator, config.device)
    steps = torch.optim.Adam(head.parameters, config.learning_rate)
    curves: dict[str, list[float]] = {"loss_curve": [], "accuracy_curve": []}
    for _ in range(config.epochs):
        order = torch.randperm(views * count, generator=generator).to(config.device)
        loss = hits = 0.0
        for part in order.split(config.batch):
            part_loss, part_hits = head.step(rows[part], part % count)
            steps.step()
            head.after_step(rows[part], part % count)
            loss += float(part_loss) * len(part)
            hits += float(part_hits)
        curves["loss_curve"].append(loss / len(order))
        curves["accuracy_curve"].append(hits / len(order))
    return head, curves


def _standardised(arrays: list[np.ndarray], views: int) -> list[np.ndarray]:
    """All arrays in units of the training views: mean 0, standard deviation 1 / sqrt(channels)."""
    seen = np.concatenate(arrays[:views])
    mean, spread = seen.mean(0, dtype=np.float64), seen.std(0, dtype=np.float64)
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
    scale /= np.sqrt(len(scale))
    return [((array - mean) * scale).astype(np.float32) for array in arrays]


def _evaluate(
    head: InstanceHead, arrays: list[np.ndarray], views: int, config: MemorizationConfig
) -> dict[str, object]:
    scores = [head.evaluate(torch.from_numpy(a).to(config.device), config.batch) for a in arrays]
    seen = np.array(scores[:views])
    return {
        "loss": float(seen[:, 0].mean()),
        "accuracy": float(seen[:, 1].mean()),
        "held_out_accuracy": scores[views][1] if len(arrays) > views else float("nan"),
        "chance_loss": float(np.log(len(arrays[0]))),
        "instances": len(arrays[0]),
        "views": views,
        "channels": arrays[0].shape[1],
        "epochs": config.epochs,
    }


def same_images(one: FeatureStore, other: FeatureStore) -> bool:
    """Whether two stores hold equal image ids; a store that grew holds them in its own order."""
    return np.array_equal(np.sort(one.image_ids), np.sort(other.image_ids))


def _common_images(stores: Sequence[FeatureStore], pooled: Sequence[Pooled]) -> list[np.ndarray]:
    """Pooled rows of the images that are readable in all stores, in one order, for each store."""
    place = {image_id: n for n, image_id in enumerate(stores[0].image_ids)}
    places = [
        np.array([place[i] for i in store.image_ids[p.rows]], dtype=np.int64)
        for store, p in zip(stores, pooled, strict=True)
    ]
    common = np.flatnonzero(np.bincount(np.concatenate(places)) == len(stores))
    orders = map(np.argsort, places)
    return [order[np.isin(row[order], common)] for row, order in zip(places, orders, strict=True)]


def _check_views(views: Sequence[FeatureStore], stores: Sequence[FeatureStore]) -> None:
    if not views:
        raise InputError("no store given; name at least one store of the images to memorize")
    for store in stores:
        if not same_images(store, views[0]):
            raise InputError(
                f"{store.path} does not hold the images of {views[0].path}; views are stores of "
                "one dataset: extract view:1:NAME, view:2:NAME, ..."
            )
