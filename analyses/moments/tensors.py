"""Stored arrays as torch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def as_tensor(array: Any) -> torch.Tensor:
    """A torch view of an array (a copy where the array is read-only, as memory maps are)."""
    if isinstance(array, torch.Tensor):
        return array
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def rows_of(array: Any, rows: np.ndarray) -> torch.Tensor:
    """Tokens of the given images as (token, channel)."""
    if len(rows) == len(array):
        return as_tensor(array).reshape(-1, array.shape[3])
    if isinstance(array, torch.Tensor):
        return array[torch.from_numpy(rows).to(array.device)].reshape(-1, array.shape[3])
    return torch.from_numpy(array[rows].reshape(-1, array.shape[3]))
