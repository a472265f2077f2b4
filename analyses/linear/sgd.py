"""Linear softmax head trained for a fixed number of epochs of minibatches (the paper's recipe)."""

from __future__ import annotations

import numpy as np
import torch

from analyses.linear.config import MinibatchConfig
from analyses.linear.head import Head
from analyses.reading.pooled import FeatureRows


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
