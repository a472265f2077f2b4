"""Measures of a fitted map beyond the paper's bits: log-det information, canonical pairs, ranks.

All are computed from second moments. The paper assumes independent target channels of one variance;
here the joint Gaussian may be any.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analyses.linear.from_moments import Solution
from analyses.linear.ridge import NOISE
from analyses.moments.second_moments import Moments
from analyses.statistics.information import PERFECT, bits


def gaussian_bits(moments: Moments, x: Sequence[str], y: Sequence[str]) -> float:
    """Mutual information of jointly Gaussian x and y: -1/2 sum log2(1 - rho^2), bits per token.

    Symmetric, and unchanged by invertible linear maps of either side. Directions without variance
    contribute nothing. A direction that the other side determines contributes PERFECT / 2 bits.
    """
    if list(x) == list(y):
        return PERFECT / 2 * whitener(moments, x).shape[1]
    white_x, white_y = whitener(moments, x), whitener(moments, y)
    rho = np.linalg.svd(white_x.T @ moments.comoment(x, y) @ white_y, compute_uv=False)
    rho = np.clip(rho, 0.0, 1.0)  # of the canonical pairs
    return float(bits(1 - rho**2, 1.0).sum() / 2)


def whitener(moments: Moments, names: Sequence[str]) -> np.ndarray:
    """Directions B with B^T S B = I, S the scatter of the named sources: dims (channel, direction).

    Directions of the correlation matrix that cannot be told from rounding are left out.
    """
    scatter = moments.comoment(names, names)
    scale = np.sqrt(np.diagonal(scatter).clip(0))
    inverse = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0)
    values, vectors = np.linalg.eigh(scatter * inverse[:, None] * inverse)
    keep = values > NOISE[moments.attrs.get("precision", "float64")] * max(values[-1], 0)
    return inverse[:, None] * vectors[:, keep] / np.sqrt(values[keep])


def isotropy(moments: Moments, solution: Solution, target: Sequence[str]) -> dict[str, float]:
    """The paper's isotropic bits beside the Gaussian information of the same map.

    The paper's bits -log2(l / l0) assume that all target channels are independent with one
    variance, and that the errors are too. In general, with S_y the covariance of the target and S_e
    that of the errors, the information per channel in the same unit is
    (1/dy) log2(det S_y / det S_e).

    Returns
    -------
    dict
        ``isotropic`` (the paper's bits), ``channelwise`` (mean over channels of
        -log2(l_c / l0_c), exact for a diagonal S_y and S_e), ``full`` (log-det, over the directions
        in which the target varies; a direction without error counts as PERFECT bits).
    """
    x = solution.sources
    sxy, w = moments.comoment(x, target), solution.weights
    syy = moments.comoment(target, target)
    fitted = w.T @ sxy
    errors = syy - fitted - fitted.T + w.T @ moments.comoment(x, x) @ w
    white = whitener(moments, target)
    values = np.linalg.eigvalsh(white.T @ errors @ white)
    noise = NOISE[moments.attrs.get("precision", "float64")]
    varies = solution.variance > 0
    per_channel = bits(solution.residual[varies], solution.variance[varies])
    full = bits(np.where(values > noise, values, 0.0), 1.0).mean() if len(values) else 0.0
    return {
        "isotropic": float(bits(solution.residual.mean(), solution.variance.mean())),
        "channelwise": float(per_channel.mean()) if varies.any() else 0.0,
        "full": float(full + 0.0),
    }


def rank_curve(moments: Moments, solution: Solution, target: Sequence[str]) -> np.ndarray:
    """Bits of the best map of each rank: how many directions does the target need?

    Reduced-rank (ridge) regression: the fitted target is projected onto the leading eigenvectors of
    its own (penalised) covariance W^T Sxy, which is optimal on the training images at every rank.

    Returns
    -------
    ndarray of float64, dims (rank,)
        For ranks from 0 to the number of target channels.

    Source: Izenman 1975, Reduced-rank regression for the multivariate linear model; Mukherjee and
    Zhu 2011 for its ridge form.
    """
    x = solution.sources
    sxy = moments.comoment(x, target)
    fitted = solution.weights.T @ sxy
    basis = np.linalg.eigh((fitted + fitted.T) / 2)[1][:, ::-1]
    turned = solution.weights @ basis
    sxx = moments.comoment(x, x)
    gain = 2 * (turned * (sxy @ basis)).sum(0) - (turned * (sxx @ turned)).sum(0)
    null = moments.variance_sum(target).sum()
    return bits(np.maximum(null - np.r_[0.0, np.cumsum(gain)], 0.0), null)
