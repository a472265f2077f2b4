"""From a module's raw output to tokens on a grid; output without a grid is refused."""

from __future__ import annotations

from typing import Any

import torch

from feature_store.errors import InputError
from workbench.models.info import Tokens

UNRUNNABLE = (
    AssertionError, AttributeError, LookupError, NameError, NotImplementedError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip
"""Errors of architectures that cannot run on shapes alone, at a size, or at a tap."""


def from_sequence(tokens: torch.Tensor, prefix: int, grid: tuple[int, int]) -> Tokens:
    """Split a token sequence into prefix tokens and a row-major grid.

    ``tokens`` (image, prefix + rows * cols, channel) → ``Tokens``: prefix (image, prefix,
    channel), map (image, rows, cols, channel).

    Raises
    ------
    InputError
        The sequence is not ``prefix + rows * cols`` long.
    """
    rows, cols = grid
    n, length, channels = tokens.shape
    if length != prefix + rows * cols:
        raise InputError(
            f"the model returned {length} tokens; expected {prefix} prefix tokens and a "
            f"{rows} x {cols} grid"
        )
    return Tokens(tokens[:, :prefix], tokens[:, prefix:].reshape(n, rows, cols, channels))


def from_map(features: torch.Tensor, *, channels_last: bool) -> Tokens:
    """(image, channel, row, col), or (image, row, col, channel), to tokens without a prefix."""
    if not channels_last:
        features = features.permute(0, 2, 3, 1)
    return Tokens(features.new_zeros((features.shape[0], 0, features.shape[3])), features)


def from_vector(features: torch.Tensor) -> Tokens:
    """One vector per image, (image, channel), as a map of one row and one column."""
    return from_map(features[:, None, None, :], channels_last=True)


def require_tensor(output: Any, model: str, tap: str) -> torch.Tensor:
    """The output itself if it is a tensor with an axis for images and one for channels.

    Raises
    ------
    InputError
        A dict, tuple or other container (its keys are named), or a tensor of fewer than 2 axes.
    """
    if isinstance(output, torch.Tensor) and output.ndim >= 2:
        return output
    if isinstance(output, dict):
        found = f"a dict with keys {', '.join(map(repr, output))}"
    elif isinstance(output, torch.Tensor):
        found = f"a tensor of shape {tuple(output.shape)}"
    else:
        found = f"a {type(output).__name__}"
    raise InputError(
        f"{model} returns {found} at tap {tap}; expected one tensor (image, token, channel) or "
        "(image, channel, row, col)"
    )
