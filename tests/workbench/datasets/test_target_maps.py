"""Depth in metres or millimetres; the wrong unit is refused with the value found."""

from __future__ import annotations

import numpy as np
import pytest

from feature_store import InputError
from workbench.datasets.target_maps import cropped, in_metres


def test_units_of_depth():
    metres = np.array([[0.5, np.nan], [7.25, 80.0]], np.float32)
    np.testing.assert_array_equal(in_metres(metres, "m"), metres)
    np.testing.assert_allclose(in_metres(1000 * metres, "mm"), metres, rtol=1e-6)
    with pytest.raises(InputError, match="7355, expected at most 1000 metres.*--depth-unit mm"):
        in_metres(np.array([[7355.0]]), "m")
    with pytest.raises(InputError, match=r"9\.5, expected at least 100 millimetres"):
        in_metres(np.array([[9.5, np.nan]]), "mm")


@pytest.mark.parametrize("unit", ["m", "mm"])
def test_a_map_without_known_depth_has_any_unit(unit):
    assert np.isnan(in_metres(np.full((2, 2), np.nan), unit)).all()


def test_crops_of_eigen():
    known = np.isfinite(cropped(np.ones((480, 640)), "nyu"))
    assert np.argwhere(known).min(0).tolist() == [45, 41]
    assert np.argwhere(known).max(0).tolist() == [470, 600]
    known = np.isfinite(cropped(np.ones((375, 1242)), "kitti"))
    assert np.argwhere(known).min(0).tolist() == [125, 45]
    assert np.argwhere(known).max(0).tolist() == [342, 1196]
    assert np.isfinite(cropped(np.ones((5, 5)), "none")).all()
