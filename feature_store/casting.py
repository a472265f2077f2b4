"""Statistics of the cast to the stored dtype: largest value, squares, rounding error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_store.protocol import CommitRecord


@dataclass
class CastStatistics:
    """Sums over the good rows of a shard, for its commit record."""

    max_abs: float = 0.0
    """Largest absolute value before the cast; NaN if any value is NaN."""
    square_sum: float = 0.0
    """Sum of squares before the cast."""
    square_error: float = 0.0
    """Sum of squared differences between the values before and after the cast."""

    @classmethod
    def after(cls, before: CommitRecord | None) -> CastStatistics:
        """Start from the sums in an earlier record of the same shard."""
        if before is None:
            return cls()
        return cls(before.max_abs, before.square_sum, before.square_error)

    def merge(self, other: CastStatistics) -> None:
        """Add the statistics of other rows."""
        largest = (self.max_abs, other.max_abs)
        self.max_abs = float("nan") if np.isnan(largest).any() else max(largest)
        self.square_sum += other.square_sum
        self.square_error += other.square_error

    def add(self, exact: np.ndarray, stored: np.ndarray) -> float:
        """Add one image's values; returns their largest absolute value (NaN if any is NaN)."""
        flat = exact.ravel().astype(np.float32, copy=False)
        largest = float(max(flat.max(), -flat.min())) if flat.size else 0.0
        error = flat - stored.ravel()  # float32 minus float16: exact enough for a mean square
        one = CastStatistics(largest, *(_sum_of_squares(values) for values in (flat, error)))
        self.merge(one)
        return largest


def _sum_of_squares(values: np.ndarray) -> float:
    """Rounded to float32, so that sums over images are exact in float64 and in any order."""
    return float(np.float32(np.square(values).sum(dtype=np.float64)))


def largest_bits(values: np.ndarray) -> float:
    """Largest absolute value of float16 or float32 from the bits; NaN counts as the largest.

    Without the sign bit, IEEE numbers sort like integers, which compare much faster than float16:
    processors have no float16 arithmetic.
    """
    unsigned = np.dtype(f"u{values.itemsize}")
    bits = values.ravel().view(unsigned) & unsigned.type(np.iinfo(unsigned).max >> 1)
    return float(bits.max(keepdims=True).view(values.dtype)[0]) if bits.size else 0.0
