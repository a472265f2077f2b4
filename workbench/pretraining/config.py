"""What is trained, on which images, and how; in a module that is known without torch.

The defaults of the supervised recipe are those of a small vision transformer on ImageNet-1k.
Source: Beyer et al. (2022), arXiv 2205.01580, and big_vision's ``configs/vit_i21k.py`` and
``vit_s16_i1k.py``. Those of self-distillation are DINOv2's ``ssl_default_config.yaml``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from feature_store.errors import InputError, require_at_least, require_choices
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
    """Which model is trained on which images, at which scales."""

    model: str
    """timm:NAME[:PIXELS], an architecture whose weights start at random; nothing is downloaded."""
    dataset: str
    """folder:DIR, csv:FILE, wds:URLS, tar:FILE, zip:FILE, parquet:FILES, hfdisk:DIR, lmdb:DIR,
    lerobot:DIR[#CAMERA], torchvision:NAME:SPLIT:ROOT, maps:NAME:SPLIT:ROOT (ade20k, cityscapes,
    voc, nyuv2, kitti), hf:NAME:SPLIT or bundled:NAME[:train|:test] (textiles, scenes,
    stereo, specks; photos, which are crops of only 20 photographs)."""
    val: str | None = None
    """Images on which the model is evaluated as it trains."""
    limit: int | None = None
    """Only the first so many training images."""
    scales: tuple[str, ...] = ("1x",)
    """Scales of S2 in training. Larger ones are interpolated from the base image; 2x.raw resizes
    the crop of the original image instead."""
    objective: Objective = "supervised"
    """supervised: labels of the images; dinov2: self-distillation without labels."""
    epochs: float = 2.0
    """Passes over the training images; the last step completes a batch."""
    batch: int = 64
    """Images of a step, over all devices."""
    seed: int = 0
    """Of the initial weights, the order of the images, and all else that is random."""
    init: str | None = None
    """Model name whose weights the training starts from, instead of at random."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_at_least(self, batch=1, limit=1)
        if self.epochs <= 0:
            raise InputError(f"epochs must be positive, got {self.epochs:g}")
        if not self.model.startswith("timm:"):
            raise InputError(
                f"--model is {self.model!r}; name an architecture of timm, such as "
                f"timm:vit_small_patch16_224, and with --init the weights to start from"
            )
        if self.val == self.dataset:
            raise InputError(
                f"--val is {self.val!r}, the training images themselves; expected images that the "
                f"model does not see: name others, or leave --val out"
            )
        if self.objective == "dinov2" and find_spec("lightly") is None:
            raise InputError(
                "--objective dinov2 needs the package lightly; pip install "
                "'s2-workbench[pretraining]'"
            )


@dataclass(frozen=True, kw_only=True)
class PretrainRecipe:
    """How a model is trained, whatever the objective."""

    learning_rate: float | None = None
    """Peak of AdamW's; by default 1e-3 (supervised), or 4e-3 times the root of batch / 1024
    (dinov2)."""
    weight_decay: float = 0.1
    """Of AdamW, on matrices only (supervised): the published 1e-4, which is not multiplied by the
    learning rate of 1e-3."""
    warm_up: float = 0.05
    """Share of the steps in which the learning rate rises; then it falls along a cosine."""
    loss: Literal["softmax", "sigmoid"] = "softmax"
    """Supervised: cross-entropy over the classes, or of each class by itself."""
    augment: Augment = "auto"
    """Supervised: RandAugment and mixup of this strength; auto takes it by the model's size."""
    min_crop: float = 0.05
    """Supervised: smallest share of an image that a random crop covers."""
    ema: float = 0.999
    """Supervised: decay of the average of the weights, which is evaluated and kept; 0 keeps the
    last weights."""
    drop_path: float = 0.0
    """Share of residual branches that are dropped at random."""
    arithmetic: Arithmetic = "fp32"
    """Arithmetic of the forward pass."""
    parts: int = 1
    """Parts of a batch that run one after another; their gradients are averaged."""
    recompute: bool = False
    """Compute activations again in the backward pass: memory then grows with one crop per image."""
    compile: bool = False
    """Compile the model (torch.compile)."""
    workers: int = 1
    """Processes that decode and augment; 0 does it between the steps. Results do not depend on
    it."""
    tensorboard: bool = False
    """Also write metrics and evaluations for TensorBoard, into the run's folder."""
    device: str = "auto"
    """auto (cuda where there is one), cpu, cuda; with torchrun one GPU for each process."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_at_least(self, parts=1, workers=0)
        for name in ("learning_rate", "min_crop"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"{name} must be positive, got {value:g}")
        for name in ("warm_up", "ema", "drop_path", "min_crop"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name):g}; expected 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Options of self-distillation, as DINOv2 publishes them but for the number of prototypes."""

    prototypes: int = 4096
    """Outputs of the heads; 65536 as published. Untrained heads lose ln(prototypes)."""
    hidden: int = 2048
    """Width of the heads."""
    local_crops: int = 8
    """Small crops of each image beside its two large ones."""
    local_pixels: float = 96 / 224
    """Side of the small crops over the native size, rounded to whole patches."""
    centring: Literal["mean", "sinkhorn"] = "mean"
    """What keeps the teacher's outputs apart: a moving mean, or balanced assignment in a batch."""
    koleo: float = 0.1
    """Weight of the loss that spreads the features of a batch."""
    weight_decay_end: float = 0.4
    """Weight decay at the last step, along a cosine from 0.04."""
    momentum: float = 0.992
    """Of the teacher at the first step, along a cosine to 1."""
    layer_decay: float = 0.9
    """Factor of the learning rate from one layer to the one before it."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_at_least(self, prototypes=2, hidden=1, local_crops=0)
