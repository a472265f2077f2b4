"""Build decoders from the names of heads."""

from __future__ import annotations

import torch

from feature_store.errors import InputError
from workbench.heads.base import DenseHead, Reduced
from workbench.heads.config import DecoderConfig
from workbench.heads.images import Survey
from workbench.heads.pyramid import Pyramid, doublings

MARGIN = 1.2
"""Largest depth that can be predicted, as a multiple of the largest in the training maps."""


def build(config: DecoderConfig, found: Survey) -> DenseHead:
    """Build a decoder (any head but ``linear``), with random weights, for the surveyed images.

    Raises
    ------
    InputError
        Fewer than two classes, or a library that is not installed.
    """
    # Deferred: each imports its own libraries.
    from workbench.heads.depth import DepthHead, Dpt, vpd
    from workbench.heads.segmentation import Mask2Former, UperNet

    moments = torch.from_numpy(found.mean), torch.from_numpy(found.spread)
    reduced = Reduced(*moments, config.hidden)
    steps = doublings(found.pixels[0], found.grid[0], config.stride)
    if config.head in ("mask2former", "upernet"):
        if found.largest < 1:
            raise InputError("the training masks hold fewer than two classes")
        kind = Mask2Former if config.head == "mask2former" else UperNet
        pyramid = Pyramid(reduced, config.hidden, steps)
        return kind(pyramid, config, int(found.largest) + 1)
    max_depth = config.max_depth or MARGIN * found.largest
    if config.head == "vpd":
        return DepthHead(vpd(reduced, config, steps), max_depth)
    return DepthHead(Dpt(Pyramid(reduced, config.hidden, steps), config.hidden), max_depth)
