"""How alike are representations? CKA, CCA, SVCCA, PWCCA, Procrustes and mutual kNN in one pass.

All but the last are functions of the second moments of the joint tokens, so nothing is image by
image and memory depends on channels only. Samples are tokens (or, with ``unit="image"``, the mean
token of each image); mutual kNN and the intrinsic dimension look at mean tokens of images.

What leaves each measure unchanged, beside offset: CKA and Procrustes: rotation and one common scale
of either side; CCA and PWCCA's values: any invertible linear map; SVCCA: rotation and scale; mutual
kNN: rotation and scale, not offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import xarray as xr

from analyses.moments.second_moments import Moments
from analyses.reading.engine import Engine
from analyses.reading.features import Features, singles
from analyses.reading.grids import grids_of, pooling_note
from analyses.similarity.config import SimilarityConfig
from analyses.similarity.dimensionality import effective_rank, participation_ratio, two_nn
from analyses.similarity.hsic import FourthOrder, unbiased_hsic
from analyses.similarity.one_pass import one_pass
from analyses.statistics.gaussian import whitener
from analyses.statistics.nearest_neighbours import mutual_knn, neighbour_rows
from feature_store.errors import InputError

MEASURES = ("cka", "cka_debiased", "cca", "svcca", "pwcca", "procrustes", "mutual_knn")
"""Fields along (source, source_2); all but ``procrustes``, a distance, are 1 for equal sources."""
GEOMETRY = ("effective_rank", "participation_ratio", "intrinsic_dimension")
"""Fields along (source)."""


def compute(
    store: Features,
    *,
    sources: Sequence[str],
    config: SimilarityConfig | None = None,
    engine: Engine | None = None,
) -> xr.Dataset:
    """Compare all pairs of sources, and describe the geometry of each, in one pass.

    Parameters
    ----------
    store : FeatureStore or Stream
    sources : sequence of str
    config : SimilarityConfig, optional
    engine : Engine, optional
        Reads the partitions of the store; this process by default.

    Returns
    -------
    xarray.Dataset
        :data:`MEASURES` along (source, source_2) and :data:`GEOMETRY` along (source). ``pwcca`` is
        weighted by the source on the first axis; the rest are symmetric. NaN where a side has no
        variance. With ``unit="token"`` maps of different grids are averaged to the common one,
        as ``attrs["notes"]`` says.

    Raises
    ------
    InputError
        Sources not stored or incomplete, fewer images than neighbours asked for.
    """
    config = config or SimilarityConfig()
    names = [str(store.resolve(name)) for name in sources]
    if not names or len(set(names)) < len(names):
        raise InputError(f"sources are {', '.join(names) or 'none'}; name each one once")
    parts = {name: singles(store, name) for name in names}
    note = None
    if config.unit == "token":
        note = pooling_note(grids_of(store, dict.fromkeys(s for p in parts.values() for s in p)))
    sums = one_pass(store, parts, config, engine)
    moments, fourth, means = sums.moments, sums.fourth, sums.means
    made = {measure: np.full((len(names), len(names)), np.nan) for measure in MEASURES}
    near = {name: neighbour_rows(points, config.k) for name, points in means.items()}
    hsic = _Hsic(moments, fourth)
    sides = {name: Prepared.of(moments, [name], config.variance) for name in names}
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            pair = pair_measures(sides[a], sides[b], moments.comoment([a], [b]))
            pair["cka_debiased"] = hsic.cka(a, b)
            pair["mutual_knn"] = mutual_knn(near[a], near[b])
            for measure, value in pair.items():
                made[measure][i, j] = value
    result = xr.Dataset({m: (("source", "source_2"), v) for m, v in made.items()})
    spectra = [np.linalg.eigvalsh(sides[n].scatter) for n in names]
    result["effective_rank"] = ("source", [effective_rank(s) for s in spectra])
    result["participation_ratio"] = ("source", [participation_ratio(s) for s in spectra])
    result["intrinsic_dimension"] = ("source", [two_nn(means[n]) for n in names])
    result = result.assign_coords(source=names, source_2=names)
    result.attrs = {
        "samples": moments.count(),
        "neighbour_images": len(means[names[0]]),
        "config": asdict(config),
        "notes": [note] if note else [],
    }
    return result


@dataclass(frozen=True)
class Prepared:
    """A source to compare: its scatter (channel, channel) and two whitened bases.

    ``white`` spans all directions with variance, ``leading`` the principal components that SVCCA
    keeps: dims (channel, direction).
    """

    scatter: np.ndarray
    white: np.ndarray
    leading: np.ndarray

    @classmethod
    def of(cls, moments: Moments, names: Sequence[str], variance: float = 0.99) -> Prepared:
        """Prepare a source once for all of its pairs."""
        scatter = moments.comoment(names, names)
        return cls(scatter, whitener(moments, names), _leading(scatter, variance))


def pair_measures(a: Prepared, b: Prepared, cross: np.ndarray) -> dict[str, float]:
    """Measures of one pair that need nothing but second moments.

    Parameters
    ----------
    a, b : Prepared
    cross : ndarray of float64, dims (channel of a, channel of b)
        Scatter between them, S_ab below.

    Returns
    -------
    dict
        ``cka``: |S_ab|_F^2 / (|S_aa|_F |S_bb|_F), linear CKA (Kornblith et al. 2019).
        ``cca``: mean canonical correlation over the smaller side (Raghu et al. 2017).
        ``svcca``: the same within the leading principal components of both (ibid.).
        ``pwcca``: weighted by how much of a each canonical direction accounts for (Morcos et al.
        2018). ``procrustes``: 2 - 2 |S_ab|_* / (|A|_F |B|_F), the squared distance of the centred,
        unit-norm tokens after the best rotation, 0 to 2 (Ding et al. 2021). All NaN where a side
        has no variance.
    """
    power = np.trace(a.scatter) * np.trace(b.scatter)
    if power <= 0:
        return dict.fromkeys(("cka", "cca", "svcca", "pwcca", "procrustes"), float("nan"))
    left, rho, _ = np.linalg.svd(a.white.T @ cross @ b.white, full_matrices=False)
    rho = rho.clip(0, 1)
    weight = np.abs(a.scatter @ a.white @ left).sum(axis=0)
    inner = np.linalg.svd(a.leading.T @ cross @ b.leading, compute_uv=False).clip(0, 1)
    nuclear = np.linalg.svd(cross, compute_uv=False).sum()
    norms = np.linalg.norm(a.scatter) * np.linalg.norm(b.scatter)
    return {
        "cka": float((cross**2).sum() / norms),
        "cca": float(rho.mean()),
        "svcca": float(inner.mean()),
        "pwcca": float(weight @ rho / weight.sum()),
        "procrustes": float(max(2 - 2 * nuclear / np.sqrt(power), 0.0)),
    }


def _leading(scatter: np.ndarray, variance: float) -> np.ndarray:
    """Whitened principal directions that together hold the share of variance asked for."""
    values, vectors = np.linalg.eigh(scatter)
    values, vectors = values[::-1].clip(0), vectors[:, ::-1]
    if values.sum() == 0:
        return vectors[:, :0]
    share = np.cumsum(values) / values.sum()
    keep = int(np.searchsorted(share, variance * (1 - 1e-12))) + 1
    return vectors[:, :keep] / np.sqrt(values[:keep])


class _Hsic:
    """Debiased CKA of pairs from second moments and fourth-order sums."""

    def __init__(self, moments: Moments, fourth: FourthOrder) -> None:
        self.moments, self.names = moments, list(fourth.channels)
        self.quartic = fourth.about_mean(moments)

    def value(self, a: str, b: str) -> float:
        square = (self.moments.comoment([a], [b]) ** 2).sum()
        first, second = (float(self.moments.variance_sum([n]).sum()) for n in (a, b))
        quartic = self.quartic[self.names.index(a), self.names.index(b)]
        return unbiased_hsic(float(square), float(quartic), (first, second), self.moments.count())

    def cka(self, a: str, b: str) -> float:
        scale = self.value(a, a) * self.value(b, b)
        return self.value(a, b) / np.sqrt(scale) if scale > 0 else float("nan")
