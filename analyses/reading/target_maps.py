"""Target maps and token grids: targets of tokens from pixels, and metrics of enlarged outputs."""

from __future__ import annotations

import numpy as np
import torch

from feature_store import InputError


def cells(pixels: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Pixels under each token: dims (row, col) to (token, pixel).

    A map that the grid does not divide is first enlarged, to the nearest pixel, until it does:
    260 pixels under 9 tokens become 261.

    Raises
    ------
    InputError
        Not one map, or a map with fewer pixels than tokens on a side.
    """
    if pixels.ndim != 2:
        raise InputError(f"a target map has shape {pixels.shape}; expected (row, col)")
    height, width = pixels.shape
    if height < grid[0] or width < grid[1]:
        raise InputError(f"maps of {height} x {width} pixels are smaller than {grid} tokens")
    sides = [
        -(-size // tokens) * tokens for size, tokens in zip((height, width), grid, strict=True)
    ]
    rows, cols = (
        ((np.arange(large) + 0.5) * size / large).astype(np.int64)
        for large, size in zip(sides, (height, width), strict=True)
    )
    split = pixels[np.ix_(rows, cols)]
    split = split.reshape(grid[0], sides[0] // grid[0], grid[1], sides[1] // grid[1])
    return split.swapaxes(1, 2).reshape(grid[0] * grid[1], -1)


def majority(under: np.ndarray) -> np.ndarray:
    """Most frequent known class of each token, float64, dims (token,); NaN if none is known.

    `under` is int, dims (token, pixel); -1 = unknown. Of equally frequent ones the lowest counts.
    """
    classes = max(int(under.max()) + 1, 1)
    known = under >= 0
    pairs = (np.arange(len(under))[:, None] * classes + under)[known]
    votes = np.bincount(pairs, minlength=len(under) * classes).reshape(len(under), classes)
    return np.where(known.any(1), votes.argmax(1), np.nan)


def mean_depth(under: np.ndarray) -> np.ndarray:
    """Mean known depth of each token, float64, dims (token,); NaN if none is known.

    `under` is float, dims (token, pixel); not finite = unknown.
    """
    known = np.isfinite(under)
    count, total = known.sum(1), np.where(known, under, 0).sum(1)
    return np.divide(total, count, out=np.full(len(under), np.nan), where=count > 0)


def enlarged(output: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Bilinear: float32, dims (row, col, value) to (pixel row, pixel col, value)."""
    maps = torch.from_numpy(np.ascontiguousarray(output.transpose(2, 0, 1)))[None]
    large = torch.nn.functional.interpolate(maps, shape, mode="bilinear", align_corners=False)
    return large[0].permute(1, 2, 0).numpy()


def class_counts(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels of an image that are hits, true and predicted: int64, dims (3, class).

    Parameters
    ----------
    logits : float32 array, dims (row, col, class)
        Enlarged to the pixels.
    truth : int array, dims (pixel row, pixel col)
        -1 = ignored; classes that the logits lack are missed.
    """
    known = truth >= 0
    predicted, true = enlarged(logits, truth.shape).argmax(-1)[known], truth[known]
    classes = max(logits.shape[-1], int(truth.max()) + 1)
    counted = (true[true == predicted], true, predicted)
    return np.stack([np.bincount(part, minlength=classes) for part in counted])


def depth_sums(
    depth: np.ndarray, truth: np.ndarray, cap: float | None = None, median_scaling: bool = False
) -> np.ndarray:
    """Squared error, pixels within a factor of 1.25, and pixels of an image: dims (3, 1).

    Parameters
    ----------
    depth : float32 array, dims (row, col, 1)
        Metres, enlarged to the pixels.
    truth : float array, dims (pixel row, pixel col)
        NaN = unknown.
    cap : float, optional
        Metres: larger truths are not scored, and predictions are cut to it.
    median_scaling : bool
        Multiply the prediction by the ratio of the medians of truth and prediction first.
    """
    known = np.isfinite(truth) & (truth <= (np.inf if cap is None else cap))
    if not known.any():
        return np.zeros((3, 1))
    p, t = enlarged(depth, truth.shape)[..., 0][known], truth[known]
    if median_scaling:
        p = p * (np.median(t) / np.maximum(np.median(p), 1e-3))
    p = np.minimum(p, cap) if cap is not None else p
    near = np.maximum(t / np.maximum(p, 1e-3), p / t) < 1.25
    return np.array([[((p - t) ** 2).sum()], [near.sum()], [known.sum()]], np.float64)


def of_image(sums: np.ndarray) -> np.ndarray:
    """RMSE, share of pixels within a factor of 1.25, and 1, of the :func:`depth_sums` of an image.

    float64, dims (3, 1). All are 0 if no pixel is known, so that sums over images count only the
    other images.
    """
    _, near, pixels = sums[:, 0]
    return np.array([[rmse(sums)], [near / pixels], [1.0]]) if pixels else sums


def mean_iou(counts: np.ndarray) -> float:
    """Mean over classes that occur in the truth of hits / (true + predicted - hits).

    NaN if no pixel is known.

    Examples
    --------
    >>> mean_iou(np.array([[3.0, 4.0], [4.0, 4.0], [3.0, 5.0]]))  # 3/4 and 4/5
    0.775
    """
    found = class_iou(counts)
    occurs = ~np.isnan(found)
    return float(found[occurs].mean()) if occurs.any() else float("nan")


def class_iou(counts: np.ndarray) -> np.ndarray:
    """hits / (true + predicted - hits), dims (class,); NaN where the truth lacks the class.

    `counts`, dims (3, class), are :func:`class_counts`, summed over images.
    """
    hits, true, predicted = counts
    occurs = true > 0
    union = np.where(occurs, true + predicted - hits, 1)
    return np.where(occurs, hits / union, np.nan)


def rmse(sums: np.ndarray) -> float:
    """Root of the mean squared error, in metres; NaN where no pixel is known."""
    error, _, pixels = sums[:, 0]
    return float(np.sqrt(error / pixels)) if pixels else float("nan")


def mean_rmse(sums: np.ndarray) -> float:
    """Mean of the images' RMSE from sums of :func:`of_image`, in metres; NaN without an image."""
    errors, _, images = sums[:, 0]
    return float(errors / images) if images else float("nan")
