"""Names and looks of sources."""

from __future__ import annotations

from workbench.figures.sources import looks, short, two_lines, without_common_tap

NAMES = ["m:a@224", "m:a@224+448", "m:b@224", "m:b@224+448", "m:c#t@240"]


def test_names_lose_the_provider_alone():
    assert short("timm:vit_base#block:9@224") == "vit_base#block:9 @ 224"
    assert short("bundled:lite2:224@224+448.raw") == "lite2:224 @ 224 + 448.raw"
    assert two_lines("m:a@224+448") == "a\n@ 224 + 448"


def test_a_tap_that_all_share_is_left_out():
    assert without_common_tap(["m:a#t@1", "m:b#t@1+2"]) == ["m:a@1", "m:b@1+2"]
    assert without_common_tap(["m:a#t@1", "m:b#u@1"]) == ["m:a#t@1", "m:b#u@1"]


def test_no_two_looks_share_colour_and_line():
    found = looks(NAMES)
    for n in range(3):
        assert len({look[n] for look in found}) >= 4
    assert len(set(found)) == len(NAMES)
