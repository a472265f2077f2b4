"""Predictions for whole images, from windows of the size that a decoder was trained on.

Sliding windows: the image's shorter side is resized to a window's side, windows are a stride apart
(the last ends at the edge), and predictions are averaged where windows overlap. Whole: the image is
squeezed into one window. Both give the same result for a square image.

Source: mmsegmentation's slide inference. Deviation: whole images are squeezed to a square.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from workbench.heads.config import CropConfig
from workbench.heads.crops import resized_sides

Predict = Callable[[torch.Tensor], torch.Tensor]
"""uint8 windows, dims (image, row, col, 3), to float maps, dims (image, value, row, col)."""


@torch.inference_mode()
def predict(run: Predict, image: np.ndarray, config: CropConfig, *, batch: int = 8) -> np.ndarray:
    """A prediction for every pixel of the resized image; `image` is uint8, dims (row, col, 3).

    `config` gives side, stride and kind of the windows; `run` takes `batch` of them at a time.

    Returns
    -------
    float32 array, dims (row, col, value)
        Prediction at the resized image's pixels; the caller resizes it to the original image.
    """
    side = config.side
    height, width = (side, side)
    if config.window == "slide":
        height, width = (
            max(size, side) for size in resized_sides(image.shape[:2], config, ratio=1.0)
        )
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(resized))
    corners = [
        (top, left)
        for top in starts(height, side, config.step)
        for left in starts(width, side, config.step)
    ]
    total, count = torch.zeros(()), torch.zeros(height, width)
    for k in range(0, len(corners), batch):
        some = corners[k : k + batch]
        windows = torch.stack([pixels[t : t + side, x : x + side] for t, x in some])
        for (top, left), found in zip(some, _maps(run, windows, config), strict=True):
            if total.ndim == 0:
                total = found.new_zeros(len(found), height, width)
            total[:, top : top + side, left : left + side] += found
            count[top : top + side, left : left + side] += 1
    return (total / count.to(total.device)).permute(1, 2, 0).cpu().numpy()


def starts(size: int, window: int, stride: int) -> list[int]:
    """Start of each window along a side; the last window ends at the edge.

    Examples
    --------
    >>> starts(10, 4, 3), starts(11, 4, 3), starts(4, 4, 3)
    ([0, 3, 6], [0, 3, 6, 7], [0])
    """
    last = size - window
    return [*range(0, last, stride), last]


def _maps(run: Predict, windows: torch.Tensor, config: CropConfig) -> torch.Tensor:
    """float32, dims (image, value, row, col): predictions at the windows' pixels."""
    found = run(windows).float()
    if config.mirrored:
        found = (found + run(windows.flip(2)).float().flip(3)) / 2
    size = (config.side, config.side)
    return interpolate(found, size, mode="bilinear", align_corners=False)
