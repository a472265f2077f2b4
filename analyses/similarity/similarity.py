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
from analyses.similarity import calibration
from analyses.similarity.config import SimilarityConfig
from analyses.similarity.dimensionality import effective_rank, participation_ratio, two_nn
from analyses.similarity.hsic import FourthOrder, unbiased_hsic
from analyses.similarity.one_pass import one_pass
from analyses.statistics.gaussian import whitener
from analyses.statistics.nearest_neighbours import mutual_knn, neighbour_rows
from feature_store.errors import InputError
from feature_store.source import names_of

MEASURES = ("cka", "cka_debiased", "cca", "svcca", "pwcca", "procrustes", "mutual_knn")
"""Fields along (source, source_2); all but ``procrustes``, a distance, are 1 for equal sources."""
NULLS = tuple(f"null_{measure}" for measure in calibration.MEASURES)
"""Fields along (source, source_2): what chance alone reaches, of :mod:`.calibration`."""
CALIBRATED = tuple(f"calibrated_{measure}" for measure in calibration.MEASURES)
"""Fields along (source, source_2): 0 for what chance explains, 1 for equal sources."""
LARGEST_BIAS = 0.05
"""CKA of unrelated sources above which a pair is warned of."""
GEOMETRY = ("effective_rank", "participation_ratio", "intrinsic_dimension")
"""Fields along (source)."""


def compute(
    store: Features,
    *,
    sources: str | Sequence[str],
    config: SimilarityConfig | None = None,
    engine: Engine | None = None,
) -> xr.Dataset:
    """Compare all pairs of sources, and describe the geometry of each, in one pass.

    Parameters
    ----------
    engine : Engine, optional
        Reads the partitions of the store; this process by default.

    Returns
    -------
    xarray.Dataset
        :data:`MEASURES`, :data:`NULLS` and :data:`CALIBRATED` along (source, source_2),
        :data:`GEOMETRY` along (source). ``pwcca`` is weighted by the source on the first axis; the
        rest are symmetric. NaN where a side has no variance, and thresholds on the diagonal.
        ``attrs``: samples, neighbour_images (behind mutual kNN and calibrated scores), warnings,
        and ``notes``: with ``unit="token"`` maps of different grids are averaged to the common one.

    Raises
    ------
    InputError
        Sources not stored or incomplete, fewer images than neighbours asked for.
    """
    config = config or SimilarityConfig()
    names = [str(store.resolve(name)) for name in names_of(sources)]
    if not names or len(set(names)) < len(names):
        raise InputError(f"sources are {', '.join(names) or 'none'}; name each one once")
    parts = {name: singles(store, name) for name in names}
    note = None
    if config.unit == "token":
        note = pooling_note(grids_of(store, dict.fromkeys(s for p in parts.values() for s in p)))
    sums = one_pass(store, parts, config, engine)
    moments, fourth, means = sums.moments, sums.fourth, sums.means
    size = (len(names), len(names))
    made = {field: np.full(size, np.nan) for field in (*MEASURES, *NULLS, *CALIBRATED)}
    near = {name: neighbour_rows(points, config.k) for name, points in means.items()}
    varying = [name for name in names if _varies(moments, name) and np.ptp(means[name], 0).any()]
    hsic = _Hsic(moments, fourth)
    sides = {name: Side.of(moments, [name], config.variance) for name in names}
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            if a not in varying or b not in varying:
                continue
            pair = pair_measures(sides[a], sides[b], moments.comoment([a], [b]))
            pair["cka_debiased"] = hsic.cka(a, b)
            pair["mutual_knn"] = mutual_knn(near[a], near[b])
            for measure, value in pair.items():
                made[measure][i, j] = value
    if config.permutations:
        points = {name: calibration.Points.of(means[name], near[name]) for name in varying}
        for field, values in _calibrated(points, names, config).items():
            made[field] = values
    result = xr.Dataset({m: (("source", "source_2"), v) for m, v in made.items()})
    spectra = [np.linalg.eigvalsh(sides[n].scatter) for n in names]
    result["effective_rank"] = ("source", [effective_rank(s) for s in spectra])
    result["participation_ratio"] = ("source", [participation_ratio(s) for s in spectra])
    result["intrinsic_dimension"] = ("source", [two_nn(means[n]) for n in names])
    result = result.assign_coords(source=names, source_2=names)
    result.attrs = {
        "samples": moments.count(),
        "neighbour_images": len(means[names[0]]),
        "warnings": _bias_warnings(moments, names),
        "config": asdict(config),
        "notes": [note] if note else [],
    }
    return result


def _varies(moments: Moments, name: str) -> bool:
    """Whether a source's variance is more than rounding of its mean leaves."""
    square = moments.count() * (moments.mean_of([name]) ** 2).sum()
    return bool(moments.variance_sum([name]).sum() > 1e-14 * square)


def _calibrated(
    points: dict[str, calibration.Points], names: Sequence[str], config: SimilarityConfig
) -> dict[str, np.ndarray]:
    """:data:`NULLS` and :data:`CALIBRATED`; a source beside itself has score 1 and no threshold."""
    made = {field: np.full((len(names), len(names)), np.nan) for field in (*NULLS, *CALIBRATED)}
    for i, a in enumerate(names):
        for j, b in enumerate(names[: i + 1]):
            if a not in points or b not in points:
                continue
            if i == j:
                found = dict.fromkeys(CALIBRATED, 1.0)
            else:
                found = calibration.calibrate(
                    points[a], points[b], permutations=config.permutations, seed=config.seed
                )
            for field, value in found.items():
                made[field][i, j] = made[field][j, i] = value
    return made


def _bias_warnings(moments: Moments, names: Sequence[str]) -> list[str]:
    """Pairs of which unrelated white data of the same size would have a large CKA.

    With n samples of d and e independent channels it is sqrt(d e / ((n + d) (n + e))).
    """
    n, found = moments.count(), []
    for i, a in enumerate(names):
        for b in names[:i]:
            d, e = (len(moments.variance_sum([name])) for name in (a, b))
            bias = np.sqrt(d * e / ((n + d) * (n + e)))
            if bias > LARGEST_BIAS:
                found.append(
                    f"{b}, {a}: with {n} samples of {e} and {d} channels the cka of unrelated data "
                    f"can be {bias:.2f}; read cka_debiased"
                )
    return found


@dataclass(frozen=True)
class Side:
    """A source to compare: its scatter (channel, channel) and two whitened bases.

    ``white`` spans all directions with variance, ``leading`` the principal components that SVCCA
    keeps: dims (channel, direction).
    """

    scatter: np.ndarray
    white: np.ndarray
    leading: np.ndarray

    @classmethod
    def of(cls, moments: Moments, names: Sequence[str], variance: float = 0.99) -> Side:
        """Prepare a source once for all of its pairs."""
        scatter = moments.comoment(names, names)
        return cls(scatter, whitener(moments, names), _leading(scatter, variance))


def pair_measures(a: Side, b: Side, cross: np.ndarray) -> dict[str, float]:
    """Measures of one pair that need nothing but second moments.

    Parameters
    ----------
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
        "cka": min(float((cross**2).sum() / norms), 1.0),
        "cca": min(float(rho.mean()), 1.0),
        "svcca": min(float(inner.mean()), 1.0),
        "pwcca": min(float(weight @ rho / weight.sum()), 1.0),
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
        return min(self.value(a, b) / np.sqrt(scale), 1.0) if scale > 0 else float("nan")
