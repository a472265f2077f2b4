"""Scales by name, and multiples of a native size."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.errors import InputError
from workbench.multiscale import Scale, resolve_scales


@given(
    height=st.integers(1, 4000),
    width=st.integers(1, 4000),
    raw=st.booleans(),
    how=st.sampled_from(["", "whole", "pad"]),
    unpooled=st.booleans(),
)
@settings(deadline=None)
def test_scale_text_round_trip(height, width, raw, how, unpooled):
    scale = Scale(
        height=height, width=width, raw=raw, unpooled=unpooled, **({how: True} if how else {})
    )
    assert Scale.parse(str(scale)) == scale


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "not a size"),
        ("0", "not a size"),
        ("-224", "not a size"),
        ("2x2x2", "not a size"),
        ("abc", "not a size"),
        ("²", "not a size"),
        ("448.hole", "'hole' is unknown or repeated"),
        ("448.raw.raw", "unknown or repeated"),
        ("448.whole.pad", "exclude each other"),
    ],
)
def test_malformed_scales_are_refused(text, match):
    with pytest.raises(InputError, match=match):
        Scale.parse(text)


def test_multiples_resolve_to_pixels_and_never_alias():
    assert resolve_scales(["0.5x", "1x", "2x.whole", "224x448"], 224) == [
        "112",
        "224",
        "448.whole",
        "224x448",
    ]
    assert resolve_scales(["1x+2x"], 224) == ["224", "448"]
    with pytest.raises(InputError, match="named twice"):
        resolve_scales(["1x", "224"], 224)
    with pytest.raises(InputError, match="not a whole pixel"):
        resolve_scales(["0.3x"], 224)
    with pytest.raises(InputError, match="no scale was named.*1x 2x"):
        resolve_scales([], 224)


@pytest.mark.parametrize("given", ["1 2 3", "0.5 1 2", "1x 2"])
def test_multiples_without_their_x_are_refused_with_it(given):
    right = " ".join(f"{text.removesuffix('x')}x" for text in given.split())
    with pytest.raises(InputError, match=f"write: {right}$"):
        resolve_scales(given.split(), 224)


def test_a_text_names_several_scales_and_commas_are_refused_with_the_right_form():
    assert resolve_scales("1x 2x+3x.raw", 100) == ["100", "200", "300.raw"]
    for wrong in ("1x,2x, 448", ["1x,2x,", "448"]):
        with pytest.raises(InputError, match=r": 1x 2x 448$"):
            resolve_scales(wrong, 224)
