"""Images as points in the plane: principal components at once, t-SNE and UMAP on request."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from feature_store import InputError

COMPONENTS = 50
"""Principal components that t-SNE and UMAP start from (van der Maaten and Hinton 2008: 30)."""


def methods() -> list[str]:
    """Methods of :func:`embed`: UMAP only if its package is installed."""
    return ["PCA", "t-SNE"] + (["UMAP"] if find_spec("umap") else [])


def embed(features: np.ndarray, method: str = "PCA") -> np.ndarray:
    """Two coordinates of each image: dims (image, channel) to (image, 2), float64.

    Seeded: the same features give the same points. Signs of components are those of
    :func:`sklearn.decomposition.PCA`; a coordinate without variance is 0.

    Raises
    ------
    InputError
        An unknown method, or one whose package is not installed.
    """
    if method not in methods():
        raise InputError(f"method is {method!r}; here there are {', '.join(methods())}")
    if len(features) < 2:
        return np.zeros((len(features), 2))
    from sklearn.decomposition import PCA

    kept = min(2 if method == "PCA" else COMPONENTS, *features.shape)
    solver = "covariance_eigh" if features.shape[0] > features.shape[1] else "full"
    scores = PCA(kept, svd_solver=solver).fit_transform(np.asarray(features, np.float64))
    if method == "PCA" or len(features) < 5:
        return np.pad(scores[:, :2], ((0, 0), (0, max(0, 2 - kept))))
    if method == "UMAP":
        from umap import UMAP

        return UMAP(random_state=0, n_neighbors=min(15, len(features) - 1)).fit_transform(scores)
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(scores)
