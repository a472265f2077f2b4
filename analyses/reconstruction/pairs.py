"""All pairs of sources from the same training moments; no token is read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from analyses.moments.second_moments import Moments
from analyses.reconstruction.question import ReconstructionConfig, ReconstructionQuestion
from analyses.reconstruction.reconstruction import fit
from analyses.statistics.gaussian import gaussian_bits
from analyses.statistics.information import bits
from feature_store.source import names_of


def pair_matrix(
    train: Moments, sources: str | Sequence[str], *, config: ReconstructionConfig | None = None
) -> xr.Dataset:
    """Information of every source about every other, in both directions.

    Returns
    -------
    xarray.Dataset, dims (source, target)
        ``train_info_bits``: directed, -log2(l / l0). ``gaussian_bits``: symmetric, mutual
        information of the joint Gaussian, -1/2 sum log2(1 - rho^2) over canonical correlations rho,
        in bits per token. Both on the training images.
    """
    sources = names_of(sources)
    parts = [ReconstructionQuestion.parts(source) for source in sources]
    directed, symmetric = np.zeros((2, len(sources), len(sources)))
    for i, a in enumerate(parts):
        for j, b in enumerate(parts):
            solution = fit(train, a, b, config)
            directed[i, j] = bits(solution.residual.mean(), solution.variance.mean())
            if j <= i:
                symmetric[i, j] = symmetric[j, i] = gaussian_bits(train, a, b)
    made = {"train_info_bits": directed, "gaussian_bits": symmetric}
    return xr.Dataset(
        {name: (("source", "target"), value) for name, value in made.items()},
        coords={"source": list(sources), "target": list(sources)},
    )
