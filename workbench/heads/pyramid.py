"""A feature pyramid from one token map: four maps, each half as large as the one before.

Source: the simple feature pyramid of Li et al. (2022), "Exploring Plain Vision Transformer
Backbones for Object Detection": every level comes from the last token map. Deviations: channels are
standardised and reduced first, and group norm replaces layer norm.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from workbench.heads.base import Reduced

LEVELS = 4


class Pyramid(nn.Module):
    """Turn token maps into four maps of `hidden` channels, the finest first.

    The finest doubles the sides of the token map `doublings` times.
    """

    def __init__(self, reduced: Reduced, hidden: int, doublings: int) -> None:
        super().__init__()
        self.reduced = reduced
        self.levels = nn.ModuleList(_resize(hidden, doublings - level) for level in range(LEVELS))

    def forward(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """float32, dims (image, channel, row, col), to four maps (image, hidden, row, col)."""
        reduced = self.reduced(tokens)
        return [level(reduced) for level in self.levels]


def doublings(pixels: int, tokens: int, stride: int) -> int:
    """Number of doublings of a token map that give about one value per `stride` pixels.

    Examples
    --------
    >>> doublings(224, 7, 8), doublings(260, 9, 4), doublings(224, 56, 8)
    (2, 3, 0)
    """
    return max(0, round(math.log2(pixels / (stride * tokens))))


def _resize(hidden: int, doublings: int) -> nn.Module:
    """Enlarge by transposed convolutions, or reduce to means of cells, sides rounded up."""
    if doublings <= 0:
        return nn.AvgPool2d(2**-doublings, ceil_mode=True, count_include_pad=False)
    steps: list[nn.Module] = []
    for _ in range(doublings):
        steps += [nn.ConvTranspose2d(hidden, hidden, 2, 2), nn.GroupNorm(16, hidden), nn.GELU()]
    return nn.Sequential(*steps[:-1])
