"""What is known about a model before it runs: transform, geometry, provenance; and its output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from workbench.models.transform import Transform

if TYPE_CHECKING:
    import torch

Arithmetic = Literal["fp32", "bf16", "fp16"]
"""Arithmetic of a forward pass: float32, or autocast to a two-byte type."""
ARITHMETICS: tuple[str, ...] = get_args(Arithmetic)


class Tokens(NamedTuple):
    """One scale's output of a backbone, float32.

    ``prefix`` is (image, prefix, channel), with size 0 along ``prefix`` for models without class
    or register tokens; ``map`` is (image, row, col, channel).
    """

    prefix: torch.Tensor
    map: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """One model, known without its weights, whatever the tap."""

    native: int
    """Side in pixels of the square crops the model runs on."""
    mean: tuple[float, float, float]
    """Per-channel mean subtracted from pixels in [0, 1]."""
    std: tuple[float, float, float]
    """Per-channel divisor."""
    transform: Transform
    """Resize and crop to the native size."""
    weights_from: str
    """The package, hub repository, address or file the weights come from."""
    taps: tuple[str, ...]
    """Every tap of this model; the first is its default."""
    convnet: bool
    """True: the model works on maps (run in channels_last); False: on a token sequence."""


@dataclass(frozen=True, kw_only=True)
class BackboneInfo(ModelInfo):
    """One model at one tap, known without its weights."""

    name: str
    """The model name as given, such as ``bundled:efficientnet_lite0``."""
    tap: str
    """Where features are read."""
    grid: tuple[int, int]
    """Rows and columns of the map at the native size."""
    channels: int
    """Channels per token."""
    prefix: int
    """Class and register tokens kept per crop."""
    stride: int
    """Pixels per token along one side (the patch size for ViTs)."""
    pretrained: bool
    """False for ``random:`` models."""
    revision: str | None = None
    """Known once the weights are loaded: commit of the hub repository; or which tensors of a
    checkpoint were taken, if the file leaves a choice."""
    flexible: bool
    """True: images of other sizes than native can run whole."""
    params: int
    """Parameters of the image model, classification head included."""


@dataclass(frozen=True, kw_only=True)
class Architecture(ModelInfo):
    """A model on the meta device, its weights yet to be loaded; built by its family."""

    module: Any
    """The torch module without weights."""
    load: Callable[[], tuple[Any, str | None]]
    """Builds the module with its weights; also the revision, see ``BackboneInfo.revision``."""
    reader: Callable[[Any, str], Callable[[torch.Tensor], Tokens]]
    """From a module (with weights or without) and a tap to the function that reads it."""
    missing: dict[str, str]
    """Taps that a user may expect and this model lacks, each with the reason."""
