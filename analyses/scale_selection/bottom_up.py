"""Bottom-up selection: ridge regression from a crop's base tokens to the gain of the crop."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from analyses.linear import from_moments
from analyses.moments.one_pass import moments_of
from analyses.moments.second_moments import Moments, MomentsConfig, fold_of
from analyses.reading.grids import TokenBatch
from analyses.scale_selection.layout import Layout
from analyses.scale_selection.policies import FittedPolicy, describe, thresholds_of

FOLDS = 5
"""Groups of training images for cross-validation of the ridge."""
RIDGES = tuple(10.0 ** np.arange(-4.0, 4.1, 0.5))
"""Ridges to try; gains are noisy, so the best ridges are large."""


@dataclass(frozen=True, eq=False)
class BottomUp:
    """The regression on all training images, and the regressions that leave out one fold."""

    offset: np.ndarray
    """float64, dims (crop,): mean gain of each crop."""
    whole: from_moments.Solution
    without: Mapping[int, from_moments.Solution] = field(default_factory=dict)
    """Fold to the solution on the other folds."""

    @classmethod
    def fit(
        cls, base: Iterable[tuple[np.ndarray, np.ndarray]], layout: Layout, gains: np.ndarray
    ) -> BottomUp:
        """Fit gains on base tokens.

        Parameters
        ----------
        base : iterable of (index, tokens)
            Row numbers, and float32 tokens, dims (image, row, col, channel).
        gains : float64 array, dims (image of the store, crop)
            Only these row numbers are read.
        """
        offset = gains[np.isfinite(gains).all(1)].mean(0)

        def batch(index: np.ndarray, tokens: np.ndarray) -> TokenBatch:
            x = describe(layout, tokens)[:, :, None]
            y = (gains[index] - offset).astype(np.float32)[:, :, None, None]
            return TokenBatch(index, {"x": x, "y": y})

        config = MomentsConfig(folds=FOLDS, targets=("y",))
        moments = moments_of(itertools.starmap(batch, base), ("x", "y"), config)
        assert moments is not None
        ridge = RIDGES[-1]
        if len(moments.folds) > 1:
            ridge = from_moments.cross_validate(moments, ["x"], ["y"], RIDGES).best
        without = {
            k: from_moments.solve(_of_folds(moments, k), ["x"], ["y"], ridge)
            for k in moments.folds
            if len(moments.folds) > 1
        }
        return cls(offset, from_moments.solve(moments, ["x"], ["y"], ridge), without)

    def keys(self, layout: Layout, base: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Predicted gains of images outside the training set: float64, dims (image, crop)."""
        return self.offset + _predict(self.whole, describe(layout, base))

    def held_out_keys(self, layout: Layout, base: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Predicted gains of training images, each from the fit on the other folds."""
        x, fold = describe(layout, base), fold_of(index, FOLDS)
        found = _predict(self.whole, x)
        for k, solution in self.without.items():
            found[fold == k] = _predict(solution, x[fold == k])
        return self.offset + found

    def policy(
        self, manifest: Mapping[str, Any], layout: Layout, target: str, train: np.ndarray
    ) -> FittedPolicy:
        """The policy for ``policy.json``.

        Parameters
        ----------
        manifest : mapping
            Manifest of the base tokens.
        train : float64 array, dims (image, crop)
            Keys of training images.
        """
        best = self.whole
        return FittedPolicy(
            model=layout.base.rpartition("@")[0],
            weights_sha256=manifest.get("weights_sha256", ""),
            layout=layout.describe(),
            target=target,
            offset=tuple((self.offset + best.mean_y - best.mean_x @ best.weights[:, 0]).tolist()),
            weights=tuple(best.weights[:, 0].tolist()),
            thresholds=thresholds_of(train),
        )


def _predict(solution: from_moments.Solution, x: np.ndarray) -> np.ndarray:
    return (x - solution.mean_x) @ solution.weights[:, 0] + solution.mean_y[0]


def _of_folds(moments: Moments, left_out: int) -> Moments:
    """The moments of all folds but one."""
    kept = [k for k in range(len(moments.tokens)) if k != left_out]
    return replace(
        moments, images=moments.images[kept], tokens=moments.tokens[kept],
        mean=moments.mean[kept], scatter=moments.scatter[kept],
    )  # fmt: skip
