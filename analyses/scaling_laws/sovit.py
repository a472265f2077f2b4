"""The recipe by which "Getting ViT in Shape" finds its models, and its claims recomputed.

The recipe: start at the small optimum x⁰ = (width 608, depth 10, MLP 928), found at 600M images;
take the ratio τ of the target's compute to the compute of that run; scale each dimension by
τ^(s_k/3). Compute is forward FLOPs (2 × MACs) times images, which reproduces the paper's "9T
GFLOPs" for ViT-g/14 on 16 billion images.

Source: sections 3, 4.1 and 5, appendix B.3; exponents from the table `sovit_exponents`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analyses import published
from analyses.scaling_laws.architecture import DIMENSIONS, NAMED_SHAPES, ViTShape
from analyses.scaling_laws.planners import GRID_IMAGES, scale_shape

SMALL_OPTIMUM = ViTShape(width=608, depth=10, mlp=928, pool="map")
"""x⁰, blue star of figure 3; image classification."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A published model and the run whose compute it matches."""

    name: str
    """Name in NAMED_SHAPES."""
    reference: str
    """The network whose compute is matched."""
    images: float
    """Images on which that network was trained."""


TARGETS = (
    Target(name="SoViT-400m/14", reference="g/14", images=16e9),
    Target(name="SoViT-150m/14", reference="B/14", images=4e9),
)


def exponents(domain: str = "image classification") -> dict[str, float]:
    """Published scaling exponents s_k by dimension."""
    table = published.load("sovit_exponents")
    chosen = table[table["domain"] == domain]
    return dict(zip(chosen["dimension"], chosen["scaling_exponent"].astype(float), strict=True))


def gflops(shape: ViTShape, images: float) -> float:
    """Forward compute of a run in GFLOPs, counted as in the paper: 2 × MACs × images."""
    return 2 * shape.gmacs * images


def fractional_params(shape: Mapping[str, float]) -> float:
    """Parameters of a patch-14 network of fractional width, depth and MLP size."""
    d, m = shape["width"], shape["mlp"]
    block = 4 * d * d + 2 * d * m + 9 * d + m
    pooling = 4 * d * d + 2 * d * m + 8 * d + m
    return shape["depth"] * block + pooling + (3 * 14**2 + 1 + 16**2 + 2) * d


def reproduce(target: Target, s: Mapping[str, float] | None = None) -> pd.DataFrame:
    """The recipe beside the published shape, one row per dimension and one for the parameters.

    Returns
    -------
    pandas.DataFrame
        Index width, depth, mlp, params_m; columns `start`, `published`, `scaled` (at the τ of the
        matched compute), `relative` (scaled / published − 1), `tau` (of the matched compute),
        `tau_needed` (the τ at which this dimension alone would reach the published value) and
        `fitted` (the shape at the τ that suits all three dimensions best in logarithms).
    """
    s = dict(s or exponents())
    shape = NAMED_SHAPES[target.name]
    start = {name: float(getattr(SMALL_OPTIMUM, name)) for name in DIMENSIONS}
    goal = {name: float(getattr(shape, name)) for name in DIMENSIONS}
    tau = gflops(NAMED_SHAPES[target.reference], target.images) / gflops(SMALL_OPTIMUM, GRID_IMAGES)
    share = np.array([s[name] / len(DIMENSIONS) for name in DIMENSIONS])
    growth = np.array([np.log(goal[name] / start[name]) for name in DIMENSIONS])
    best = float(np.exp(share @ growth / (share @ share)))
    frame = pd.DataFrame({"start": start, "published": goal}, index=list(DIMENSIONS))
    frame["scaled"] = pd.Series(scale_shape(start, tau, s))
    frame["fitted"] = pd.Series(scale_shape(start, best, s))
    frame["tau_needed"] = pd.Series(np.exp(growth / share), index=list(DIMENSIONS))
    sizes = {
        column: fractional_params(frame[column]) / 1e6 for column in ("start", "scaled", "fitted")
    }
    frame.loc["params_m"] = {**sizes, "published": shape.params / 1e6, "tau_needed": np.nan}
    frame["relative"] = frame["scaled"] / frame["published"] - 1
    frame["fitted_relative"] = frame["fitted"] / frame["published"] - 1
    return frame.assign(tau=tau, tau_fitted=best)


def claims() -> pd.DataFrame:
    """The paper's rules of thumb beside the values that its own exponents give.

    Returns
    -------
    pandas.DataFrame
        Columns `claim`, `paper`, `arithmetic` and `reading` (how the figure was computed).
    """
    rows = [*_growth_claims(), *_ratio_claims(), *_size_claims()]
    return pd.DataFrame(rows, columns=["claim", "paper", "arithmetic", "reading"])


def _growth_claims() -> list[tuple[str, float, float, str]]:
    s = exponents()
    start = {name: float(getattr(SMALL_OPTIMUM, name)) for name in DIMENSIONS}
    small, large = NAMED_SHAPES["SoViT-150m/14"], NAMED_SHAPES["SoViT-400m/14"]
    ratio = gflops(NAMED_SHAPES["g/14"], 16e9) / gflops(NAMED_SHAPES["B/14"], 4e9)
    undivided = {name: start[name] * 10 ** s[name] for name in DIMENSIONS}
    growth = "parameters for ×10 compute"
    return [
        (growth, 7.0, _growth(scale_shape(start, 10.0, s)), "s_k/3 per dimension from x⁰ (recipe)"),
        (growth, 7.0, _growth(undivided), "s_k per dimension from x⁰ (eq. 4)"),
        (growth, 7.0, 10 ** (s["depth"] + 2 * s["width"]), "eq. 4, attention weights only"),
        (growth, 7.0, 10 ** (s["depth"] + s["width"] + s["mlp"]), "eq. 4, MLP weights only"),
        (
            growth,
            7.0,
            (large.params / small.params) ** (np.log(10) / np.log(ratio)),
            "published SoViT-150m → 400m, compute of B/14 on 4B → g/14 on 16B images",
        ),
    ]


def _ratio_claims() -> list[tuple[str, float, float, str]]:
    s, other = exponents(), exponents("multitask decoding")
    return [
        ("MLP ∝ depth^p", 1.5, s["mlp"] / s["depth"], "classification"),
        ("MLP ∝ depth^p", 1.5, other["mlp"] / other["depth"], "multitask decoding"),
        ("depth ∝ width^p", 1.5, s["depth"] / s["width"], "classification"),
        ("depth ∝ width^p", 1.5, other["depth"] / other["width"], "multitask decoding"),
    ]


def _size_claims() -> list[tuple[str, float, float, str]]:
    large = NAMED_SHAPES["SoViT-400m/14"]
    return [
        (
            "GFLOPs of ViT-g/14 on 16B images",
            9e12,
            gflops(NAMED_SHAPES["g/14"], 16e9),
            "2 × MACs × images",
        ),
        ("GFLOPs of SoViT-400m/14 on 40B images", 9e12, gflops(large, 40e9), "2 × MACs × images"),
        ("GFLOPs per image of SoViT-400m/14", 221.0, 2 * large.gmacs, "224 pixels, MAP head"),
        ("parameters of SoViT-400m/14 in millions", 428.0, large.params / 1e6, "no linear head"),
    ]


def _growth(shape: Mapping[str, float]) -> float:
    return fractional_params(shape) / SMALL_OPTIMUM.params
