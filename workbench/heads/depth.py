"""Depth decoders: VPD's deconvolutions and DPT's fusion, with the scale-invariant log loss.

    loss = sqrt(mean(d^2) - 0.5 mean(d)^2),  d = log(predicted) - log(true), over known pixels

Both decoders predict max_depth * sigmoid(output).

Source: the loss is that of Eigen et al. (2014) as used by Zhao et al. (2023), "Unleashing
Text-to-Image Diffusion Models for Visual Perception" (VPD), whose decoder is the first of the two;
the second is the fusion of Ranftl et al. (2021), "Vision Transformers for Dense Prediction".
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import interpolate

from workbench.heads.base import DenseHead, Reduced
from workbench.heads.config import DecoderConfig
from workbench.heads.pyramid import Pyramid

LAMBDA = 0.5
LEAST = 1e-3
"""Metres: smaller predictions are raised to this depth before the logarithm."""


def scale_invariant_log_loss(depth: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The loss over pixels whose truth is finite and positive; 0 if there are none.

    Both are float tensors of one shape, in metres.
    """
    known = torch.isfinite(truth) & (truth > 0)
    if not known.any():
        return depth.sum() * 0
    d = depth[known].clamp(min=LEAST).log() - truth[known].log()
    return (d.square().mean() - LAMBDA * d.mean().square()).clamp(min=1e-12).sqrt()


class DepthHead(DenseHead):
    """Turn a decoder's output map, dims (image, 1, row, col), into at most `max_depth` metres."""

    def __init__(self, decoder: nn.Module, max_depth: float) -> None:
        super().__init__()
        self.decoder, self.max_depth = decoder, max_depth

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Depth in metres, dims (image, 1, row, col)."""
        return torch.sigmoid(self.decoder(tokens)) * self.max_depth

    def loss(self, tokens: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """:func:`scale_invariant_log_loss` of predictions resized to the pixels of the truth."""
        depth = interpolate(self(tokens), truth.shape[-2:], mode="bilinear", align_corners=False)
        return scale_invariant_log_loss(depth[:, 0], truth)


def enlarge() -> nn.Module:
    """Double the last two of dims (image, channel, row, col) by bilinear interpolation."""
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)


def vpd(reduced: Reduced, config: DecoderConfig, doublings: int) -> nn.Module:
    """Deconvolutions and a convolution with batch norm, two enlargements and a two-layer output.

    Deviation: as many deconvolutions as the requested stride needs, rather than three.
    """
    channels, inner = config.hidden, config.deconvolved or config.hidden
    steps: list[nn.Module] = [reduced, nn.ReLU()]
    for _ in range(doublings):
        steps += [
            nn.ConvTranspose2d(channels, inner, 2, 2, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
        ]  # fmt: skip
        channels = inner
    last = config.output or config.hidden // 2
    convolved = (nn.Conv2d(channels, last, 3, padding=1), nn.BatchNorm2d(last), nn.ReLU())
    output = (nn.Conv2d(last, last, 3, padding=1), nn.ReLU(), nn.Conv2d(last, 1, 3, padding=1))
    return nn.Sequential(*steps, *convolved, enlarge(), enlarge(), *output)


class Dpt(nn.Module):
    """Residual units that fuse levels from coarse to fine, then a three-layer output.

    Deviation: the levels come from one token map rather than from four layers.
    """

    def __init__(self, pyramid: Pyramid, hidden: int) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.inner = nn.ModuleList(_Residual(hidden) for _ in pyramid.levels)
        self.outer = nn.ModuleList(_Residual(hidden) for _ in pyramid.levels)
        self.output = nn.Sequential(
            nn.Conv2d(hidden, hidden // 2, 3, padding=1), enlarge(),
            nn.Conv2d(hidden // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1),
        )  # fmt: skip

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Dims (image, channel, row, col) to (image, 1, row, col)."""
        levels = self.pyramid(tokens)
        fused = torch.zeros_like(levels[-1])
        for level, inner, outer in reversed(list(zip(levels, self.inner, self.outer, strict=True))):
            size = level.shape[-2:]
            fused = interpolate(fused, size, mode="bilinear", align_corners=False)
            fused = outer(fused + inner(level))
        return self.output(fused)


class _Residual(nn.Module):
    """Two convolutions, each after a ReLU, added to the identity."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.steps(x)
