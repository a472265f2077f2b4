"""Options of a comparison; this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from feature_store.errors import InputError, require_at_least, require_choices

FEWEST_PERMUTATIONS = 19
"""With fewer no score of the null reaches the 0.95 quantile."""


@dataclass(frozen=True, kw_only=True)
class SimilarityConfig:
    """Which tokens or images are compared, and how many."""

    unit: Literal["token", "image"] = "token"
    """"token": every token is a sample; "image": the mean token of each image is."""
    k: int = 10
    """Neighbours for mutual kNN."""
    images: int = 5000
    """Images, chosen by a hash of the row number, for mutual kNN and intrinsic dimension."""
    variance: float = 0.99
    """Share of the variance that SVCCA keeps of either side."""
    precision: Literal["float32", "float64"] = "float32"
    """Type of the products of tokens; sums are always float64."""
    permutations: int = 39
    """Random orders of the images for calibrated scores: 0 for none, else at least 19."""
    seed: int = 0
    """Seed of the permutations."""
    device: str = "cpu"
    """Torch device of the products."""
    progress: bool = False
    """Show a progress bar on standard error."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_at_least(self, k=1, images=3)
        if not 0 < self.variance <= 1:
            raise InputError(f"variance is {self.variance}; expected more than 0 and at most 1")
        if self.permutations and self.permutations < FEWEST_PERMUTATIONS:
            raise InputError(
                f"permutations is {self.permutations}; expected 0 or at least {FEWEST_PERMUTATIONS}"
            )
