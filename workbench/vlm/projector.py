"""From vision tokens to word embeddings.

``linear`` is one layer. ``mlp2x_gelu`` is two layers with GELU between them (LLaVA-1.5).
``mlp_downsample`` applies two such layers to 2 x 2 tokens side by side, so that a quarter of the
tokens remain (VILA, NVILA); an odd grid is padded with zeros at its lower and right edge.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import pad


class Projector(nn.Module):
    """Hidden features of tokens, then one linear layer.

    A vision token has `channels`, all scales side by side; a word embedding has `width`.
    """

    def __init__(self, kind: str, channels: int, width: int) -> None:
        super().__init__()
        self.kind, self.channels, self.width = kind, channels, width
        self.folded = kind == "mlp_downsample"
        taken = 4 * channels if self.folded else channels
        self.hidden: nn.Module = nn.Identity()
        if kind != "linear":
            first = [nn.LayerNorm(taken)] if self.folded else []
            self.hidden = nn.Sequential(*first, nn.Linear(taken, width), nn.GELU())
            taken = width
        self.last = nn.Linear(taken, width)

    def tokens(self, grid: tuple[int, int]) -> int:
        """Number of image tokens that remain of a grid.

        Examples
        --------
        >>> [Projector(kind, 1, 1).tokens((7, 7)) for kind in ("linear", "mlp_downsample")]
        [49, 16]
        """
        rows, cols = grid
        return -(-rows // 2) * -(-cols // 2) if self.folded else rows * cols

    def features(self, tokens: torch.Tensor) -> torch.Tensor:
        """float32 tokens, dims (image, row, col, channel), to inputs of the last layer, dims
        (image, token, feature)."""
        if self.folded:
            images, rows, cols, channels = tokens.shape
            tokens = pad(tokens, (0, 0, 0, cols % 2, 0, rows % 2))
            halves = tokens.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3)
            tokens = halves.reshape(images, -1, 1, 4 * channels)
        return self.hidden(tokens.flatten(1, 2))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Dims (image, row, col, channel) to (image, token, width)."""
        return self.last(self.features(tokens))
