"""Evaluate a model during training: accuracy on held-out images, and signs of collapse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from analyses.similarity.dimensionality import effective_rank
from analyses.statistics.nearest_neighbours import normalise, search
from feature_store.errors import InputError, some
from workbench.datasets import Dataset
from workbench.multiscale import S2
from workbench.pretraining.backbone import Inputs
from workbench.pretraining.images import decoded

NEIGHBOURS = 10
BANK = 500
"""Largest number of training images among which nearest neighbours are searched."""
VALIDATION = 2000
"""Largest number of validation images behind the values of evaluation.csv."""
COLLAPSED_RANK = 1.5
"""Effective rank of the features below which they count as collapsed."""


@dataclass(frozen=True)
class EvaluationImages:
    """Decoded images and labels behind the values of evaluation.csv."""

    pixels: torch.Tensor
    """uint8, dims (image, row, col, 3): validation images."""
    labels: np.ndarray
    """int64, dims (image,): numbers of the training classes; -1 = unlabelled."""
    bank: torch.Tensor
    """uint8, dims (image, row, col, 3): training images among which neighbours are searched."""
    bank_labels: np.ndarray
    """As `labels`."""


def held_out(
    train: Dataset, val: Dataset, s2: S2, inputs: Inputs, *, classes: bool
) -> EvaluationImages:
    """Decode what the evaluations need, once.

    Parameters
    ----------
    s2 : S2
        Has the transform that makes the pixels.
    classes : bool
        Whether the validation images must have the classes of the training images.

    Raises
    ------
    InputError
        With `classes`: the validation images lack a class of the training images, have another
        class, or have no label.
    """
    labels = matched(train, val) if classes else own_labels(train, val)
    rows, bank = drawn(len(val), VALIDATION), train.rows(drawn(len(train), BANK))
    transform = s2.info.transform.at(inputs.side, inputs.side)
    return EvaluationImages(
        decoded(val.rows(rows), transform), labels[rows], decoded(bank, transform),
        bank.labels.astype(np.int64),
    )  # fmt: skip


def drawn(count: int, most: int) -> list[int]:
    """Rows of a random sample, in order; the same for the same numbers.

    Drawn and not evenly spaced: where classes alternate, a step that is a multiple of their number
    would find one class alone.

    >>> drawn(3, 4), len(set(drawn(10, 4)))
    ([0, 1, 2], 4)
    """
    rows = np.random.default_rng(0).permutation(count)[:most]
    return np.sort(rows).tolist()


def matched(train: Dataset, val: Dataset) -> np.ndarray:
    """Labels of the validation images as numbers of the training classes: int64, dims (image,).

    Raises
    ------
    InputError
        As :func:`held_out`.
    """
    if without := int((val.labels < 0).sum()):
        raise InputError(
            f"{without} of {len(val)} images of {val.name} have no label; --objective supervised "
            f"needs a label for each: name labelled images with --val"
        )
    used = {train.label_names[label] for label in np.unique(train.labels) if label >= 0}
    found = {val.label_names[label] for label in np.unique(val.labels)}
    if used != found:
        missing, strange = sorted(used - found), sorted(found - used)
        what = f"no image of {some(missing)}" if missing else f"images of {some(strange)}"
        where = "which the training images have" if missing else "which no training image has"
        raise InputError(
            f"{val.name} has {what}, {where}; expected the same {len(used)} classes in both: name "
            f"another --val, or another --limit"
        )
    return own_labels(train, val)


def own_labels(train: Dataset, val: Dataset) -> np.ndarray:
    """Labels of the validation images as numbers of the training classes; -1 where unknown."""
    number = {name: k for k, name in enumerate(train.label_names)}
    table = np.array([number.get(name, -1) for name in val.label_names] + [-1], np.int64)
    return table[val.labels]


@torch.inference_mode()
def pooled(s2: S2, inputs: Inputs, pixels: torch.Tensor, batch: int) -> torch.Tensor:
    """Mean token of each image at all scales: float32, dims (image, channel)."""
    device = next(s2.parameters()).device
    found = []
    for part in pixels.split(batch):
        base, raw = inputs(part.permute(0, 3, 1, 2), device)
        found.append(s2(base, raw).map.mean((1, 2)))
    return torch.cat(found)


def evaluated(
    s2: S2,
    inputs: Inputs,
    images: EvaluationImages,
    batch: int,
    head: Callable[[torch.Tensor], torch.Tensor] | None,
) -> dict[str, float]:
    """The values of a row of evaluation.csv.

    Returns
    -------
    dict of str to float
        ``val_accuracy`` and ``val_loss`` (nats) of the head, NaN without one; ``knn_accuracy`` by
        the vote of the nearest training images; ``effective_rank`` of the validation features.

    Raises
    ------
    InputError
        Features are not finite.
    """
    features = pooled(s2, inputs, images.pixels, batch)
    labels = torch.from_numpy(images.labels).to(features.device)
    found = {"val_accuracy": math.nan, "val_loss": math.nan}
    if head is not None:
        with torch.inference_mode():
            scores = head(features)
        found["val_accuracy"] = float((scores.argmax(1) == labels).float().mean())
        found["val_loss"] = float(torch.nn.functional.cross_entropy(scores, labels))
    values = features.cpu().numpy().astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError(
            "the features of the validation images are not finite; start again in another folder "
            "with a lower learning rate or a smaller clip"
        )
    bank = pooled(s2, inputs, images.bank, batch).cpu().numpy()
    return found | {
        "knn_accuracy": knn_accuracy(bank, images.bank_labels, values, images.labels),
        "effective_rank": (
            effective_rank(np.linalg.eigvalsh(np.cov(values.T))) if len(values) > 1 else math.nan
        ),
    }


def low_rank(rank: float) -> str:
    """A sentence about features that have collapsed to one dimension; empty if they have not."""
    return f"the effective rank of the features is {rank:.2f}" if rank < COLLAPSED_RANK else ""


def knn_accuracy(
    bank: np.ndarray, bank_labels: np.ndarray, features: np.ndarray, labels: np.ndarray
) -> float:
    """Share of labelled images that the vote of their nearest labelled neighbours classifies
    correctly; NaN without labels."""
    known, asked = bank_labels >= 0, labels >= 0
    if not known.any() or not asked.any():
        return math.nan
    mean = bank[known].mean(0)
    rows, queries = normalise(bank[known], mean), normalise(features[asked], mean)
    near = search(rows, queries, min(NEIGHBOURS, len(rows))).row
    votes = bank_labels[known][near]
    counts = (votes[:, :, None] == np.arange(bank_labels.max() + 1)).sum(1)
    return float((counts.argmax(1) == labels[asked]).mean())
