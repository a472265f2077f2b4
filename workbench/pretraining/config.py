"""What is trained, on which images, and how. Importing this module does not import torch.

The supervised defaults are those of a small vision transformer on ImageNet-1k. Source: Beyer et al.
(2022), arXiv 2205.01580, and big_vision's ``configs/vit_i21k.py`` and ``vit_s16_i1k.py``. The
defaults of self-distillation are those of DINOv2's ``ssl_default_config.yaml``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Literal

from feature_store.errors import (
    InputError,
    require_at_least,
    require_choices,
    require_positive,
)
from workbench.models.info import Arithmetic

Objective = Literal["supervised", "dinov2"]
Augment = Literal["auto", "none", "light1", "light2", "medium1", "medium2", "strong1", "strong2"]
AUGMENTATIONS: dict[str, tuple[int | None, float]] = {
    "none": (None, 0.0), "light1": (0, 0.0), "light2": (10, 0.2), "medium1": (15, 0.2),
    "medium2": (15, 0.5), "strong1": (20, 0.5), "strong2": (20, 0.8),
}  # fmt: skip
"""Name to the strength of RandAugment's two operations (None: no operation) and to mixup's alpha.
Source: big_vision's ``configs/vit_i21k.py``."""
BY_SIZE = ((10e6, "none"), (40e6, "light1"), (150e6, "light2"), (float("inf"), "medium2"))
"""Parameters below which a model gets an augmentation: Ti, S, B and L in the same source."""


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Model to train, its training images and its scales."""

    model: str
    """timm:NAME[:PIXELS], an architecture; its weights are random at first, never downloaded."""
    dataset: str
    """folder:DIR, csv:FILE, wds:URLS, tar:FILE, zip:FILE, parquet:FILES, hfdisk:DIR, lmdb:DIR,
    lerobot:DIR[#CAMERA], torchvision:NAME:SPLIT:ROOT, maps:NAME:SPLIT:ROOT (ade20k, cityscapes,
    voc, nyuv2, kitti), imagenet:NAME:ROOT (real, v2, r, a, objectnet), hf:NAME:SPLIT or
    bundled:NAME[:train|:test] (textiles, scenes, stereo, specks; photos, which are crops of only
    20 photographs)."""
    val: str | None = None
    """Images on which the model is evaluated during training."""
    limit: int | None = None
    """Use only the first N training images."""
    scales: tuple[str, ...] = ("1x",)
    """Scales of S2 in training. Larger ones are interpolated from the base image; supervised only,
    2x.raw resizes the crop of the original image instead."""
    objective: Objective = "supervised"
    """supervised: labels of the images; dinov2: self-distillation without labels."""
    epochs: float = 2.0
    """Passes over the training images; the last step completes a batch."""
    batch: int = 64
    """Images per step, over all devices."""
    seed: int = 0
    """Seed of the initial weights, the order of the images, and everything else that is random."""
    init: str | None = None
    """Name of a model whose weights the training starts from, instead of random weights."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_at_least(self, batch=1, limit=1, seed=0)
        require_positive(self, "epochs")
        if not self.model.startswith("timm:"):
            raise InputError(
                f"--model is {self.model!r}; name an architecture of timm, such as "
                f"timm:vit_small_patch16_224, and with --init the weights to start from"
            )
        if self.val == self.dataset:
            raise InputError(
                f"--val is {self.val!r}, the training images themselves; name other images, or "
                f"leave --val out"
            )
        if self.objective == "dinov2" and find_spec("lightly") is None:
            raise InputError(
                "--objective dinov2 needs the package lightly; run "
                "'bash scripts/setup.sh pretraining' in the clone"
            )

    def steps(self, images: int) -> int:
        """Number of steps with so many training images: whole batches, one at least.

        Rounds to whole images first: epochs may be a quotient that floating point cannot represent.

        Examples
        --------
        >>> one = PretrainConfig(model="timm:a", dataset="b", epochs=4032 / 1001, batch=4032)
        >>> one.epochs * 1001 > 4032, one.steps(1001)
        (True, 1)
        """
        return max(1, math.ceil(round(self.epochs * images) / self.batch))


