"""The gain of each crop: how much the loss falls when its tokens are added.

Every predictor here is linear in the maps, and a filled map is a map without crops plus one term
for each crop that is run. Outputs add up in the same way:

    z(chosen) = z(no crop) + sum over chosen crops of z_crop,

so the loss of any set of crops follows from these outputs, without reading tokens again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Loss = Callable[[np.ndarray], np.ndarray]
"""From outputs, dims (image, set of crops, cell, value), to losses, dims (image, set of crops)."""


def greedy(start: np.ndarray, added: np.ndarray, loss: Loss) -> tuple[np.ndarray, np.ndarray]:
    """Gains of single crops, and keys that order crops by a greedy choice with the true loss.

    Parameters
    ----------
    start : float array, dims (image, cell, value)
        Outputs without crops.
    added : float array, dims (image, crop, cell, value)
        Contribution of each crop to the outputs.

    Returns
    -------
    gains : float64 array, dims (image, crop)
        Loss without crops minus loss with this crop alone.
    keys : float64 array, dims (image, crop)
        The loss that a crop saves when it is added in its turn, but less than the key of the crop
        before it. In descending order of all keys of a dataset, every crop therefore follows the
        crops chosen before it in its image.
    """
    images, crops = added.shape[:2]
    now, before = start.copy(), loss(start[:, None])[:, 0]
    left = np.ones((images, crops), bool)
    keys, gains, least = np.empty((images, crops)), np.empty(0), np.full(images, np.inf)
    each = np.arange(images)
    for step in range(crops):
        with_one = loss(now[:, None] + added)
        if step == 0:
            gains = before[:, None] - with_one
        best = np.where(left, with_one, np.inf).argmin(1)
        least = np.minimum(np.nextafter(least, -np.inf), before - with_one[each, best])
        keys[each, best] = least
        now, before = now + added[each, best], with_one[each, best]
        left[each, best] = False
    return gains, keys
