"""Batch norms folded into the convolutions before them: the same features, less memory traffic."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval
from torch.utils.weak import WeakIdKeyDictionary

from workbench.models.info import Tokens

Reader = Callable[[torch.Tensor], Tokens]

TOLERANCE = 1e-4
"""Largest difference of the folded features relative to the largest feature. Rounding gives about
1e-5; a convolution that feeds more than its batch norm gives far more."""


@torch.no_grad()
def folded(module: nn.Module, reader: Callable[[nn.Module], Reader], side: int) -> nn.Module:
    """A copy of a frozen module with every foldable batch norm gone, or the module itself.

    In evaluation a batch norm is a fixed scale and shift per channel, so a convolution can carry
    it in its own weights. One forward pass shows which convolution feeds which batch norm; both
    modules then run on the same noise, and the copy is used only if they agree.

    Parameters
    ----------
    module : nn.Module
        Module on the CPU, in float32 and in evaluation mode; it is not changed.
    reader : callable
        Turns a module into a function that runs it on (image, 3, height, width) float32.
    side : int
        Pixels of the square crop to try it on.
    """
    if not any(isinstance(part, nn.BatchNorm2d) for part in module.modules()):
        return module
    noise = torch.randn((1, 3, side, side), generator=torch.Generator().manual_seed(0))
    twin = copy.deepcopy(module)
    pairs = _pairs(twin, lambda: reader(twin)(noise))
    if not pairs:
        return module
    for conv, norm in pairs:
        below: Any = twin.get_submodule(conv)
        above: Any = twin.get_submodule(norm)
        twin.set_submodule(conv, fuse_conv_bn_eval(below, above).requires_grad_(False))
        # timm's batch norms contain a dropout and an activation of their own.
        rest = [part for part in above.children() if not isinstance(part, nn.Identity)]
        twin.set_submodule(norm, nn.Sequential(*rest))
    expected, found = reader(module)(noise).map, reader(twin)(noise).map
    agree = (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
    return twin if agree else module


def _pairs(module: nn.Module, run: Callable[[], object]) -> list[tuple[str, str]]:
    """Names of (convolution, batch norm) where the norm's input is the convolution's output."""
    outputs = WeakIdKeyDictionary()  # weak: all maps of a large network together fill gigabytes
    found: list[tuple[str, str]] = []

    def leaves(name: str) -> Callable:
        return lambda _, inputs, output: outputs.__setitem__(output, name)

    def enters(name: str) -> Callable:
        def look(_: nn.Module, inputs: tuple) -> None:
            if inputs[0] in outputs:
                found.append((outputs[inputs[0]], name))

        return look

    hooks = []
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            hooks.append(part.register_forward_hook(leaves(name)))
        elif isinstance(part, nn.BatchNorm2d):
            hooks.append(part.register_forward_pre_hook(enters(name)))
    run()
    for hook in hooks:
        hook.remove()
    return [pair for pair in found if _once(pair[0], found, 0) and _once(pair[1], found, 1)]


def _once(name: str, pairs: list[tuple[str, str]], side: int) -> bool:
    """Whether a module is in one pair only; one that runs twice cannot absorb its neighbour."""
    return sum(pair[side] == name for pair in pairs) == 1
