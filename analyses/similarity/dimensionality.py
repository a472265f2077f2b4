"""Shape of one representation: how many directions it uses, and of what dimension images are."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

from feature_store.errors import InputError


def effective_rank(eigenvalues: np.ndarray) -> float:
    """exp of the entropy of the normalised singular values sqrt(eigenvalue): 1 to the channels.

    Unchanged by rotation, scale and offset. 0 for a representation without variance.

    >>> round(effective_rank(np.array([4.0, 4.0, 0.0])), 6)
    2.0

    Source: Roy and Vetterli 2007, The effective rank.
    """
    singular = np.sqrt(np.clip(eigenvalues, 0, None))
    if singular.sum() == 0:
        return 0.0
    share = singular / singular.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def participation_ratio(eigenvalues: np.ndarray) -> float:
    """(sum of eigenvalues)^2 / sum of their squares: 1 to the channels.

    Unchanged by rotation, scale and offset. 0 for a representation without variance.

    >>> participation_ratio(np.array([4.0, 4.0, 0.0]))
    2.0

    Source: Gao et al. 2017, A theory of multineuronal dimensionality.
    """
    values = np.clip(eigenvalues, 0, None)
    return float(values.sum() ** 2 / (values**2).sum()) if values.any() else 0.0


def two_nn(points: np.ndarray) -> float:
    """Intrinsic dimension of points, dims (image, channel), from the ratio of nearest distances.

    With mu = r2 / r1 over N points of locally even density, (N - 1) / sum ln mu is the unbiased
    maximum-likelihood estimate. Points that coincide with another (r1 = 0) are left out. Unchanged
    by rotation, scale and offset. NaN where fewer than two points are left, or all are equally far.

    Raises
    ------
    InputError
        Fewer than 3 points.

    Source: Facco et al. 2017, Estimating the intrinsic dimension of datasets by a minimal
    neighbourhood information; the unbiased form as in Denti et al. 2022.
    """
    if len(points) < 3:
        raise InputError(f"intrinsic dimension needs at least 3 images, found {len(points)}")
    centred = points - points.mean(axis=0, dtype=np.float64)  # far-off points would lose digits
    found = NearestNeighbors(n_neighbors=3, algorithm="brute").fit(centred).kneighbors(centred)[1]
    near = np.linalg.norm(centred[:, None] - centred[found], axis=2)  # exact for coinciding points
    near.sort(axis=1)
    first, second = near[:, 1], near[:, 2]
    apart = first > 0
    logs = np.log(second[apart].astype(float) / first[apart])
    if len(logs) < 2 or logs.sum() == 0:
        return float("nan")
    return float((len(logs) - 1) / logs.sum())
