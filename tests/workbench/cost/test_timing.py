"""Measured throughput: the median within its spread, and refusals."""

from __future__ import annotations

import pytest

from feature_store.errors import InputError
from workbench.cost import (
    ThroughputConfig,
    throughput,
)

VIT = "random:timm:vit_tiny_patch16_224"


def test_throughput_reports_median_within_its_spread():
    config = ThroughputConfig(batch=1, warmup=0, repeats=3)
    found = throughput("bundled:efficientnet_lite0", ["112"], config)
    assert 0 < found.low <= found.median <= found.high


@pytest.mark.parametrize(
    ("option", "value", "least"),
    [("batch", 0, 1), ("max_crops", 0, 1), ("repeats", 0, 1), ("warmup", -1, 0)],
)
def test_counts_below_their_least_are_refused(option, value, least):
    with pytest.raises(InputError, match=f"{option} is {value}.*at least {least}"):
        ThroughputConfig(**{option: value})
