"""A linear softmax head, and its loss and hits on labelled rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from analyses.reading.label_rule import Score
from analyses.reading.pooled import FeatureRows


@dataclass(frozen=True)
class Head:
    """A trained head, in the units of the unstandardised features."""

    weight: np.ndarray
    """float64, dims (channel, class)."""
    bias: np.ndarray
    """float64, dims (class,)."""
    converged: bool = True
    """Whether the tolerance was reached."""
    passes: int = 0
    """Number of times that all rows were read."""

    def logits(self, rows: FeatureRows) -> np.ndarray:
        """float64, dims (image, class)."""
        return np.concatenate(list(self.logit_blocks(rows)))

    def logit_blocks(self, rows: FeatureRows) -> Iterator[np.ndarray]:
        """The logits of consecutive blocks of rows, float64, dims (image, class) each."""
        for block in rows.blocks():
            yield block @ self.weight + self.bias

    def evaluate(
        self, rows: FeatureRows, labels: np.ndarray, score: Score | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """:func:`loss_and_hits` of all rows, with the logits of one block in memory at a time.

        Another score may take its place; see :func:`loss_and_hits_of_blocks`.
        """
        return loss_and_hits_of_blocks(self.logit_blocks(rows), labels, score)


def loss_and_hits_of_blocks(
    blocks: Iterable[np.ndarray], labels: np.ndarray, score: Score | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`loss_and_hits`, or another score, of consecutive blocks of logits.

    Parameters
    ----------
    blocks : iterable of float array
        Dims (image, class) each.
    labels : int array, dims (image,)
    score : callable, optional
        Logits and labels to loss and hits, dims (image,) each.
    """
    done, losses, hits = 0, [], []
    score = score or loss_and_hits
    for logits in blocks:
        loss, hit = score(logits, labels[done : done + len(logits)])
        done += len(logits)
        losses.append(loss)
        hits.append(hit)
    return np.concatenate(losses), np.concatenate(hits)


def loss_and_hits(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per image: cross-entropy in nats, and whether the largest logit is the label's.

    Parameters
    ----------
    logits : float array, dims (image, class)
    labels : int array, dims (image,)
        -1 for a class that the head does not know: infinite loss, never a hit.
    """
    loss = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
    known = labels >= 0
    return np.where(known, loss, np.inf), known & (logits.argmax(1) == labels)
