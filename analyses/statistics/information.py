"""From losses to information, in bits.

Let l be the loss of the best linear map from a source to a target, and l0 that of the best
constant. If the target channels are independent with one common variance, and the errors too, the
source's information about the target is I = -log2(l / l0), up to a factor of half the number of
channels. Source: S2 paper, section 4.2 and appendix B. The paper prints "log"; its Table 2 follows
from base 2.
"""

from __future__ import annotations

import numpy as np

from analyses.statistics.bootstrap import bootstrap_sums

PERFECT = 50.0
"""Bits of a perfect reconstruction. A loss of 2^-50 of the null loss, four times the rounding of
float64, cannot be told from zero; it counts as this many bits, and so does every smaller one."""


def bits(loss: np.ndarray | float, null_loss: np.ndarray | float) -> np.ndarray:
    """Information I = -log2(loss / null_loss), elementwise, float64, at most :data:`PERFECT`.

    A target without variance (null_loss = 0) that is predicted exactly gives 0 bits. A loss above
    the null loss, which unseen images can have, gives negative bits.

    >>> bits([0.25, 0.0, 0.0], [1.0, 1.0, 0.0]).tolist()
    [2.0, 50.0, 0.0]
    """
    loss, null = np.broadcast_arrays(np.asarray(loss, float), np.asarray(null_loss, float))
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.minimum(-np.log2(loss / null) + 0.0, PERFECT)
    return np.where((loss == 0) & (null == 0), 0.0, information)


def bits_text(value: float, digits: int = 3) -> str:
    """Bits for a reader.

    >>> bits_text(1.23456), bits_text(PERFECT)
    ('1.235', 'perfect')
    """
    return "perfect" if value >= PERFECT else f"{value:.{digits}f}"


def ratio(information: np.ndarray | float, reference: float) -> np.ndarray:
    """I / I*, elementwise; NaN where the reference source carries no information (I* <= 0)."""
    information = np.asarray(information, float)
    return information / reference if reference > 0 else np.full(information.shape, np.nan)


def bootstrap(
    losses: np.ndarray, null_losses: np.ndarray, *, resamples: int, seed: int
) -> np.ndarray:
    """Information under resampling of whole images, because tokens of one image are dependent.

    Parameters
    ----------
    losses : ndarray, dims (source, image)
        Sum or mean of squared errors of each image.
    null_losses : ndarray, dims (image,)
        The same for the constant prediction.
    resamples, seed : int
        Number of resamples, and the seed that fixes them. Every source gets the same resamples, so
        differences and ratios of two rows are paired.

    Returns
    -------
    ndarray of float64, dims (source, resample)
        Bits. The linear map is fixed, so the spread is that of the test images.
    """
    images = losses.shape[1]
    both = np.vstack([losses, null_losses]).T
    sums = bootstrap_sums(both, np.arange(images), images, resamples=resamples, seed=seed).T
    return bits(sums[:-1], sums[-1])
