"""Compute of connector pre-training, and the best encoder and amount of data for a budget.

    C ≈ 2 N_ViT D_img + 6 N_LLM (D_img + D_txt)                                    [FLOP]

The frozen encoder only runs forward: 2 FLOP per parameter and token. Gradients pass through the
frozen language model, which counts 6. D_img and D_txt are image and text tokens: tokens per pair ×
pairs.

The paper states neither the language models' exact sizes nor the text tokens per pair. Defaults:
6.74 and 13.0 billion parameters (Vicuna-7B and 13B share LLaMA's sizes) and 40 text tokens per
pair, assuming captions of some twenty words with their instruction.

Source: equation 1, section 6, of "Are Bigger Encoders Always Better in Vision Large Models?".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analyses.scaling_laws.encoder import EncoderFit, GroupFit
from analyses.scaling_laws.fitting import expanded_interval
from feature_store.errors import InputError, require_positive

LLM_PARAMS = {"Vicuna-7B": 6.74e9, "Vicuna-13B": 13.0e9}
"""Parameters of the language models that are known by name."""


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """Parameters and tokens per pair, from which the FLOP of a pair follow."""

    llm_params: float
    """Parameters of the language model."""
    text_tokens: float = 40.0
    """Text tokens per pair."""
    image_tokens: float = 256.0
    """Image tokens per image of encoders missing from `tokens_by_encoder`."""
    tokens_by_encoder: Mapping[float, float] | None = None
    """Image tokens per image, by encoder parameters."""

    def __post_init__(self) -> None:
        """Refuse sizes that are not positive."""
        require_positive(self, "llm_params", "text_tokens", "image_tokens")

    def flop_per_pair(self, vit_params: float) -> float:
        """FLOP of one image-text pair with an encoder of `vit_params` parameters."""
        image = float((self.tokens_by_encoder or {}).get(vit_params, self.image_tokens))
        return 2 * vit_params * image + 6 * self.llm_params * (image + self.text_tokens)


def cost_model(runs: pd.DataFrame, llm: str, text_tokens: float = 40.0) -> CostModel:
    """Cost model of one group: `llm_params` and `image_tokens` columns, else the known names.

    Raises
    ------
    InputError
        A language model that is neither known nor given by a column.
    """
    if "llm_params" in runs.columns:
        size = float(runs["llm_params"].iloc[0])
    elif llm in LLM_PARAMS:
        size = LLM_PARAMS[llm]
    else:
        raise InputError(
            f"the size of language model {llm!r} is unknown; add a column llm_params or name one "
            f"of: {', '.join(LLM_PARAMS)}"
        )
    tokens = None
    if "image_tokens" in runs.columns:
        first = runs.groupby("vit_params")["image_tokens"].first()
        tokens = {float(n): float(v) for n, v in first.items()}
    return CostModel(llm_params=size, text_tokens=text_tokens, tokens_by_encoder=tokens)


def choices(
    group: GroupFit,
    cost: CostModel,
    budgets: Sequence[float],
    *,
    variant: str = "free",
    sizes: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Loss of each encoder at each budget, and the best encoder.

    Parameters
    ----------
    cost : CostModel
        FLOP per pair.
    budgets : sequence of float
        Compute in FLOP.
    variant : str
        Law to predict with; `free` covers the measured encoders only.
    sizes : sequence of float, optional
        Encoder parameters to consider; the measured ones by default.

    Returns
    -------
    pandas.DataFrame
        `budget`, `vit_params`, `image_text_pairs`, `loss`, `low`, `high`, `extrapolated` (pairs or
        size outside the runs), `best` and `wins` (share of resamples in which it is best).
    """
    if not len(budgets) or min(budgets) <= 0:
        raise InputError(f"budgets must be positive FLOP, got {list(budgets)}")
    if variant not in group.fits:
        raise InputError(f"no variant {variant!r}; choose from: {', '.join(group.fits)}")
    law = group.fits[variant]
    measured = group.runs["vit_params"]
    candidates = np.asarray(sizes if sizes is not None else sorted(measured.unique()), float)
    parts = [_one_budget(law, cost, float(b), candidates, confidence) for b in budgets]
    frame = pd.concat(parts, ignore_index=True)
    pairs = group.runs["image_text_pairs"]
    frame["extrapolated"] = ~(
        frame["image_text_pairs"].between(pairs.min(), pairs.max())
        & frame["vit_params"].between(measured.min(), measured.max())
    )
    return frame


def default_budgets(group: GroupFit, cost: CostModel, count: int = 7) -> list[float]:
    """Budgets from the compute of the cheapest run to ten times that of the most expensive."""
    spent = [
        cost.flop_per_pair(n) * d
        for n, d in group.runs[["vit_params", "image_text_pairs"]].to_numpy()
    ]
    return [float(b) for b in np.geomspace(min(spent), 10 * max(spent), count)]


def _one_budget(
    law: EncoderFit, cost: CostModel, budget: float, sizes: np.ndarray, confidence: float
) -> pd.DataFrame:
    pairs = np.array([budget / cost.flop_per_pair(n) for n in sizes])
    loss = law.predict(sizes, pairs)
    frame = pd.DataFrame(
        {"budget": budget, "vit_params": sizes, "image_text_pairs": pairs, "loss": loss}
    )
    frame["best"] = loss == loss.min()
    if law.replicates is not None:
        drawn = law.predict_replicates(sizes, pairs)
        fitted = len(law.basis.coefficients) + len(law.basis.exponents)
        freedom = len(law.solution.residual[0]) - fitted
        frame["low"], frame["high"] = expanded_interval(drawn, freedom, confidence)
        frame["wins"] = np.bincount(drawn.argmin(axis=1), minlength=len(sizes)) / len(drawn)
    return frame
