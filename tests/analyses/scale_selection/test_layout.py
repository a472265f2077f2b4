"""Filled maps: by hand, all crops, no crop, and pooled maps against merged ones."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.reading.grids import average_to
from analyses.scale_selection.layout import Layout, ScaleLayout, deltas, fill
from feature_store import InputError

RNG = np.random.default_rng(0)


def layout_of(side, *scales):
    """A base grid of side x side tokens and scales (crops on a side, unpooled)."""
    made = [
        ScaleLayout.of(
            f"m:a#t@{16 * n}", crops=(n, n), crop_grid=(side, side),
            merged=(n * side, n * side), grid=(side, side), unpooled=unpooled,
        )
        for n, unpooled in scales
    ]  # fmt: skip
    return Layout("m:a#t@16", (side, side), tuple(made))


def maps_of(layout, images=3, channels=2):
    base = RNG.normal(size=(images, *layout.grid, channels)).astype("f4")
    large = [
        RNG.normal(size=(images, *s.cells.shape[1:], channels)).astype("f4") for s in layout.scales
    ]
    return base, large


def test_shares_of_seven_cells_in_two_crops_by_hand():
    (scale,) = layout_of(7, (2, True)).scales
    across = [1, 1, 1, 0.5, 0, 0, 0]
    np.testing.assert_array_equal(scale.share[0], np.outer(across, across))
    np.testing.assert_array_equal(scale.share.sum(0), np.ones((7, 7)))
    assert scale.exact
    assert not layout_of(7, (2, False)).scales[0].exact
    assert layout_of(4, (2, False)).scales[0].exact


def test_no_crop_is_the_base_map_and_all_crops_the_pooled_map():
    layout = layout_of(7, (2, True), (3, True))
    base, large = maps_of(layout)
    none, every = (np.full((3, layout.count), run) for run in (False, True))
    np.testing.assert_array_equal(fill(layout, base, large, none), np.tile(base, 3))
    full = np.concatenate([base, *(average_to(tokens, (7, 7)) for tokens in large)], -1)
    np.testing.assert_allclose(fill(layout, base, large, every), full, atol=1e-6)


def test_skipped_crops_take_the_nearest_base_tokens():
    layout = layout_of(7, (2, True))
    base, (large,) = maps_of(layout, images=1)
    nearest = base.repeat(2, 1).repeat(2, 2)
    nearest[:, :7, 7:] = large[:, :7, 7:]  # the crop at the upper right is run
    found = fill(layout, base, [large], np.array([[False, True, False, False]]))
    np.testing.assert_allclose(found[..., 2:], average_to(nearest, (7, 7)), atol=1e-6)


def test_pooled_and_merged_maps_agree_where_cells_divide_among_crops():
    merged, pooled = layout_of(4, (2, True)), layout_of(4, (2, False))
    base, large = maps_of(merged)
    chosen = RNG.random((3, 4)) < 0.5
    small = [average_to(tokens, (4, 4)) for tokens in large]
    np.testing.assert_allclose(
        fill(merged, base, large, chosen), fill(pooled, base, small, chosen), atol=1e-6
    )


@pytest.mark.parametrize("unpooled", [True, False])
def test_each_crop_adds_its_own_term(unpooled):
    layout = layout_of(7, (2, unpooled))
    base, large = maps_of(layout)
    if not unpooled:
        large = [average_to(tokens, (7, 7)) for tokens in large]
    chosen = RNG.random((3, 4)) < 0.5
    (added,) = deltas(layout, base, large)
    total = base + np.einsum("nk,nkrcd->nrcd", chosen, added)
    np.testing.assert_allclose(fill(layout, base, large, chosen)[..., 2:], total, atol=1e-5)


def test_merged_maps_are_preferred_and_described(toys, kit):
    layout = Layout.stored(toys.train, kit.MODEL, ["16", "32"])
    assert (layout.base, [s.name for s in layout.scales]) == (kit.BASE, [kit.LARGE])
    assert (layout.count, layout.inexact) == (4, [])
    assert layout.describe() == {"grid": [4, 4], "scales": ["32"], "crops": [[2, 2]]}


def test_what_has_no_crops_is_refused(tmp_path, kit):
    tokens, whole, foreign = np.zeros((2, 4, 4, 1)), f"{kit.MODEL}@32.whole", f"{kit.MODEL}@64"
    facts = {
        kit.BASE: kit.facts(16, (1, 1)), whole: kit.facts(32, (1, 1), whole=True),
        kit.POOLED: kit.facts(32, (2, 2)),
    }  # fmt: skip
    store = kit.write(tmp_path / "s", dict.fromkeys((*facts, foreign), tokens), facts=facts)
    for scales, found in (
        (["16", "32.whole"], r"32\.whole runs in one piece"),
        (["16", "64"], "64 .* does not name its crops"),
        (["32", "16"], "32 x 32 pixels; expected the base scale, of 16 x 16"),
        (["16"], r"1 scale\(s\) given"),
        (["16", "48"], "does not hold .*48"),
    ):
        with pytest.raises(InputError, match=found):
            Layout.stored(store, kit.MODEL, scales)
