"""Where timm models can be read, found by running them on shapes, and how each tap is read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.models import readout
from workbench.models.info import Tokens


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Facts that one forward pass on shapes alone shows of a timm module."""

    axes: int
    """Axes of the output of ``forward_features``: 4 map, 3 sequence, 2 vector, 0 no tensor."""
    reductions: tuple[int, ...]
    """Pixels per token of each block or stage, as timm records them; empty if it does not."""
    bare: bool
    """True: the head receives the last stage's output as it is."""
    refused: dict[str, str]
    """``final`` and ``pre_logits`` where they cannot be read, with the reason."""

    @property
    def uniform(self) -> bool:
        """A plain transformer: every block works on the same grid of tokens."""
        return self.axes == 3 and len(set(self.reductions)) == 1


@torch.inference_mode()
def probe(module: Any, native: int, name: str) -> Shape:
    """Run a module on the meta device once."""
    x = torch.empty((1, 3, native, native), device="meta")
    reductions: tuple[int, ...] = ()
    last = None
    if hasattr(module, "forward_intermediates") and getattr(module, "feature_info", None):
        reductions = tuple(info["reduction"] for info in module.feature_info)
        final, [last] = module.forward_intermediates(x, indices=[len(reductions) - 1])
    else:
        final = module.forward_features(x)
    readers = {
        "final": lambda: _lay_out(module, x, final, name),
        "pre_logits": lambda: _pooled(module, final, name),
    }
    refused = {tap: reason for tap, read in readers.items() if (reason := _refusal(read, name))}
    return Shape(
        axes=final.ndim if isinstance(final, torch.Tensor) else 0,
        reductions=reductions,
        bare=final is last,
        refused=refused,
    )


def _refusal(read: Callable[[], Tokens], name: str) -> str | None:
    """Why a tap cannot be read; None if it can."""
    try:
        read()
    except InputError as error:
        return f"it {str(error).removeprefix(f'{name} ').removeprefix('the model ')}"
    except readout.UNRUNNABLE as error:
        return f"it fails there ({' '.join(str(error).split())[:120]})"
    return None


def find_taps(module: Any, shape: Shape, name: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Taps of a timm model, default first, and the expected ones it lacks with the reason.

    Plain transformers: ``final`` (after the last norm), ``block:N``, ``pre_logits``. Others:
    ``blocks`` (output of the last block), ``final`` where something follows the last block (a
    norm, a head convolution), ``stage:N``, ``pre_logits``. Taps that the probe could not read are
    left out.

    Raises
    ------
    InputError
        No tap can be read.
    """
    taps, missing = _expected_taps(module, shape)
    missing = shape.refused | missing
    taps = tuple(tap for tap in taps if tap not in missing)
    if not taps:
        raise InputError(f"{name} has no tap that can be read: {'; '.join(missing.values())}")
    return taps, missing


def _expected_taps(module: Any, shape: Shape) -> tuple[tuple[str, ...], dict[str, str]]:
    depth = len(shape.reductions)
    if shape.uniform:
        blocks = [f"block:{n}" for n in reversed(range(depth))]
        if isinstance(getattr(module, "norm", None), torch.nn.Identity):
            reason = "it normalises after pooling, so its tokens have no final norm"
            return (*blocks, "pre_logits"), {"final": reason}
        return ("final", *blocks, "pre_logits"), {}
    if shape.axes == 2:
        return ("pre_logits",), {"final": "it returns one vector per image, no spatial grid"}
    if not depth:
        return ("final", "pre_logits"), {}
    stages = [f"stage:{n}" for n in reversed(range(depth))]
    if shape.bare:
        reason = "nothing follows its last block before pooling"
        return ("blocks", *stages, "pre_logits"), {"final": reason}
    return ("blocks", "final", *stages, "pre_logits"), {}


def reader(module: Any, name: str, tap: str) -> Callable[[torch.Tensor], Tokens]:
    """The function that runs a timm module and reads one tap."""
    kind, _, number = tap.partition(":")
    if kind == "pre_logits":
        return lambda x: _pooled(module, module.forward_features(x), name)
    if kind == "final":
        return lambda x: _lay_out(module, x, module.forward_features(x), name)
    index = len(module.feature_info) - 1 if kind == "blocks" else int(number)
    return lambda x: _intermediate(module, x, index)


def _pooled(module: Any, features: Any, name: str) -> Tokens:
    """The vector that the classification layer receives."""
    vector = module.forward_head(features, pre_logits=True)
    return readout.from_vector(readout.require_tensor(vector, name, "pre_logits").flatten(1))


def _lay_out(module: Any, x: torch.Tensor, output: Any, name: str) -> Tokens:
    """Lay the output of ``forward_features`` out on its grid, by the number of its axes."""
    output = readout.require_tensor(output, name, "final")
    if output.ndim == 4:
        last = output.shape[3] == module.num_features and (
            output.shape[1] != module.num_features
            or str(getattr(module, "output_fmt", "NCHW")) == "NHWC"
        )
        return readout.from_map(output, channels_last=last)
    if output.ndim == 3:
        prefix = getattr(module, "num_prefix_tokens", 0)
        return readout.from_sequence(output, prefix, token_grid(module, x))
    raise InputError(
        f"{name} returns one vector per image at tap final, no spatial grid; use its tap pre_logits"
    )


def token_grid(module: Any, x: torch.Tensor) -> tuple[int, int]:
    """Rows and columns of the last block's tokens for input ``x`` (image, 3, height, width)."""
    height, width = x.shape[2:]
    reductions = {info["reduction"] for info in module.feature_info}
    embed: Any = getattr(module, "patch_embed", None)
    if len(reductions) == 1 and hasattr(embed, "dynamic_feat_size"):
        return embed.dynamic_feat_size((height, width))  # pixels beyond the last patch are dropped
    reduction = module.feature_info[-1]["reduction"]
    return -(-height // reduction), -(-width // reduction)


def _intermediate(module: Any, x: torch.Tensor, index: int) -> Tokens:
    """One block's or stage's output, before any norm."""
    keywords: dict[str, Any] = {"indices": [index], "intermediates_only": True}
    accepted = inspect.signature(module.forward_intermediates).parameters
    keywords |= {"stop_early": True, "norm": False, "output_fmt": "NCHW"}
    if "return_prefix_tokens" in accepted and getattr(module, "num_prefix_tokens", 0) > 0:
        keywords["return_prefix_tokens"] = True
    [found] = module.forward_intermediates(x, **keywords)
    if isinstance(found, tuple):  # (map, prefix tokens); the map alone if it has none
        return Tokens(found[1], found[0].permute(0, 2, 3, 1))
    return readout.from_map(found, channels_last=False)
