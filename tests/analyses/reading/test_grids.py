"""Area pooling of token maps onto a common grid."""

from __future__ import annotations

import numpy as np
import torch

from analyses.reading.grids import TokenBatch, area_weights, average_to, on_common_grid


def test_area_pooling_keeps_the_mean_and_matches_by_hand():
    np.testing.assert_allclose(area_weights(4, 2), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    maps = np.random.default_rng(2).standard_normal((2, 16, 7, 3)).astype(np.float32)
    small = average_to(maps, (14, 7))
    np.testing.assert_allclose(small.mean((1, 2)), maps.mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(average_to(torch.from_numpy(maps), (14, 7)), small, atol=1e-6)
    batch = TokenBatch(np.arange(2), {"x": maps, "y": maps[:, :14]})
    out = on_common_grid(batch)
    assert out.tokens["x"].shape == (2, 14, 7, 3)
    assert out.tokens["y"] is batch.tokens["y"] or np.shares_memory(out.tokens["y"], maps)
