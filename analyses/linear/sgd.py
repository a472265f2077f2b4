"""Linear softmax head trained for a fixed number of epochs of minibatches (the paper's recipe)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from analyses.linear.head import Head
from analyses.reading.pooled import FeatureRows
from feature_store import InputError


@dataclass(frozen=True, kw_only=True)
class MinibatchConfig:
    """Epochs, learning rate and batch size are those of Shi et al. (2024), appendix A."""

    epochs: int = 30
    """Passes over the training images."""
    learning_rate: float = 5e-4
    """Constant; the paper names no schedule."""
    batch: int = 512
    """Images per step."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """The paper names none; sgd has momentum 0.9."""
    device: str = "cpu"
    """Torch device."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "learning_rate"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} must be positive, got {getattr(self, name)}")
        if self.optimizer not in ("adam", "sgd"):
            raise InputError(f"optimizer is {self.optimizer!r}; choose adam or sgd")


def fit_minibatch(
    rows: FeatureRows, labels: np.ndarray, classes: int, config: MinibatchConfig, seed: int
) -> Head:
    """Minimise mean cross-entropy from zero weights, with all rows in memory as float32.

    Parameters
    ----------
    rows : FeatureRows
        Dims (image, channel), not standardised.
    labels : int array, dims (image,)
        0 to classes - 1.
    classes : int
    config : MinibatchConfig
    seed : int
        Seed of the order of the images, which changes with every epoch.
    """
    x = torch.from_numpy(rows.load()).to(config.device)
    y = torch.as_tensor(labels, dtype=torch.int64, device=config.device)
    weight = torch.zeros(rows.shape[1], classes, device=config.device, requires_grad=True)
    bias = torch.zeros(classes, device=config.device, requires_grad=True)
    if config.optimizer == "adam":
        steps: torch.optim.Optimizer = torch.optim.Adam([weight, bias], config.learning_rate)
    else:
        steps = torch.optim.SGD([weight, bias], config.learning_rate, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(config.epochs):
        order = torch.randperm(len(y), generator=generator).to(config.device)
        for part in order.split(config.batch):
            loss = torch.nn.functional.cross_entropy(x[part] @ weight + bias, y[part])
            steps.zero_grad()
            loss.backward()
            steps.step()
    return Head(weight.detach().double().cpu().numpy(), bias.detach().double().cpu().numpy())
