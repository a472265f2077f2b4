"""A frozen model that runs in every step of a decoder's training, and a survey of its tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from analyses.reading.progress import shown
from feature_store.errors import InputError
from feature_store.source import Source
from workbench import models
from workbench.heads.crops import MappedImages
from workbench.heads.images import Survey
from workbench.heads.options import OnTheFly
from workbench.multiscale.memory import CropLimit
from workbench.multiscale.module import S2
from workbench.multiscale.planning import plan_scale

SURVEYED = 64
"""Number of crops whose tokens are used to standardise channels; a choice."""


class Encoder:
    """A frozen model at the scales of a source (``MODEL[#TAP]@SCALES``): crops in, token maps out.

    `log` prints a line if fewer crops fit in memory than were tried.

    Raises
    ------
    InputError
        As :func:`refuse_source`, or weights that cannot be read.
    """

    def __init__(self, source: str, options: OnTheFly, log: Callable[[str], None]) -> None:
        refuse_source(source)
        self.source = source
        name = Source.parse(source)
        backbone = models.load(
            name.model, device=options.decoder.device, tap=name.tap,
            arithmetic=options.crops.arithmetic,
        )  # fmt: skip
        self.s2 = S2(backbone, name.scales, merge=options.config.merge).eval()
        self.s2.limit = CropLimit(log=log)
        self.weights = backbone.weights_sha256
        parts = len(name.scales) if options.config.merge == "concat" else 1
        self.channels = backbone.info.channels * parts

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 crops, dims (image, row, col, 3), to float32, dims (image, channel, row, col)."""
        images = self.s2.backbone().normalise(pixels)
        return self.s2(images).map.permute(0, 3, 1, 2).contiguous()


def refuse_source(source: str) -> None:
    """Refuse a source that cannot run on crops, without reading weights.

    Raises
    ------
    InputError
        A ``raw`` scale, a model that does not exist, a scale that it cannot run, or scales with
        different token grids.
    """
    name = Source.parse(source)
    raw = [scale for scale in name.scales if "raw" in scale.split(".")]
    if raw:
        raise InputError(
            f"{source}: every scale of a crop comes from the crop itself; write {raw[0]} without "
            f".raw"
        )
    info = models.resolve(name.model, name.tap)
    grids = {scale: plan_scale(scale, info).grid for scale in name.scales}
    if len(set(grids.values())) > 1:
        raise InputError(
            f"{source}: its scales have the token grids {list(grids.values())}; name scales that "
            f"share one"
        )


def survey(images: MappedImages, encoder: Encoder, options: OnTheFly) -> Survey:
    """Moments of the tokens of some crops, and the largest class or depth of the training maps.

    Maps are read only if the dataset does not name its classes or the decoder sets no largest
    depth.

    Raises
    ------
    InputError
        As :meth:`MappedImages.pair`; or the maps hold no known pixel.
    """
    count = len(images.dataset)
    rows = np.unique(np.linspace(0, count - 1, min(SURVEYED, count)).round().astype(int))
    moments = torch.zeros(2, encoder.channels, dtype=torch.float64)
    tokens_read, grid = 0, (0, 0)
    for place, row in enumerate(rows.tolist()):
        item = images[0, place, row]
        if isinstance(item, str):
            raise InputError(item)
        found = encoder(torch.from_numpy(item[0])[None])[0].double().cpu()
        flat = found.reshape(len(found), -1)
        moments += torch.stack([flat.sum(1), flat.square().sum(1)])
        tokens_read, grid = tokens_read + flat.shape[1], (found.shape[1], found.shape[2])
    mean, square = moments / tokens_read
    spread = (square - mean**2).clamp(min=0).sqrt()
    side, largest = options.crops.side, _largest(images, options)
    return Survey(mean.numpy(), spread.numpy(), grid, (side, side), largest, np.arange(count))


def _largest(images: MappedImages, options: OnTheFly) -> float:
    """Largest class or depth of the training maps; reads the maps only if it is not yet known."""
    if images.task == "segmentation" and images.dataset.mask_names:
        return len(images.dataset.mask_names) - 1
    if images.task == "depth" and options.decoder.max_depth:
        return options.decoder.max_depth
    largest, count = -np.inf, len(images.dataset)
    with shown("survey", total=count, unit="map", wanted=options.config.progress) as bar:
        for row in range(count):
            _, truth = images.pair(row)
            known = truth[np.isfinite(truth) & (truth >= 0)]
            largest = max(largest, float(known.max())) if len(known) else largest
            bar.update()
    if largest == -np.inf:
        raise InputError(f"the training maps of {images.dataset.name} hold no known pixel")
    return largest
