"""Policies: a key for each crop of each image; crops with the largest keys are run.

The random, centre, norm and variance policies rank the crops within each image, so that all images
get the same number of crops, give or take one. Fitted policies and the oracle rank the crops of all
images together, so that images with larger gains get more crops. In both cases a budget is a mean
over the dataset.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analyses.scale_selection.config import SIMPLE, refuse_budgets
from analyses.scale_selection.layout import Layout
from feature_store import InputError

FORMAT = 1
STEPS = 100
"""A fitted policy stores its thresholds at the budgets 0, 1 / STEPS, ... 1."""


def choose(keys: np.ndarray, budget: float) -> np.ndarray:
    """The share `budget` of all crops with the largest keys: bool, dims (image, crop).

    >>> choose(np.array([[3.0, 1.0], [2.0, 0.0]]), 0.5).tolist()
    [[True, False], [True, False]]
    """
    chosen = np.zeros(keys.size, bool)
    chosen[np.argsort(-keys, axis=None, kind="stable")[: round(budget * keys.size)]] = True
    return chosen.reshape(keys.shape)


def simple_keys(
    name: str, layout: Layout, base: np.ndarray, image_ids: Sequence[str], seed: int = 0
) -> np.ndarray:
    """Keys of a policy without a fit: float64, dims (image, crop).

    A key is u - rank, where rank is 0 for the first crop of an image and u is drawn for the image
    from [0, 1). :func:`choose` then gives every image the same number of crops, or one more.

    Parameters
    ----------
    name : {"random", "centre", "norm", "variance"}
        ``norm``: mean norm of the base tokens in a crop; ``variance``: their variance over
        positions, mean over channels.
    base : float32 array, dims (image, row, col, channel)
        Base tokens.
    """
    drawn = np.stack([_uniform(image_id, seed, 1 + layout.count) for image_id in image_ids])
    if name == "random":
        scores = drawn[:, 1:]
    elif name == "centre":
        scores = np.tile(-_distances(layout), (len(image_ids), 1))
    elif name == "norm":
        norm = np.linalg.norm(base, axis=-1)[..., None]
        scores = _windows(layout, norm)[..., 0]
    elif name == "variance":
        scores = window_spread(layout, base).mean(-1)
    else:
        raise InputError(f"policy {name!r} needs a fit; simple ones are {', '.join(SIMPLE)}")
    order = np.argsort(-scores, axis=1, kind="stable")
    return drawn[:, :1] - np.argsort(order, axis=1, kind="stable")


def simple_threshold(layout: Layout, budget: float) -> float:
    """Crops whose :func:`simple_keys` are at or above this threshold are run."""
    return 1.0 - budget * layout.count


def top_down_keys(layout: Layout, base: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Largest cosine of a crop's mean base token with a query: float64, dims (image, crop).

    Parameters
    ----------
    base : float32 array, dims (image, row, col, channel)
        Tokens in the space of the queries (such as the tap ``proj`` of open_clip).
    queries : float array, dims (query, channel)
        Embeddings of classes or texts.

    Raises
    ------
    InputError
        Queries and tokens have different numbers of channels.
    """
    if queries.ndim != 2 or queries.shape[1] != base.shape[-1]:
        raise InputError(
            f"the query embeddings have shape {queries.shape}; expected (query, {base.shape[-1]}), "
            "in the space of the base tokens"
        )
    tokens = _windows(layout, base).astype(np.float64)
    tokens /= np.maximum(np.linalg.norm(tokens, axis=-1, keepdims=True), 1e-12)
    unit = queries / np.maximum(np.linalg.norm(queries, axis=-1, keepdims=True), 1e-12)
    return (tokens @ unit.T).max(-1)


def describe(layout: Layout, base: np.ndarray) -> np.ndarray:
    """Input of a fitted policy for each crop: mean and spread of its base tokens.

    float32, dims (image, crop, 2 · channel).
    """
    return np.concatenate(
        [_windows(layout, base), np.sqrt(window_spread(layout, base))], axis=-1
    ).astype(np.float32)


def window_spread(layout: Layout, base: np.ndarray) -> np.ndarray:
    """Variance over a crop's base cells: float64, dims (image, crop, channel)."""
    wide = base.astype(np.float64)
    return np.maximum(_windows(layout, wide**2) - _windows(layout, wide) ** 2, 0.0)


