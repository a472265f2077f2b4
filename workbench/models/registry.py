"""Models of every family by name: `resolve` without weights, `load` with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from feature_store.errors import InputError
from workbench.models import bundled, checkpoints, open_clip_family, timm_family, trained
from workbench.models.aliases import full_name
from workbench.models.backbone import Backbone
from workbench.models.folding import folded
from workbench.models.info import Architecture, BackboneInfo, ModelInfo
from workbench.models.names import ModelName, unknown
from workbench.models.readout import UNRUNNABLE

FAMILIES: dict[str, Callable[[ModelName], Architecture]] = {
    "bundled": bundled.build,
    "timm": timm_family.build,
    "open_clip": open_clip_family.build,
    "file": checkpoints.build,
    "run": trained.build,
}
"""Kind of name → what builds its architecture."""


def resolve(name: str, tap: str | None = None) -> BackboneInfo:
    """Everything about a model that can be known without its weights.

    The architecture is built on the meta device and run once on shapes alone; no weights are read
    or fetched.

    Raises
    ------
    InputError
        Unknown model (the nearest names are offered) or tap (the model's taps are listed).
    """
    name = full_name(name)
    return _inspect(name, check_tap(name, build(name), tap))


def build(name: str) -> Architecture:
    """The architecture behind a name, on the meta device, without weights."""
    return _built(full_name(name))


@lru_cache(maxsize=64)
def _built(name: str) -> Architecture:
    parsed = ModelName.parse(name)
    try:
        built = FAMILIES[parsed.kind](parsed)
    except InputError:
        raise
    except UNRUNNABLE as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{name} cannot be described without its weights ({reason}); it is not supported"
        ) from error
    built.module.requires_grad_(False)  # or operation counters attach hooks
    return built


def load(
    name: str,
    *,
    device: str | torch.device = "cpu",
    tap: str | None = None,
    arithmetic: str = "fp32",
) -> Backbone:
    """Build a model with its weights, in evaluation mode, on a device.

    Parameters
    ----------
    name : str
        A model name, such as ``bundled:efficientnet_lite0``.
    device : str or torch.device
        Where to run.
    tap : str, optional
        Where to read; the model's default tap if None.
    arithmetic : str
        ``fp32``, or autocast to ``bf16`` or ``fp16``.

    Raises
    ------
    InputError
        As :func:`resolve`; also weights that cannot be fetched, read or fitted.
    """
    info = resolve(name, tap)  # refuse cheaply before any weight is read
    name, built = info.name, build(name)
    module, revision = built.load()
    module = module.eval().requires_grad_(False)
    runs: Any = folded(module, lambda part: built.reader(part, info.tap), info.native)
    for part in (runs, module):
        part.to(device)
        if info.convnet:
            _channels_last(part)
    return Backbone(
        info=replace(info, revision=revision),
        module=module,
        runs=runs,
        read=built.reader(runs, info.tap),
        device=torch.device(device),
        arithmetic=arithmetic,
    )


def _channels_last(module: nn.Module) -> None:
    """Lay the weights of 2-D convolutions out as convnets run fastest.

    Not ``module.to(memory_format=...)``: it fails on weights of five dims (lambda layers).
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@lru_cache
def grid_at(info: BackboneInfo, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the map when one image of ``height`` x ``width`` runs whole.

    Raises
    ------
    InputError
        The model cannot run at that size.
    """
    if not info.convnet:
        return height // info.stride, width // info.stride
    built = build(info.name)
    read = built.reader(built.module, info.tap)
    try:
        with torch.inference_mode():
            _, rows, cols, _ = read(torch.empty((1, 3, height, width), device="meta")).map.shape
    except UNRUNNABLE as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{info.name} cannot run at {height} x {width} ({reason[:120]}); choose a larger "
            f"size, or multiples of its native {info.native}"
        ) from error
    return rows, cols


@lru_cache(maxsize=256)
def _inspect(name: str, tap: str) -> BackboneInfo:
    built = build(name)
    shape = (1, 3, built.native, built.native)
    try:
        with torch.inference_mode():
            tokens = built.reader(built.module, tap)(torch.empty(shape, device="meta"))
    except UNRUNNABLE as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:200]
        others = ", ".join(t for t in built.taps if t != tap) or "none"
        raise InputError(
            f"{name} cannot be read at {tap} ({reason}); its other taps: {others}"
        ) from error
    _, rows, cols, channels = tokens.map.shape
    return BackboneInfo(
        **{field.name: getattr(built, field.name) for field in fields(ModelInfo)},
        name=name,
        tap=tap,
        grid=(rows, cols),
        channels=channels,
        prefix=tokens.prefix.shape[1],
        stride=built.native // rows,
        pretrained=not name.startswith("random:"),
        flexible=_is_flexible(name, built, tap, (rows, cols)),
        params=sum(p.numel() for p in built.module.parameters()),
    )


def check_tap(name: str, built: Architecture, tap: str | None) -> str:
    """The tap asked for, or the default one.

    Raises
    ------
    InputError
        Not a tap of this model; the message gives the reason if one is known.
    """
    if tap is None:
        return built.taps[0]
    if tap in built.taps:
        return tap
    if tap in built.missing:
        raise InputError(
            f"{name} has no tap {tap!r}: {built.missing[tap]}; use #{built.taps[0]} or another of "
            f"{', '.join(built.taps)}"
        )
    raise unknown(f"tap of {name}:", tap, built.taps)


def _is_flexible(name: str, built: Architecture, tap: str, grid: tuple[int, int]) -> bool:
    """Whether twice the native size gives a larger map than ``grid`` (tried on shapes alone).

    A tap that gives one vector is as flexible as the default tap. CrossViT shrinks larger images to
    its native size: it runs on them, and it is not flexible.
    """
    side = 2 * built.native
    try:
        with torch.inference_mode():
            larger = built.reader(built.module, tap)(torch.empty((1, 3, side, side), device="meta"))
    except UNRUNNABLE:
        return False
    if grid == (1, 1):
        return tap == built.taps[0] or _inspect(name, built.taps[0]).flexible
    return larger.map.shape[1] > grid[0]
