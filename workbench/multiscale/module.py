"""S2 as a torch module: images in, tokens of several scales side by side out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.checkpoint import checkpoint

from feature_store.errors import InputError
from feature_store.source import Source, split_tap
from workbench import models
from workbench.datasets.decode import DecodeError, decode
from workbench.models.backbone import Backbone
from workbench.models.info import Tokens
from workbench.models.registry import build
from workbench.multiscale.arrange import pool
from workbench.multiscale.forward import features
from workbench.multiscale.memory import CropLimit
from workbench.multiscale.planning import plan_scale
from workbench.multiscale.scale import Scale, as_scale, scale_names

ImageLike = str | os.PathLike | Image.Image
"""A path or an opened image."""
_COMPILED: WeakKeyDictionary[nn.Module, Callable[[torch.Tensor], Tokens]] = WeakKeyDictionary()
"""Compiled readers by model; not in the module, which would copy them with the old weights."""


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
    merge : {"concat", "add"}
        Scales side by side on the channel axis, or their sum.
    grid : {"base", "largest"}
        Pool every scale to the base grid, or repeat the cells of the smaller maps on the grid of
        the largest one.
    recompute : bool
        With `grad`: keep no activations inside the model, and compute them again in the backward
        pass. Memory then grows with the crops of one forward pass, not with all of them.
    compiled : bool
        Compile the model (``torch.compile``): a minute at the first call.

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
        merge: Literal["concat", "add"] = "concat",
        grid: Literal["base", "largest"] = "base",
        recompute: bool = False,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.info = backbone.info
        """Everything known about the model without its weights."""
        given = scale_names(scales) if isinstance(scales, str) else scales
        each = (scale_names(s) if isinstance(s, str) else [s] for s in given)
        self.scales = [as_scale(scale, backbone.info.native) for one in each for scale in one]
        """The scales in pixels, in channel order."""
        self.merge, self.recompute, self.compiled = merge, recompute, compiled
        self.grid: tuple[int, int] | None = None
        """Rows and columns of the output; None for the grid that all scales have."""
        if grid == "largest":
            self.scales = [replace(scale, unpooled=True) for scale in self.scales]
            self.grid = max(plan_scale(s, backbone.info).grid for s in self.scales)
        grids = {str(s): plan_scale(s, backbone.info).grid for s in self.scales}
        if len(set(grids.values())) != 1 and self.grid is None:
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

    def forward(
        self,
        images: ImageLike | Sequence[ImageLike] | torch.Tensor,
        raw: Mapping[Scale, torch.Tensor] | None = None,
    ) -> Tokens:
        """Tokens of images.

        Parameters
        ----------
        images : path, PIL image, list of them, or tensor
            A tensor is a batch (image, 3, height, width), or one image (3, height, width), of base
            images: resized, cropped and normalised, as :meth:`prepare` does.
        raw : mapping of Scale to tensor, optional
            Beside a tensor, for each ``raw`` scale: the original images resized to it, normalised.

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
            backbone = self.backbone()
            if isinstance(images, torch.Tensor):
                base = images if images.ndim == 4 else images[None]
            else:
                base, raw = self._prepared(images, backbone)
            found = features(
                backbone, base.to(backbone.device), self.scales, raw=raw, max_crops=self.limit
            )
            return self._merged(list(found.values()))

    def _merged(self, scales: Sequence[Tokens]) -> Tokens:
        """Tokens of all scales on one grid, side by side or summed."""
        if self.grid is not None:
            scales = [Tokens(one.prefix, pool(one.map, self.grid)) for one in scales]
        parts = zip(*scales, strict=True)
        if self.merge == "add":
            return Tokens(*(torch.stack(part).sum(0) for part in parts))
        return Tokens(*(torch.cat(part, -1) for part in parts))

    def prepare(self, images: ImageLike | Sequence[ImageLike]) -> torch.Tensor:
        """Normalised base images (image, 3, height, width), float32, of paths or PIL images."""
        return self._prepared(images, self.backbone())[0]

    def train(self, mode: bool = True) -> S2:
        """As for every module, but a frozen model stays in evaluation mode."""
        super().train(mode)
        if not self.grad:
            self.model.eval()
        return self

    def backbone(self) -> Backbone:
        """The model where it is now; built for each call, so that the module can be copied."""
        first = next(self.model.parameters())
        read = build(self.info.name).reader(self.model, self.info.tap)
        if self.compiled:
            if self.model not in _COMPILED:
                _COMPILED[self.model] = torch.compile(read)
            read = _COMPILED[self.model]

        def run(x: torch.Tensor) -> Tokens:
            if self.recompute and torch.is_grad_enabled():
                return checkpoint(read, x.to(first.dtype), use_reentrant=False)
            return read(x.to(first.dtype))

        return Backbone(
            info=self.info,
            module=self.model,
            runs=self.model,
            read=run,
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