@dataclass(frozen=True, kw_only=True)
class FittedPolicy:
    """A linear prediction of each crop's gain from base tokens, saved as ``policy.json``.

    key = offset[crop] + [mean, spread of the crop's base tokens] @ weights
    """

    model: str
    """Model and tap whose base tokens are read."""
    weights_sha256: str
    """Hash of the model's weights, from the manifest of the training tokens."""
    layout: dict[str, Any]
    """:meth:`Layout.describe` of the training maps."""
    target: str
    """Task whose gains were fitted."""
    offset: tuple[float, ...]
    """One value for each crop."""
    weights: tuple[float, ...]
    """One weight for each of the 2 · channel values of :func:`describe`."""
    thresholds: tuple[float, ...]
    """Smallest keys that are run at budgets 0, 0.01, ... 1: quantiles over training images."""
    format: int = FORMAT

    def keys(self, layout: Layout, base: np.ndarray) -> np.ndarray:
        """Predicted gains: float64, dims (image, crop)."""
        described = describe(layout, base).astype(np.float64)
        return np.asarray(self.offset) + described @ np.asarray(self.weights)

    def threshold(self, budget: float) -> float:
        """Crops with keys at or above this threshold are run."""
        refuse_budgets([budget])
        if budget in (0.0, 1.0):
            return np.inf if budget == 0 else -np.inf
        return float(np.interp(budget, np.linspace(0, 1, STEPS + 1), self.thresholds))

    def as_json(self) -> dict[str, Any]:
        """Content of ``policy.json``; :func:`read_policy` is the inverse."""
        return asdict(self)

    def refuse_others(self, model: str, layout: Layout) -> None:
        """Refuse base tokens of another model, or another layout of crops."""
        if model != self.model:
            raise InputError(f"the policy was fitted on {self.model}, found {model}; fit it again")
        if layout.describe() != self.layout:
            raise InputError(
                f"the policy was fitted on {_words(self.layout)}, found "
                f"{_words(layout.describe())}; fit it again"
            )

    def refuse_other_weights(self, found: str) -> None:
        """Refuse a model of the same name with other weights."""
        if found != self.weights_sha256:
            raise InputError(
                f"the policy was fitted on {self.model} with weights {self.weights_sha256[:12]}, "
                f"found weights {found[:12]}; fit it again"
            )


def thresholds_of(keys: np.ndarray) -> tuple[float, ...]:
    """Smallest keys that are run at budgets 0, 0.01, ... 1."""
    return tuple(np.quantile(keys, 1 - np.linspace(0, 1, STEPS + 1)).tolist())


def read_policy(path: str | Path) -> FittedPolicy:
    """Read a ``policy.json`` that ``workbench select`` wrote.

    Raises
    ------
    InputError
        The file does not exist or is not a fitted policy.
    """
    names = set(FittedPolicy.__dataclass_fields__)
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a fitted policy ({error}); expected policy.json of `workbench select`, "
            f"or one of {', '.join(SIMPLE)}"
        ) from error
    if not isinstance(found, dict) or set(found) != names or found["format"] != FORMAT:
        raise InputError(
            f"{path} is not a fitted policy of format {FORMAT}; expected policy.json of "
            "`workbench select`"
        )
    lists = ("offset", "weights", "thresholds")
    values: dict[str, Any] = {k: tuple(v) if k in lists else v for k, v in found.items()}
    return FittedPolicy(**values)


def _words(layout: dict[str, Any]) -> str:
    scales = zip(layout["scales"], layout["crops"], strict=True)
    each = ", ".join(f"{scale} in {rows} x {cols} crops" for scale, (rows, cols) in scales)
    return f"{each} on a {layout['grid'][0]} x {layout['grid'][1]} grid"


def _windows(layout: Layout, values: np.ndarray) -> np.ndarray:
    """Mean over the base cells of each crop: (image, row, col, c) to (image, crop, c)."""
    share = layout.share / layout.share.sum((1, 2), keepdims=True)
    flat = values.reshape(len(values), -1, values.shape[-1])
    return share.reshape(len(share), -1).astype(values.dtype) @ flat


def _distances(layout: Layout) -> np.ndarray:
    """Distance of each crop's centre from the image's centre, in units of the image's side."""
    found = []
    for scale in layout.scales:
        sides = [(np.arange(n) + 0.5) / n - 0.5 for n in scale.crops]
        found.append(np.hypot(sides[0][:, None], sides[1]).ravel())
    return np.concatenate(found)


def _uniform(image_id: str, seed: int, count: int) -> np.ndarray:
    """Numbers in [0, 1) that depend on image and seed alone."""
    digest = hashlib.sha256(f"select:{seed}:{image_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little")).random(count)