@dataclass(frozen=True, kw_only=True)
class PretrainRecipe:
    """How a model is trained, for any objective."""

    learning_rate: float | None = None
    """Peak learning rate of AdamW; by default 1e-3 (supervised) or 4e-3 * sqrt(batch / 1024)
    (dinov2)."""
    weight_decay: float = 0.1
    """Supervised: weight decay of AdamW, on matrices only. Times the learning rate of 1e-3 it is
    the published 1e-4."""
    warm_up: float = 0.05
    """Supervised: share of the steps in which the learning rate rises; then it follows a cosine to
    0. dinov2: a tenth, as published."""
    loss: Literal["softmax", "sigmoid"] = "softmax"
    """Supervised: cross-entropy over all classes, or for each class by itself."""
    augment: Augment = "auto"
    """Supervised: strength of RandAugment and mixup; auto chooses it by the model's size."""
    min_crop: float = 0.05
    """Supervised: smallest share of an image that a random crop covers."""
    ema: float = 0.999
    """Supervised: decay of the moving average of the weights, which is evaluated and saved; 0 saves
    the last weights."""
    drop_path: float = 0.0
    """Share of residual branches that training drops at random."""
    arithmetic: Arithmetic = "fp32"
    """Arithmetic of the forward pass."""
    parts: int = 1
    """Parts of a batch that run one after another, with averaged gradients, to save memory. Losses
    of dinov2 compare the images of one part."""
    recompute: bool = False
    """Recompute activations in the backward pass: memory then holds one crop per image."""
    compile: bool = False
    """Compile the model (torch.compile)."""
    workers: int = 1
    """Processes that decode and augment; 0 uses the training process. The number does not affect
    results."""
    tensorboard: bool = False
    """Also write metrics and evaluations for TensorBoard, into the run's folder."""
    device: str = "auto"
    """auto (cuda if available), cpu or cuda; with torchrun, one GPU per process."""

    def __post_init__(self) -> None:
        require_choices(self)
        if self.arithmetic == "fp16":
            raise InputError("arithmetic fp16 has too small a range for training; choose bf16")
        require_at_least(self, parts=1, workers=0, weight_decay=0)
        require_positive(self, "learning_rate", "min_crop")
        for name in ("warm_up", "ema", "drop_path", "min_crop"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name):g}; expected 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Options of self-distillation; defaults as in DINOv2, except for the number of prototypes."""

    prototypes: int = 4096
    """Outputs of the heads; 65536 as published. The loss of untrained heads is ln(prototypes)."""
    hidden: int = 2048
    """Width of the heads."""
    local_crops: int = 8
    """Small crops of each image, beside its two large crops."""
    local_pixels: float = 96 / 224
    """Side of the small crops as a share of the native size, not in pixels (96 / 224 as published);
    rounded to whole patches."""
    centring: Literal["mean", "sinkhorn"] = "mean"
    """How the teacher's outputs are kept from collapsing: by a moving mean, or by balanced
    assignment within a batch."""
    koleo: float = 0.1
    """Weight of the loss that spreads the features of a batch."""
    weight_decay_end: float = 0.4
    """Weight decay at the last step; it rises from 0.04 along a cosine."""
    momentum: float = 0.992
    """Momentum of the teacher at the first step; it rises to 1 along a cosine."""
    layer_decay: float = 0.9
    """Factor on the learning rate from each layer to the layer before it."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_at_least(self, prototypes=2, hidden=1, local_crops=0, koleo=0, weight_decay_end=0)
        for name in ("local_pixels", "momentum", "layer_decay"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name):g}; expected above 0, at most 1")


IDLE: dict[str, tuple[str, ...]] = {
    "supervised": tuple(field.name for field in fields(Distillation)),
    "dinov2": ("weight_decay", "warm_up", "loss", "augment", "min_crop", "ema"),
}
"""Objective to the options that change nothing with it."""


def refuse_idle(config: PretrainConfig, recipe: PretrainRecipe, asked: Distillation) -> None:
    """Refuse an option that changes nothing with the objective, unless it has its default."""
    for options in (recipe, asked):
        for field in fields(options):
            value = getattr(options, field.name)
            if field.name in IDLE[config.objective] and value != field.default:
                raise InputError(
                    f"--{field.name.replace('_', '-')} is {value}, which changes nothing with "
                    f"--objective {config.objective}; leave out one or the other"
                )


def check_batch(config: PretrainConfig, recipe: PretrainRecipe, devices: int) -> None:
    """Refuse a batch that does not divide into equal parts for every device."""
    each = devices * recipe.parts
    if config.batch < devices:
        raise InputError(
            f"--batch is {config.batch} for {devices} devices; expected at least one image per "
            f"device: choose a larger batch or fewer devices"
        )
    if config.batch % each:
        raise InputError(
            f"--batch is {config.batch} for {devices} device(s) and {recipe.parts} part(s); "
            f"expected a multiple of {each}"
        )
