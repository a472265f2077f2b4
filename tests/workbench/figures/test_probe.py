"""A metric with intervals: the axis names both."""

from __future__ import annotations

import pandas as pd

from workbench.figures.probe import draw_sources

TABLE = pd.DataFrame(
    {
        "source": ["bundled:b0@224", "bundled:b0@224+448"],
        "miou": [0.7, 0.8],
        "low": [0.6, 0.75],
        "high": [0.8, 0.85],
    }
)


def test_the_axis_names_metric_and_interval():
    (ax,) = draw_sources(TABLE, metric="miou", label="mean IoU").axes
    assert ax.get_xlabel() == "mean IoU, 95 % interval"
    assert [text.get_text() for text in ax.get_yticklabels()] == ["b0 @ 224", "b0 @ 224 + 448"]
    assert [text.get_text() for text in ax.texts] == ["0.700", "0.800"]
