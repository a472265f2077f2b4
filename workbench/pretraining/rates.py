"""Learning rates that decrease towards earlier layers, as in DINOv2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

PATCHES = 0.2
"""Factor on the learning rate of the patch embedding."""


def groups(student: nn.Module, rate: float, decay: float) -> Iterator[dict[str, Any]]:
    """Yield one optimiser group for each trained parameter.

    Parameters
    ----------
    student : Module
        Has a model of timm at ``s2.model``.
    rate : float
        Learning rate of the last layer; schedules multiply it by each group's ``lr_scale``.
    decay : float
        Factor from each layer to the layer before it.

    Yields
    ------
    dict
        An optimiser group with the further keys ``lr_scale`` (a factor in timm's schedules),
        ``decays`` (true for matrices) and ``last`` (true for the prototypes).
    """
    depth = len(getattr(student.s2.model, "blocks", ()))  # type: ignore[union-attr, arg-type]
    for name, parameter in student.named_parameters():
        if not parameter.requires_grad:
            continue
        yield {
            "params": [parameter], "lr": rate, "lr_scale": rate_factor(name, depth, decay),
            "decays": parameter.ndim > 1, "last": "last_layer" in name,
        }  # fmt: skip


def rate_factor(name: str, depth: int, decay: float) -> float:
    """Factor on a parameter's learning rate; smaller for earlier layers.

    Examples
    --------
    >>> rate_factor("s2.model.blocks.11.attn.qkv.weight", 12, 0.9), rate_factor("head.a", 12, 0.9)
    (0.9, 1.0)
    """
    block = re.search(r"\.blocks\.(\d+)\.", name)
    if block:
        return decay ** (depth - int(block[1]))
    if "patch_embed" in name:
        return PATCHES * decay ** (depth + 1)
    early = any(word in name for word in ("pos_embed", "cls_token", "reg_token"))
    return decay ** (depth + 1) if early else 1.0
