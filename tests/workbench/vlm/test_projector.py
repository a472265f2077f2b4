"""Shapes, and the order in which neighbouring tokens are laid side by side."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from workbench.vlm.projector import Projector


@pytest.mark.parametrize("kind", ["linear", "mlp2x_gelu", "mlp_downsample"])
@pytest.mark.parametrize("grid", [(4, 4), (3, 5)])
def test_tokens_and_width(kind, grid):
    projector = Projector(kind, 6, 10)
    assert projector(torch.zeros(2, *grid, 6)).shape == (2, projector.tokens(grid), 10)


def test_four_neighbours_make_one_token():
    projector = Projector("mlp_downsample", 1, 8)
    projector.hidden = nn.Identity()
    tokens = torch.arange(1.0, 10).reshape(1, 3, 3, 1)
    assert projector.features(tokens)[0].tolist() == [
        [1, 2, 4, 5], [3, 0, 6, 0], [7, 8, 0, 0], [9, 0, 0, 0],
    ]  # fmt: skip
