"""Parameters, multiply-accumulates and bytes of a source, counted on shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

import pandas as pd
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from feature_store.errors import InputError
from workbench import models
from workbench.models import registry
from workbench.multiscale import Scale, ScalePlan, plan_scale, resolve_scales

BYTES_PER_VALUE = {"float16": 2, "float32": 4}


@dataclass(frozen=True, kw_only=True)
class Macs:
    """Multiply-accumulates of one forward pass; half of the floating-point operations.

    Norms, activations, softmax and pooling are not counted, as in every published figure.
    """

    linear: int
    """In convolutions and matrix products with weights."""
    attention: int
    """In the two products of activations with activations: queries × keys, weights × values."""

    @property
    def total(self) -> int:
        """Both together."""
        return self.linear + self.attention


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of one source (one model at one tap, at one or several scales) per image."""

    model: str
    """Model name."""
    tap: str
    """Where features are read; layers behind the tap are not counted."""
    scales: tuple[str, ...]
    """Scales in pixels."""
    params: int
    """Parameters of the image model without its classification head."""
    gmacs: float
    """Multiply-accumulates per image in 1e9, over all crops of all scales."""
    tokens: int
    """Spatial positions of the source's map."""
    channels: int
    """Channels after concatenation over scales."""
    bytes_per_image: int
    """Bytes stored per image: every scale's map and prefix tokens."""
    dtype: str
    """Stored dtype behind ``bytes_per_image``."""
    per_scale: tuple[dict[str, Any], ...]
    """For each scale: crops, gmacs, grid and bytes."""

    def _repr_html_(self) -> str:
        facts = (
            f"{self.params / 1e6:.1f} M parameters, {self.gmacs:.2f} GMACs per image, "
            f"{self.tokens} tokens of {self.channels} channels, "
            f"{self.bytes_per_image:,} bytes ({self.dtype})"
        )
        name = escape(f"{self.model}#{self.tap}@{'+'.join(self.scales)}")
        scales = pd.DataFrame(self.per_scale).to_html(index=False)
        return f"<div><b>{name}</b><br>{facts}{scales}</div>"


def cost(
    model: str, scales: Sequence[str], *, tap: str | None = None, dtype: str = "float16"
) -> Cost:
    """Count the cost of a source, without reading weights and without running it.

    MACs of a split scale are those of one crop times the number of crops, so a source at
    (1x, 2x, 3x) costs 1 + 4 + 9 = 14 crops. Scales are pixels (``448``, ``448.whole``) or multiples
    of native (``2x``); features are read at `tap`, or the model's default, and stored as `dtype`,
    float16 or float32.

    Raises
    ------
    InputError
        Unknown model, tap or dtype, or a scale this model cannot run.
    """
    info = models.resolve(model, tap)
    plans = [plan_scale(Scale.parse(text), info) for text in resolve_scales(scales, info.native)]
    rows = tuple(_scale_row(info, plan, dtype) for plan in plans)
    return Cost(
        model=model,
        tap=info.tap,
        scales=tuple(row["scale"] for row in rows),
        params=params(model),
        gmacs=sum(row["gmacs"] for row in rows),
        tokens=max(plan.grid[0] * plan.grid[1] for plan in plans),
        channels=info.channels * len(plans),
        bytes_per_image=sum(row["bytes"] for row in rows),
        dtype=dtype,
        per_scale=rows,
    )


def _scale_row(info: models.BackboneInfo, plan: ScalePlan, dtype: str) -> dict[str, Any]:
    if dtype not in BYTES_PER_VALUE:
        raise InputError(f"dtype {dtype!r}; expected one of {', '.join(BYTES_PER_VALUE)}")
    tokens = plan.grid[0] * plan.grid[1] + info.prefix
    return {
        "scale": str(plan.scale),
        "crops": plan.crops_per_image,
        "gmacs": plan.crops_per_image * macs(info.name, info.tap, *plan.crop).total / 1e9,
        "grid": list(plan.grid),
        "bytes": tokens * info.channels * BYTES_PER_VALUE[dtype],
    }


@lru_cache(maxsize=256)
def macs(model: str, tap: str, height: int, width: int) -> Macs:
    """Multiply-accumulates of one forward pass on one ``height`` x ``width`` image.

    Counted by running the architecture on the meta device with attention written out as matrix
    products, so that none of it is hidden in a fused kernel.
    """
    built = registry.build(model)
    read = built.reader(built.module, tap)
    x = torch.empty((1, 3, height, width), device="meta")
    with (
        torch.inference_mode(),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        read(x)
    per_operator = counter.get_flop_counts()["Global"]
    flops = {str(operator): count for operator, count in per_operator.items()}
    attention = sum(count for name, count in flops.items() if "bmm" in name or "attention" in name)
    return Macs(linear=(sum(flops.values()) - attention) // 2, attention=attention // 2)


def params(model: str) -> int:
    """Parameters of the image model without its classification head."""
    module = registry.build(model).module
    module = getattr(module, "trunk", module)
    total = sum(p.numel() for p in module.parameters())
    heads = module.get_classifier() if hasattr(module, "get_classifier") else None
    if not isinstance(heads, tuple):  # models with a distillation head have two
        heads = (heads,)
    return total - sum(p.numel() for head in heads if head is not None for p in head.parameters())
