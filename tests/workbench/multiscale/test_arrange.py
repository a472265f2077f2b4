"""Interpolate, split, merge and pool: by hand, by inverse pairs and against plain loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_store.errors import InputError
from workbench.multiscale import interpolate, merge, pool, split


def test_merge_of_a_hand_computed_grid():
    """Four 2 x 2 crops numbered 0 to 15 in reading order of the crops give this 4 x 4 grid."""
    crops = torch.arange(16.0).reshape(4, 2, 2, 1)
    merged = merge(crops, (2, 2))[0, :, :, 0]
    assert merged.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    assert pool(merge(crops, (2, 2)), (2, 2))[0, :, :, 0].tolist() == [[1.5, 5.5], [9.5, 13.5]]


def test_split_of_a_hand_computed_grid():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    crops = split(image, 2)[:, 0].reshape(4, 4)
    assert crops.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


@given(n=st.integers(1, 3), p=st.integers(1, 4), q=st.integers(1, 4), crop=st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_split_and_merge_are_inverse(n, p, q, crop):
    x = torch.arange(n * 2 * p * crop * q * crop, dtype=torch.float32)
    x = x.reshape(n, 2, p * crop, q * crop)
    crops = split(x, crop)
    assert crops.shape == (n * p * q, 2, crop, crop)
    assert torch.equal(merge(crops.movedim(1, -1), (p, q)), x.movedim(1, -1))


def test_split_refuses_what_does_not_divide():
    with pytest.raises(InputError, match="do not split"):
        split(torch.zeros(1, 3, 5, 4), 2)


def test_pool_averages_overlapping_cells_and_keeps_the_mean():
    maps = torch.randn(2, 6, 9, 4, dtype=torch.float16)
    pooled = pool(maps, (2, 3))
    assert pooled.dtype == torch.float32
    expected = maps.double().reshape(2, 2, 3, 3, 3, 4).mean(dim=(2, 4))
    torch.testing.assert_close(pooled.double(), expected, atol=1e-6, rtol=0)


def test_pool_repeats_cells_where_the_map_is_coarser():
    maps = torch.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    expected = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert pool(maps, (4, 4))[0, :, :, 0].tolist() == expected


def test_interpolate_antialiases_only_when_it_shrinks():
    """Bicubic keeps constants; a one-pixel checkerboard halves to grey only with antialias."""
    board = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(8, 8)[None, None]
    assert (interpolate(board, 8, 8)[0, 0, 2:-2, 2:-2] - 0.5).abs().max() < 1e-6
    up = interpolate(board, 32, 32)
    plain = torch.nn.Upsample(size=(32, 32), mode="bicubic", align_corners=False)(board)
    assert torch.equal(up, plain)
    assert interpolate(board, 16, 16) is board
    assert interpolate(board.half(), 32, 32).dtype == torch.float32
