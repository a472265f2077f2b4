"""S2 as a torch module: images in, tokens of several scales side by side out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from feature_store.errors import InputError
from feature_store.source import Source, split_tap
from workbench import models
from workbench.datasets.decode import DecodeError, decode
from workbench.models.backbone import Backbone
from workbench.models.info import Tokens
from workbench.models.registry import build
from workbench.multiscale.forward import features
from workbench.multiscale.memory import CropLimit
from workbench.multiscale.planning import plan_scale
from workbench.multiscale.scale import Scale, as_scale

ImageLike = str | os.PathLike | Image.Image
"""A path or an opened image."""


def load(
    name: str,
    scales: str | Sequence[str | Scale] = ("1x",),
    *,
    device: str | torch.device = "cpu",
    arithmetic: str = "fp32",
    grad: bool = False,
    max_crops: int = 64,
) -> S2:
    """A model with its weights as an :class:`S2` module.

    Parameters
    ----------
    name : str
        ``MODEL``, ``MODEL#TAP``, or a source ``MODEL[#TAP]@SCALES``.
    scales : str or sequence of str
        Multiples of the native size or pixels: ``("1x", "2x")``, ``"1x+2x"``, ``"448.whole"``.
    device : str or torch.device
        Where to run; ``.to()`` moves it later.
    arithmetic : str
        ``fp32``, or autocast to ``bf16`` or ``fp16``.
    grad : bool
        Let gradients into the model.
    max_crops : int
        Crops per forward pass; bounds memory.

    Raises
    ------
    InputError
        An unknown model, tap or scale, or weights that cannot be fetched, read or fitted.
    """
    if "@" in name:
        source = Source.parse(name)
        name, scales = source.model_and_tap, source.scales
    model, tap = split_tap(name)
    backbone = models.load(model, device=device, tap=tap, arithmetic=arithmetic)
    return S2(backbone, scales, grad=grad, max_crops=max_crops).eval()


class S2(nn.Module):
    """One model at several scales. Its output is that of ``workbench extract`` in float32.

    The maps of all scales, pooled to the base grid, lie side by side on the channel axis, and so
    do their prefix tokens. A head trains on the output as it is; with ``grad`` the model does too.

    Parameters
    ----------
    backbone : Backbone
        The model at its tap, from :func:`workbench.models.load`.
    scales : str or sequence of str or Scale
        As for :func:`load`.
    grad : bool
        Let gradients into the model, whose batch norms are then not folded into convolutions.
        Otherwise it is frozen, and stays in evaluation mode after ``.train()``.
    max_crops : int
        Crops per forward pass; bounds memory, changes results by float rounding only.

    Raises
    ------
    InputError
        A scale that the model cannot run.
    """

    def __init__(
        self,
        backbone: Backbone,
        scales: str | Sequence[str | Scale] = ("1x",),
        *,
        grad: bool = False,
        max_crops: int = 64,
    ) -> None:
        super().__init__()
        self.info = backbone.info
        """Everything known about the model without its weights."""
        given = scales.split() if isinstance(scales, str) else scales
        each = (s.split("+") if isinstance(s, str) else [s] for s in given)
        self.scales = [as_scale(scale, backbone.info.native) for one in each for scale in one]
        """The scales in pixels, in channel order."""
        grids = {str(s): plan_scale(s, backbone.info).grid for s in self.scales}
        if len(set(grids.values())) != 1:
            raise InputError(
                f"the scales {', '.join(grids) or '(none)'} have the token grids "
                f"{list(grids.values())}; name scales that share one"
            )
        self.grad = grad
        self.arithmetic = backbone.arithmetic
        self.limit = CropLimit(max_crops)
        self.model = backbone.module if grad else backbone.runs
        """The torch module that runs."""
        self.model.requires_grad_(grad)

    def forward(self, images: ImageLike | Sequence[ImageLike] | torch.Tensor) -> Tokens:
        """Tokens of images.

        Parameters
        ----------
        images : path, PIL image, list of them, or tensor
            A tensor is a batch (image, 3, height, width), or one image (3, height, width), of base
            images: resized, cropped and normalised, as :meth:`prepare` does.

        Returns
        -------
        Tokens
            ``map`` (image, row, col, channel) and ``prefix`` (image, prefix, channel), float32.

        Raises
        ------
        InputError
            An image that cannot be read, a tensor of another shape, or a tensor where a ``raw``
            scale needs the original image.
        """
        with torch.set_grad_enabled(self.grad and torch.is_grad_enabled()):
            backbone = self._backbone()
            raw: dict[Scale, torch.Tensor] = {}
            if isinstance(images, torch.Tensor):
                base = images if images.ndim == 4 else images[None]
            else:
                base, raw = self._prepared(images, backbone)
            found = features(
                backbone, base.to(backbone.device), self.scales, raw=raw, max_crops=self.limit
            )
            return Tokens(*(torch.cat(part, -1) for part in zip(*found.values(), strict=True)))

    def prepare(self, images: ImageLike | Sequence[ImageLike]) -> torch.Tensor:
        """Normalised base images (image, 3, height, width), float32, of paths or PIL images."""
        return self._prepared(images, self._backbone())[0]

    def train(self, mode: bool = True) -> S2:
        """As of every module; a frozen model stays in evaluation mode."""
        super().train(mode)
        if not self.grad:
            self.model.eval()
        return self

    def _backbone(self) -> Backbone:
        """The model where it is now; built for each call, so that the module can be copied."""
        first = next(self.model.parameters())
        read = build(self.info.name).reader(self.model, self.info.tap)
        return Backbone(
            info=self.info,
            module=self.model,
            runs=self.model,
            read=lambda x: read(x.to(first.dtype)),
            device=first.device,
            arithmetic=self.arithmetic,
            inference=False,
        )

    def _prepared(
        self, images: ImageLike | Sequence[ImageLike], backbone: Backbone
    ) -> tuple[torch.Tensor, dict[Scale, torch.Tensor]]:
        """Base images, and for each ``raw`` scale the originals resized to it."""
        several = [images] if isinstance(images, ImageLike) else list(images)
        if not several:
            raise InputError("no image was given")
        opened = [_opened(image) for image in several]

        def at(height: int, width: int) -> torch.Tensor:
            resize = self.info.transform.at(height, width)
            pixels = torch.from_numpy(np.stack([resize(image) for image in opened]))
            return backbone.normalise(pixels)

        base = plan_scale(self.scales[0], self.info).base
        return at(*base), {s: at(s.height, s.width) for s in self.scales if s.raw}


def _opened(image: ImageLike) -> Image.Image:
    try:
        content = image if isinstance(image, Image.Image) else Path(image).expanduser().read_bytes()
        return Image.fromarray(decode(content))
    except OSError as error:
        raise InputError(f"{image} cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise InputError(f"{image}: {error.reason}") from error
