"""Features that were made differently are refused with the field that differs, in a short line."""

from __future__ import annotations

import pytest

from feature_store import InputError
from workbench.training.features import recorded, refuse_other_features

PADDED = {"mode": "pad", "height": 224, "fill": [127, 127, 127]}
MADE = {**recorded({"model": "toy:a", "tap": "b"}), "transform": PADDED}


def test_features_that_were_made_alike_are_accepted():
    refuse_other_features({"s": MADE}, {"s": dict(MADE), "more": {}}, "in t.zarr")
    usual = {**MADE, "orientation": "ignore"}
    refuse_other_features({"s": MADE}, {"s": usual}, "in t.zarr")
    del usual["selection"]  # a record of an earlier version has fewer fields
    refuse_other_features({"s": usual}, {"s": MADE}, "in t.zarr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tap": "c"}, "tap was b in training and is c now"),
        ({"transform": {"mode": "centre", "height": 224}}, "transform.mode was pad .* is centre"),
        ({"transform": {**PADDED, "height": 336}}, "transform.height was 224 .* is 336"),
        ({"orientation": "exif"}, "orientation was ignore .* is exif"),
    ],
)
def test_the_field_that_differs_is_named(change, message):
    with pytest.raises(InputError, match=rf"^s in t\.zarr: features\.{message}"):
        refuse_other_features({"s": MADE}, {"s": {**MADE, **change}}, "in t.zarr")


def test_a_missing_source_is_named_without_its_record():
    with pytest.raises(InputError, match=r"^s in t\.zarr: .* there are u, v") as refused:
        refuse_other_features({"s": MADE}, {"u": MADE, "v": MADE}, "in t.zarr")
    assert "{" not in str(refused.value)
