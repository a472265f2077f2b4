"""Further questions to the same moments: all pairs of sources, the scales of one source.

Nothing here touches tokens: training moments give the maps, and moments of any images (training or
test) evaluate them, in well under a second once the maps are solved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from analyses.linear.from_moments import Solution, errors_on
from analyses.moments.second_moments import Moments
from analyses.reconstruction.question import ReconstructionConfig
from analyses.reconstruction.reconstruction import fit
from analyses.reconstruction.scale_subsets import subsets, unique_and_shared
from analyses.statistics.gaussian import gaussian_bits
from analyses.statistics.information import bits
from feature_store.source import Source


def parts(source: str) -> list[str]:
    """Single-scale sources of a full source name, in channel order."""
    return [str(single) for single in Source.parse(source).singles()]


def information(moments: Moments, solution: Solution, target: Sequence[str]) -> float:
    """Bits that a fitted map holds about the target on the images of `moments`."""
    residual, null = errors_on(moments, solution, target)
    return float(bits(residual.mean(), null.mean()))


def pair_matrix(
    train: Moments,
    sources: Sequence[str],
    *,
    test: Moments | None = None,
    config: ReconstructionConfig | None = None,
) -> xr.Dataset:
    """Information of every source about every other, in both directions.

    Returns
    -------
    xarray.Dataset, dims (source, target)
        ``train_info_bits`` and, with test moments, ``test_info_bits``: directed, -log2(l / l0).
        ``gaussian_bits``:
        symmetric, mutual information of the joint Gaussian, -1/2 sum log2(1 - rho^2) over canonical
        correlations rho on the training images, in bits per token.
    """
    size = (len(sources), len(sources))
    made = {"train_info_bits": np.zeros(size)}
    if test is not None:
        made["test_info_bits"] = np.zeros(size)
    for i, source in enumerate(sources):
        for j, target in enumerate(sources):
            solution = fit(train, parts(source), parts(target), config)
            made["train_info_bits"][i, j] = bits(solution.residual.mean(), solution.variance.mean())
            if test is not None:
                made["test_info_bits"][i, j] = information(test, solution, parts(target))
    made["gaussian_bits"] = np.zeros(size)
    for i, a in enumerate(sources):
        for j, b in enumerate(sources[: i + 1]):
            both = gaussian_bits(train, parts(a), parts(b))
            made["gaussian_bits"][i, j] = made["gaussian_bits"][j, i] = both
    return xr.Dataset(
        {name: (("source", "target"), value) for name, value in made.items()},
        coords={"source": list(sources), "target": list(sources)},
    )


def scales(
    train: Moments,
    source: str,
    target: str,
    *,
    test: Moments | None = None,
    config: ReconstructionConfig | None = None,
) -> xr.Dataset:
    """Which scale of an S2 source carries the information about the target?

    Returns
    -------
    xarray.Dataset, dims (split, scale)
        ``alone`` and ``unique`` (split, scale), ``together`` and ``shared`` (split), in bits, as
        :func:`analyses.reconstruction.scale_subsets.unique_and_shared` defines them.
    """
    singles, goal = parts(source), parts(target)
    splits = {"train": train} if test is None else {"train": train, "test": test}
    maps = {subset: fit(train, subset, goal, config) for subset in subsets(singles)}
    tables = [
        unique_and_shared({s: information(m, w, goal) for s, w in maps.items()}, singles)
        for m in splits.values()
    ]
    dims = {"alone": ("split", "scale"), "unique": ("split", "scale")}
    return xr.Dataset(
        {
            name: (dims.get(name, ("split",)), np.array([table[name] for table in tables]))
            for name in ("alone", "unique", "together", "shared")
        },
        coords={"split": list(splits), "scale": list(Source.parse(source).scales)},
        attrs={"source": source, "target": target},
    )
