"""Rows of a table of decoders, trained on stored tokens or on crops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analyses.configs import DenseConfig
from analyses.statistics.dense_scores import PerImage, scores


@dataclass
class Scored:
    """Collects the scores of sources, one source at a time."""

    config: DenseConfig
    records: list[dict[str, Any]] = field(default_factory=list)
    resampled: dict[str, list[float]] = field(default_factory=dict)
    per_image: dict[str, PerImage] = field(default_factory=dict)

    def add(self, source: str, found: PerImage, images: int, **facts: Any) -> None:
        """Add a source: scores of its test images, rows of a set of `images`, and more columns."""
        record, self.resampled[source] = scores(found.sums, found.rows, images, self.config)
        self.per_image[source] = found
        self.records.append({"source": source} | record | facts | {"test_images": len(found.rows)})

    def table(self, shared_images: dict[str, Any]) -> pd.DataFrame:
        """One row per source; attributes ``resampled``, ``per_image`` and ``shared_images``."""
        table = pd.DataFrame.from_records(self.records)
        table.attrs = {"resampled": self.resampled, "per_image": self.per_image}
        table.attrs["shared_images"] = shared_images
        return table
