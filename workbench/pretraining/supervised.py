"""Supervised pre-training: S2 and a linear head on its mean token, trained together.

Source of the recipe: Beyer et al. (2022), arXiv 2205.01580, and Steiner et al. (2022), "How to
train your ViT?", as in big_vision. AdamW, schedule, mixup, losses and the moving average of the
weights come from timm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from feature_store.errors import InputError
from workbench.datasets import Dataset
from workbench.multiscale import S2
from workbench.multiscale.scale import Scale
from workbench.pretraining.backbone import Inputs, augmentation
from workbench.pretraining.config import PretrainConfig, PretrainRecipe
from workbench.pretraining.evaluation import EvaluationImages, evaluated, low_rank
from workbench.pretraining.images import Views, supervised_views
from workbench.training import ranks
from workbench.training.batches import Batches
from workbench.training.trained import Trained

RATE = 1e-3
"""Peak learning rate as published."""


class Classifier(nn.Module):
    """S2 and a linear head on its mean token.

    Parameters
    ----------
    loss : str
        ``softmax`` or ``sigmoid``. The bias of a sigmoid head starts at the log odds of one class
        among all: -10 for 21,843 classes.
    """

    def __init__(self, s2: S2, classes: int, loss: str) -> None:
        super().__init__()
        self.s2 = s2
        self.head = nn.Linear(len(s2.scales) * s2.info.channels, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, -math.log(classes - 1) if loss == "sigmoid" else 0.0)

    def forward(self, base: torch.Tensor, raw: Mapping[Scale, torch.Tensor]) -> torch.Tensor:
        """From normalised images, dims (image, 3, row, col), to scores, dims (image, class)."""
        return self.head(self.s2(base, raw).map.mean((1, 2)))

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that timm's optimiser does not decay, besides vectors: position
        embeddings and class token."""
        own: set[str] = getattr(self.s2.backbone().module, "no_weight_decay", set)()
        return {name for name, _ in self.named_parameters() if name.rpartition(".")[2] in own}


class Supervised(nn.Module):
    """The classifier and the moving average of its weights: the content of a checkpoint."""

    def __init__(
        self, s2: S2, classes: int, config: PretrainConfig, recipe: PretrainRecipe
    ) -> None:
        from timm.loss import BinaryCrossEntropy, SoftTargetCrossEntropy
        from timm.utils import ModelEmaV3

        super().__init__()
        self.classes, self.recipe = classes, recipe
        self.net = Classifier(s2, classes, recipe.loss)
        self.average = (
            ModelEmaV3(self.net, decay=recipe.ema, use_warmup=True) if recipe.ema else None
        )
        self.inputs = Inputs(s2)
        self.magnitude, self.mixup = augmentation(recipe, s2.info)
        sigmoid = recipe.loss == "sigmoid"
        self.criterion = (
            BinaryCrossEntropy(smoothing=0.0, sum_classes=True)
            if sigmoid
            else SoftTargetCrossEntropy()
        )
        if self.mixup and config.batch // ranks.count() // recipe.parts % 2:
            raise InputError(
                f"mixup pairs the images of a batch: found {config.batch} images over "
                f"{ranks.count()} device(s) in {recipe.parts} part(s), expected an even number per "
                f"part; choose another --batch, or --augment none"
            )

    @property
    def best(self) -> Classifier:
        """The classifier to evaluate."""
        return self.net if self.average is None else self.average.module

    @property
    def kept(self) -> S2:
        """The model to save."""
        return self.best.s2

    def views(self) -> Views:
        """The augmentation of training images."""
        return supervised_views(self.inputs.side, self.recipe.min_crop, self.magnitude)

    def evaluate(self, images: EvaluationImages, batch: int) -> dict[str, float]:
        """Values of evaluation.csv, for the classifier to save."""
        return evaluated(self.kept, self.inputs, images, batch, self.best.head)

    remedy = "a lower learning rate"
    """What helps against a collapse."""

    def collapse(self, found: dict[str, float]) -> str:
        """Signs that the features have collapsed; empty if there are none.

        Two classes need no more than one dimension.
        """
        return low_rank(found["effective_rank"]) if self.classes > 2 else ""

    def trained(self, batches: Batches, config: PretrainConfig, steps: int) -> Trained:
        """Everything that the training loop needs."""
        from timm.data import Mixup
        from timm.optim import create_optimizer_v2
        from timm.scheduler import CosineLRScheduler

        recipe = self.recipe
        rate = recipe.learning_rate or RATE
        optimizer = create_optimizer_v2(
            self.net, opt="adamw", lr=rate, weight_decay=recipe.weight_decay
        )
        schedule = CosineLRScheduler(
            optimizer, t_initial=steps, warmup_t=max(1, round(recipe.warm_up * steps)),
            warmup_lr_init=rate / 1000, t_in_epochs=False,
        )  # fmt: skip
        mix = Mixup(mixup_alpha=self.mixup, num_classes=self.classes, label_smoothing=0.0)
        run = ranks.parallel(self.net)

        def loss(part: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
            pixels, labels = part
            device = next(self.net.parameters()).device
            pixels, labels = pixels.to(device, non_blocking=True).float(), labels.to(device)
            targets = nn.functional.one_hot(labels, self.classes).float()
            if self.mixup:  # of the crops, before they are resized to any scale
                pixels, targets = mix(pixels, labels)
            base, raw = self.inputs(pixels, device)
            return self.criterion(run(base, raw).float(), targets), {}

        def update(step: int) -> None:
            if self.average is not None:
                self.average.update(self.net, step=step)

        return Trained(
            model=self, optimizer=optimizer, read=batches.read, loss=loss,
            before=lambda step: schedule.step_update(step - 1),
            parts=lambda batch: split(*batches.ready(batch), recipe.parts),
            after=update, images=config.batch,
        )  # fmt: skip


def split(views: Any, labels: torch.Tensor, parts: int) -> list[tuple[Any, torch.Tensor]]:
    """Split a batch into equal parts."""
    if isinstance(views, torch.Tensor):
        return list(zip(views.chunk(parts), labels.chunk(parts), strict=True))
    each = [split(view, labels, parts) for view in views]
    return [([one[k][0] for one in each], each[0][k][1]) for k in range(parts)]


def require_labels(dataset: Dataset) -> None:
    """Refuse a dataset with unlabelled images or fewer than two classes."""
    without = int((dataset.labels < 0).sum())
    if without:
        raise InputError(
            f"{without} of {len(dataset)} images of {dataset.name} have no label; --objective "
            f"supervised needs a label for each: name a labelled dataset, or use --objective "
            f"dinov2"
        )
    classes = len(set(dataset.labels.tolist()))
    if classes < 2:
        raise InputError(
            f"the images of {dataset.name} have {classes} class; --objective supervised needs at "
            f"least 2: name other images, or a larger --limit"
        )
