"""Features of live frames, equal to what the store holds of the same frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from feature_store.errors import InputError
from workbench.multiscale.module import load
from workbench.robot.eyes import as_tokens

Encode = Callable[[np.ndarray], torch.Tensor]
"""Frames, uint8, dims (frame, row, col, 3), to features, dims (frame, token, channel)."""


def live_encoder(
    source: str, pooling: str, *, dtype: str = "float16", device: str = "cpu"
) -> Encode:
    """What encodes frames as ``workbench extract`` does.

    Parameters
    ----------
    source : str
        ``MODEL[#TAP]@SCALES``.
    pooling : str
        See :func:`~workbench.robot.eyes.read_features`.
    dtype : str
        Of the store: features are rounded to it.
    device : str

    Raises
    ------
    InputError
        An unknown source, or weights that cannot be fetched or read.
    """
    model = load(source, device=device)
    kept = np.dtype(dtype)

    def encode(frames: np.ndarray) -> torch.Tensor:
        if not len(frames):
            raise InputError("no frame was given")
        with torch.inference_mode():
            found = model([Image.fromarray(frame) for frame in frames])
        values = found.prefix if pooling == "prefix" else found.map
        rounded = values.float().cpu().numpy().astype(kept).astype(np.float32)
        return torch.from_numpy(rounded if pooling == "prefix" else as_tokens(rounded, pooling))

    return encode
