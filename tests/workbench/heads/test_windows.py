"""Windows that slide: what single pixels decide is unchanged, and overlaps are means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from workbench.heads.config import CropConfig
from workbench.heads.windows import predict

CONFIG = CropConfig(side=16, window_stride=7)


def of_pixels(windows):
    """A function of each pixel by itself."""
    x = windows.float().permute(0, 3, 1, 2)
    return torch.cat([x, x.square().sum(1, keepdim=True)], 1)


@pytest.mark.parametrize("size", [(16, 37), (41, 16), (16, 16)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_function_of_single_pixels_is_that_function_of_the_image(size, mirrored):
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    found = predict(of_pixels, image, replace(CONFIG, mirrored=mirrored), batch=2)
    expected = of_pixels(torch.from_numpy(image)[None])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_square_image_is_one_window_in_both_ways():
    image = np.random.default_rng(1).integers(0, 255, (48, 48, 3), dtype=np.uint8)

    def seams(windows):  # depends on the place in the window
        return windows.float().permute(0, 3, 1, 2).cumsum(3)

    slide, whole = (predict(seams, image, replace(CONFIG, window=w)) for w in ("slide", "whole"))
    assert slide.shape == (16, 16, 3)
    np.testing.assert_array_equal(slide, whole)
    wide = np.concatenate([image, image], 1)
    assert predict(seams, wide, CONFIG).shape == (16, 32, 3)
    assert predict(seams, wide, replace(CONFIG, window="whole")).shape == (16, 16, 3)


def test_overlaps_are_means():
    calls = iter([1.0, 2.0, 6.0])

    def constant(windows):
        return torch.stack([torch.full((1, 2, 2), next(calls)) for _ in windows])

    image = np.zeros((8, 14, 3), np.uint8)  # windows of 8 at 0, 5 and 6
    found = predict(constant, image, CropConfig(side=8, window_stride=5))
    assert found[0, :, 0].tolist() == [1] * 5 + [1.5] + [3] * 2 + [4] * 5 + [6]
