"""The interface of decoders: token maps in, maps of scores or metres out."""

from __future__ import annotations

import torch
from torch import nn


class DenseHead(nn.Module):
    """A decoder that is trained on token maps of a frozen model."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Predict maps at the decoder's resolution; the caller resizes them to the target's pixels.

        Parameters
        ----------
        tokens : float32 tensor, dims (image, channel, row, col)
            Scales side by side on the channel axis.

        Returns
        -------
        float32 tensor, dims (image, value, row, col)
            Score of each class, or one map of metres.
        """
        raise NotImplementedError

    def loss(self, tokens: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """The scalar loss to minimise, of tokens as for :meth:`forward`.

        `truth` has dims (image, pixel row, pixel col): int64 classes, -1 = ignored; or float32
        metres, NaN = unknown.
        """
        raise NotImplementedError


class Reduced(nn.Module):
    """Standardise channels by the moments of the training tokens, then reduce them linearly.

    `mean` and `spread` (standard deviation) have dims (channel,); channels with spread 0 become 0.
    `hidden` is the number of output channels, a multiple of 32.
    """

    def __init__(self, mean: torch.Tensor, spread: torch.Tensor, hidden: int) -> None:
        super().__init__()
        scale = torch.where(spread > 0, 1 / spread.clamp(min=1e-30), 0.0)
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("mean", mean.float()[:, None, None])
        self.register_buffer("scale", scale.float()[:, None, None])
        self.project = nn.Sequential(nn.Conv2d(len(mean), hidden, 1), nn.GroupNorm(16, hidden))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Dims (image, channel, row, col) to (image, hidden, row, col)."""
        return self.project((tokens - self.mean) * self.scale)
