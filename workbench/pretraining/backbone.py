"""The model to train: an architecture of timm with initial weights, under S2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from feature_store.errors import InputError, some
from workbench import models
from workbench.models import timm_family
from workbench.models.backbone import Backbone
from workbench.models.info import BackboneInfo
from workbench.models.names import ModelName
from workbench.models.registry import build
from workbench.multiscale import S2, interpolate, plan_scale
from workbench.multiscale.scale import Scale, resolve_scales
from workbench.pretraining.config import AUGMENTATIONS, BY_SIZE, PretrainConfig, PretrainRecipe
from workbench.training import ranks

HEADS = ("head.", "head_dist.")
"""Prefixes of the names of a classifier's tensors."""
ALL = 1 << 20
"""Crops per forward pass where activations are kept anyway: all of them."""


def describe(config: PretrainConfig) -> BackboneInfo:
    """Describe the architecture without its weights.

    Raises
    ------
    InputError
        timm does not have it, or it cannot run at a scale.
    """
    info = models.resolve(f"random:{config.model}")
    for scale in resolve_scales(config.scales, info.native):
        plan_scale(scale, info)
    return info


def build_s2(
    config: PretrainConfig,
    recipe: PretrainRecipe,
    device: str,
    options: dict[str, Any] | None = None,
    start: Mapping[str, torch.Tensor] | None = None,
) -> S2:
    """The model with its initial weights, at the scales of the training.

    Parameters
    ----------
    options : dict, optional
        Further arguments of the architecture, such as its width.
    start : mapping, optional
        From :func:`weights_of` the config's ``init``, to load it once; otherwise it is loaded here.

    Raises
    ------
    InputError
        The weights to start from belong to another architecture.
    """
    info, name = describe(config), ModelName.parse(config.model)
    extra = {"drop_path_rate": recipe.drop_path} if recipe.drop_path else {}
    module = timm_family.create(
        name.arch, pixels=name.pixels, pretrained=False, meta=False, seed=config.seed,
        num_classes=0, **extra, **(options or {}),
    )  # fmt: skip
    module.requires_grad_(True)
    if config.init is not None:
        found = weights_of(config.init) if start is None else start
        start_from(module, config.init, found)
    module.to(device)
    params = sum(parameter.numel() for parameter in module.parameters())
    info = replace(info, channels=module.num_features, params=params)
    backbone = Backbone(
        info=info, module=module, runs=module, read=build(info.name).reader(module, info.tap),
        device=torch.device(device), arithmetic=recipe.arithmetic,
    )  # fmt: skip
    images = math.ceil(config.batch / (ranks.count() * recipe.parts))  # at a time, on this device
    return S2(
        backbone, resolve_scales(config.scales, info.native), grad=True,
        max_crops=images if recipe.recompute else ALL,
        recompute=recipe.recompute, compiled=recipe.compile,
    )  # fmt: skip


def weights_of(name: str) -> dict[str, torch.Tensor]:
    """The tensors of a model; the first process loads it alone, since it may download it."""
    with ranks.first_alone():
        return models.load(name).module.state_dict()


def start_from(module: torch.nn.Module, name: str, found: Mapping[str, torch.Tensor]) -> None:
    """Give a model the weights of one of the same architecture; heads are left out.

    Raises
    ------
    InputError
        The architecture differs; the message names a tensor.
    """
    own = module.state_dict()
    shape = {key: tuple(value.shape) for key, value in own.items()}
    there = {key: tuple(v.shape) for key, v in found.items() if not key.startswith(HEADS)}
    wrong = [key for key in {**shape, **there} if shape.get(key) != there.get(key)]
    if wrong:
        key = wrong[0]
        raise InputError(
            f"--init {name} has another architecture: {key} is {there.get(key, 'absent')} there "
            f"and {shape.get(key, 'absent')} here ({len(wrong)} such tensors: {some(wrong)}); name "
            f"weights of the architecture of --model, at its native size"
        )
    module.load_state_dict({key: found[key] for key in own})


def augmentation(recipe: PretrainRecipe, info: BackboneInfo) -> tuple[int | None, float]:
    """Strength of RandAugment and alpha of mixup; ``auto`` chooses them by the model's size."""
    name: str = recipe.augment
    if name == "auto":
        name = next(one for most, one in BY_SIZE if info.params < most)
    return AUGMENTATIONS[name]


def small_crops(s2: S2, side: int) -> tuple[BackboneInfo, list[Scale]]:
    """The model on base images of another side, and the same multiples of that side."""
    info = replace(s2.info, native=side, grid=(side // s2.info.stride, side // s2.info.stride))
    sides = [round(scale.height * side / s2.info.native) for scale in s2.scales]
    return info, [
        replace(scale, height=own, width=own) for scale, own in zip(s2.scales, sides, strict=True)
    ]


def small_s2(s2: S2, side: int) -> S2:
    """The same weights on base images of another side, at the same multiples of it.

    Where activations are recomputed, a forward pass takes no more tokens than one of `s2`.
    """
    info, scales = small_crops(s2, side)
    crops = (s2.limit.at_once["crops"] or ALL) * tokens(s2.info) // tokens(info)
    return S2(
        replace(s2.backbone(), info=info), scales, grad=True,
        max_crops=max(1, crops) if s2.recompute else ALL,
        recompute=s2.recompute, compiled=s2.compiled,
    )  # fmt: skip


def tokens(info: BackboneInfo) -> int:
    """Tokens of a crop of the native size, class and register tokens included."""
    return math.prod(info.grid) + info.prefix


class Inputs:
    """Turns uint8 crops into the inputs of S2: base images, and images of ``raw`` scales.

    Crops are made at the largest ``raw`` scale, if there is one, and shrunk from it, so that all
    scales see the same part of the original image.
    """

    def __init__(self, s2: S2) -> None:
        self.native = s2.info.native
        self.raw: list[Scale] = [scale for scale in s2.scales if scale.raw]
        self.side = max([self.native, *(scale.height for scale in self.raw)])
        """Side of the crops in pixels."""
        self.moments = torch.tensor([s2.info.mean, s2.info.std]).view(2, 1, 3, 1, 1) * 255
        if any(scale.height != scale.width for scale in s2.scales):
            raise InputError("training takes square scales; name a side in pixels, or 2x")

    def __call__(
        self, pixels: torch.Tensor, device: torch.device
    ) -> tuple[torch.Tensor, dict[Scale, torch.Tensor]]:
        """Dims (image, 3, side, side) uint8 to base images and raw ones, float32, normalised."""
        large = self.plain(pixels, device)
        sized = {scale: interpolate(large, scale.height, scale.width) for scale in self.raw}
        return interpolate(large, self.native, self.native), sized

    def plain(self, pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Normalise images without resizing them."""
        mean, std = self.moments.to(device)
        return (pixels.to(device, non_blocking=True).float() - mean) / std
