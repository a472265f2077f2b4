"""A model ready to run: pixels in, tokens out, always in evaluation and inference mode."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.models.info import ARITHMETICS, BackboneInfo, Tokens

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A frozen model at one tap. Call it on normalised images; see :meth:`__call__`."""

    info: BackboneInfo
    """Everything known about the model without its weights."""
    module: Any
    """The torch module, with its weights as they were stored."""
    runs: Any
    """The torch module that :attr:`read` runs: a copy with batch norms folded, or the same."""
    read: Callable[[torch.Tensor], Tokens]
    """Runs the module with batch norms folded into convolutions and reads the tap."""
    device: torch.device
    """Where the module lives; inputs are moved there."""
    arithmetic: str = "fp32"
    """Autocast arithmetic: fp32 (no autocast), bf16 or fp16. Tokens are float32 in any case."""
    compiled: bool = False
    """Whether ``read`` was compiled: values then differ by float rounding."""
    inference: bool = True
    """Run in inference mode; otherwise as autograd is set where it is called."""

    def __post_init__(self) -> None:
        if self.arithmetic not in ARITHMETICS:
            choices = ", ".join(ARITHMETICS)
            raise InputError(f"arithmetic {self.arithmetic!r}; expected one of {choices}")

    def __call__(self, images: torch.Tensor) -> Tokens:
        """Tokens of crops: (image, 3, height, width), float32, normalised by :meth:`normalise`.

        Raises
        ------
        InputError
            A shape that this model cannot run.
        """
        self._check(tuple(images.shape))
        layout = torch.channels_last if self.info.convnet else torch.contiguous_format
        dtype = AUTOCAST[self.arithmetic]
        with (
            torch.inference_mode() if self.inference else contextlib.nullcontext(),
            torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None),
        ):
            tokens = self.read(images.to(self.device, memory_format=layout))
            return Tokens(tokens.prefix.float(), tokens.map.float())

    def _check(self, shape: tuple[int, ...]) -> None:
        info = self.info
        if len(shape) != 4 or shape[1] != 3:
            raise InputError(f"{info.name} takes (image, 3, height, width); found {shape}")
        height, width = shape[2:]
        if (height, width) == (info.native, info.native):
            return
        if not info.flexible:
            raise InputError(
                f"{info.name} runs at {info.native} x {info.native} only, found {height} x "
                f"{width}; split larger images into crops of that size"
            )
        if not info.convnet and (height % info.stride or width % info.stride):
            near = (max(1, round(side / info.stride)) * info.stride for side in (height, width))
            raise InputError(
                f"{info.name} cuts images into patches of {info.stride} pixels; {height} x {width} "
                f"is not a multiple, the nearest is {' x '.join(map(str, near))}"
            )

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """(image, height, width, 3) uint8 → (image, 3, height, width) float32 on the device."""
        x = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float() / 255.0
        mean, std = self._mean_and_std
        return (x - mean) / std

    @cached_property
    def _mean_and_std(self) -> torch.Tensor:
        """(2, 1, 3, 1, 1) on the device; cached, because each transfer waits for the device."""
        return torch.tensor([self.info.mean, self.info.std]).view(2, 1, 3, 1, 1).to(self.device)

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        """Class logits (image, class), float32, of a model that kept its classification head.

        Raises
        ------
        InputError
            The model has no classification head.
        """
        if not getattr(self.module, "num_classes", 0):
            raise InputError(f"{self.info.name} has no classification head; use its features")
        layout = torch.channels_last if self.info.convnet else torch.contiguous_format
        with torch.inference_mode():
            return self.module(images.to(self.device, memory_format=layout)).float()

    @cached_property
    def weights_sha256(self) -> str:
        """:func:`weights_sha256` of the module."""
        return weights_sha256(self.module.state_dict())


def weights_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over every tensor's name, dtype, shape and bytes, in sorted order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
