"""Plan sweeps over vision-transformer shapes and scale one shape to a larger budget.

A *star sweep* varies one dimension at a time around a large centre. The other dimensions are then
not a bottleneck, and the exponent of each dimension can be fitted alone; the cost of the sweep
grows linearly with the number of dimensions. A *grid sweep* crosses a few small values of all
dimensions at one short budget and finds the small optimum x⁰ from which larger shapes are scaled.

Compute of a run is the forward pass of all its images, in GMACs: images × GMACs per image.

Source: "Getting ViT in Shape" sections 3 and 4.1, appendices B.2 (star) and B.3 (grid).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analyses.scaling_laws.architecture import ViTShape
from feature_store.errors import InputError

# Appendix B.2 and B.3; patch 14, 16 heads; 500K, 1M and 2M steps of 128 images for the star and
# 600M images for the grid.
STAR_CENTRE = ViTShape(width=1968, depth=40, mlp=6144)
STAR_GRIDS: dict[str, tuple[int, ...]] = {
    "width": (608, 768, 928, 1088, 1328, 1648),
    "depth": (8, 10, 12, 16, 20, 24),
    "mlp": (1088, 1360, 1728, 2160, 2592, 3072),
}
STAR_IMAGES = tuple(128 * steps for steps in (500_000, 1_000_000, 2_000_000))
GRID_BASE = ViTShape(width=608, depth=10, mlp=928)
GRID_VALUES: dict[str, tuple[int, ...]] = {
    "width": (416, 512, 608, 768),
    "depth": (6, 8, 10, 12),
    "mlp": (768, 928, 1088, 1360),
}
GRID_IMAGES = 600_000_000


def star_sweep(
    centre: ViTShape = STAR_CENTRE,
    grids: Mapping[str, Sequence[int]] = STAR_GRIDS,
    images: Sequence[int] = STAR_IMAGES,
) -> pd.DataFrame:
    """Runs of a star sweep: every leg value and the centre, at every budget.

    Returns
    -------
    pandas.DataFrame
        One row per run: `dimension` (`centre` for the centre itself), `value`, `width`, `depth`,
        `mlp`, `images`, `params`, `gmacs_per_image`, `compute` (GMACs of the run).

    Raises
    ------
    InputError
        Unknown dimension, or a leg value that is not below the centre's.
    """
    rows: list[tuple[str, float, ViTShape]] = []
    for dimension, values in grids.items():
        rows += [(dimension, v, centre.with_dimension(dimension, v)) for v in values]
        largest = getattr(centre, dimension)
        if max(values) >= largest:
            raise InputError(
                f"a star's legs must stay below its centre: {dimension} has {max(values)}, "
                f"the centre {largest}"
            )
    rows.append(("centre", np.nan, centre))
    return _runs(rows, images)


def grid_sweep(
    base: ViTShape = GRID_BASE,
    values: Mapping[str, Sequence[int]] = GRID_VALUES,
    images: Sequence[int] = (GRID_IMAGES,),
) -> pd.DataFrame:
    """Runs of a grid sweep, the cross product of `values`, with the columns of a star sweep.

    `dimension` is `grid` and `value` is NaN, because several dimensions change at once.
    """
    shapes = []
    for combination in itertools.product(*values.values()):
        shape = base
        for dimension, value in zip(values, combination, strict=True):
            shape = shape.with_dimension(dimension, value)
        shapes.append(("grid", np.nan, shape))
    return _runs(shapes, images)


def scale_shape(
    start: Mapping[str, float], tau: float, exponents: Mapping[str, float]
) -> dict[str, float]:
    """Shape for `tau` times the compute: x_k τ^(s_k / D), not rounded.

    The paper treats the increase by τ as D increases by τ^(1/D) in sequence, one per dimension;
    each dimension therefore receives τ^(s_k/D), not the τ^(s_k) of eq. (4). D is the number of
    dimensions in `start`.

    Raises
    ------
    InputError
        τ or an exponent that is not positive, or dimensions that do not match.

    Source: "Getting ViT in Shape" section 3, Scaling.
    """
    if set(start) != set(exponents):
        raise InputError(
            f"the start has dimensions {sorted(start)}, the exponents {sorted(exponents)}; give "
            "both the same"
        )
    if not (np.isfinite(tau) and tau > 0):
        raise InputError(f"tau must be positive and finite, got {tau}")
    if any(s <= 0 for s in exponents.values()):
        raise InputError(f"all exponents must be positive, got {dict(exponents)}")
    share = 1 / len(start)
    return {name: value * tau ** (exponents[name] * share) for name, value in start.items()}


def _runs(shapes: Sequence[tuple[str, float, ViTShape]], images: Sequence[int]) -> pd.DataFrame:
    if not images or min(images) < 1:
        raise InputError(f"budgets must be positive numbers of images, got {list(images)}")
    return pd.DataFrame(
        {
            "dimension": dimension,
            "value": value,
            "width": shape.width,
            "depth": shape.depth,
            "mlp": shape.mlp,
            "images": budget,
            "params": shape.params,
            "gmacs_per_image": shape.gmacs,
            "compute": shape.gmacs * budget,
        }
        for dimension, value, shape in shapes
        for budget in images
    )
