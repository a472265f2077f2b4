"""Does a bigger vision encoder pay? Laws of the loss in encoder size and image-text pairs.

Claim under test: within the connected-vision paradigm (frozen encoder, trained projector) a larger
encoder need not lower the loss. Each group of runs (one language model, one dataset) is fitted
with every variant of :mod:`~analyses.scaling_laws.encoder_basis`; AICc and BIC compare them.

The runs at one D share their training and validation samples, so their residuals move together.
Where the table is complete, the bootstrap therefore redraws all runs at one D together. The
information criteria assume independent residuals: read them as a ranking.

Source: "Are Bigger Encoders Always Better in Vision Large Models?", tables 2 to 4, figures 1 to 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses import published
from analyses.scaling_laws.encoder_basis import VARIANTS, EncoderBasis
from analyses.scaling_laws.fitting import (
    FitOptions,
    bootstrap,
    expanded_interval,
    fit,
    fitted,
    unidentified,
)
from analyses.scaling_laws.runs import positive, require_spread
from analyses.scaling_laws.separable import Array, SeparableFit
from feature_store.errors import InputError

COLUMNS = ("vit_params", "image_text_pairs", "eval_loss")
GROUP = ("llm", "dataset")
MAIN_VARIANT = "power"


@dataclass(frozen=True, kw_only=True)
class EncoderFit:
    """One variant fitted to one group of runs."""

    basis: EncoderBasis
    """The law at the runs."""
    solution: SeparableFit
    """The fit (one problem)."""
    replicates: SeparableFit | None
    """Bootstrap fits, if resamples were asked for."""
    parameters: dict[str, float]
    """Parameters for N in parameters and D in pairs."""
    intervals: dict[str, tuple[float, float]]
    """Interval of each parameter."""
    rms: float
    """Root mean squared residual."""
    aicc: float
    """Akaike's criterion, corrected for few runs."""
    bic: float
    """Schwarz's criterion."""
    unidentified: dict[str, str]
    """Exponents that the runs do not determine, with the reason."""

    @property
    def at_zero(self) -> tuple[str, ...]:
        """Coefficients that the fit puts at their lower bound, zero."""
        zero = self.solution.weights[0] == 0
        return tuple(n for n, z in zip(self.basis.coefficients, zero, strict=True) if z)

    def predict(self, params: Array | float, pairs: Array | float) -> Array:
        """Loss at encoder parameters and pairs, broadcast to one dimension."""
        n, d = np.broadcast_arrays(np.atleast_1d(params), np.atleast_1d(pairs))
        columns = self.basis.columns_at(self.solution.theta, n.astype(float), d.astype(float))
        return columns[0] @ self.solution.weights[0]

    def predict_replicates(self, params: Array | float, pairs: Array | float) -> Array:
        """As :meth:`predict`, for every bootstrap replicate: (replicates, q)."""
        if self.replicates is None:
            raise InputError("this fit has no bootstrap; ask for at least 20 replicates")
        n, d = np.broadcast_arrays(np.atleast_1d(params), np.atleast_1d(pairs))
        columns = self.basis.columns_at(self.replicates.theta, n.astype(float), d.astype(float))
        return np.einsum("pqk,pk->pq", columns, self.replicates.weights)


@dataclass(frozen=True, kw_only=True)
class GroupFit:
    """All variants fitted to the runs of one language model on one dataset."""

    llm: str
    """Language model."""
    dataset: str
    """Dataset of image-text pairs."""
    runs: pd.DataFrame
    """The runs."""
    fits: dict[str, EncoderFit]
    """Variant to fit."""
    own: dict[float, EncoderFit]
    """Encoder size to the fit L(D) = E + B D^(−β) of its runs alone."""

    @property
    def best(self) -> str:
        """The law in N of least BIC, among those whose parameters the runs determine."""
        laws = {v: f for v, f in self.fits.items() if v != "free" and not f.unidentified}
        return min(laws, key=lambda v: laws[v].bic) if laws else MAIN_VARIANT

    def __repr__(self) -> str:
        """Group, runs and the law chosen; :func:`comparison` has the numbers."""
        return f"<GroupFit {self.llm}, {self.dataset}: {len(self.runs)} runs, law {self.best}>"

    def residuals(self) -> pd.DataFrame:
        """Tables 2 to 4 with fits: the runs with `fitted` and `residual` of every variant."""
        out = self.runs.copy()
        for variant, done in self.fits.items():
            out[f"fitted_{variant}"] = done.predict(out["vit_params"], out["image_text_pairs"])
            out[f"residual_{variant}"] = out["eval_loss"] - out[f"fitted_{variant}"]
        return out


def published_runs() -> pd.DataFrame:
    """The paper's 120 losses, with image tokens per image (196 for patch 16, 256 for patch 14)."""
    runs = published.load("vlm_tables02_04_eval_loss")
    return runs.assign(image_tokens=np.where(runs["vit_params"] == 86_000_000, 196, 256))


def compute(runs: pd.DataFrame, options: FitOptions | None = None) -> list[GroupFit]:
    """Fit every variant to every group of runs.

    Parameters
    ----------
    runs : pandas.DataFrame
        `vit_params`, `image_text_pairs`, `eval_loss`, all positive; optionally `llm` and
        `dataset`, by which the runs are grouped.
    options : FitOptions, optional
        Plain least squares by default, as the criteria assume.

    Raises
    ------
    InputError
        Missing columns, bad cells, too few runs, sizes or pairs, or a parameter of the main law
        E + A N^(−α) + B D^(−β) that the runs do not determine (unless allowed).
    """
    options = options or FitOptions(loss="linear")
    table = positive(runs, COLUMNS)
    for column in GROUP:
        if column not in table.columns:
            table[column] = "all"
    groups = table.groupby(list(GROUP), sort=False)
    return [_fit_group(str(llm), str(data), part, options) for (llm, data), part in groups]


def _fit_group(llm: str, dataset: str, runs: pd.DataFrame, options: FitOptions) -> GroupFit:
    runs = runs.sort_values(["vit_params", "image_text_pairs"]).reset_index(drop=True)
    if len(runs) < 7:
        raise InputError(
            f"{llm} on {dataset} has {len(runs)} runs; the law has 5 parameters, so at least 7 "
            "are needed"
        )
    require_spread(runs["vit_params"], 3, "the curve in size determines E, A and alpha")
    require_spread(runs["image_text_pairs"], 3, "the curve in pairs determines E, B and beta")
    fits = {variant: fit_variant(runs, variant, options) for variant in VARIANTS}
    missing = fits[MAIN_VARIANT].unidentified
    if missing and not options.allow_unidentified:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise InputError(
            f"{llm} on {dataset}: these runs do not determine {reasons}. Add encoder sizes or "
            "data budgets, or allow unidentified parameters"
        )
    own = {
        float(size): fit_variant(part.reset_index(drop=True), "pairs", options)
        for size, part in runs.groupby("vit_params")
        if part["image_text_pairs"].nunique() >= 4
    }
    return GroupFit(llm=llm, dataset=dataset, runs=runs, fits=fits, own=own)


def fit_variant(runs: pd.DataFrame, variant: str, options: FitOptions) -> EncoderFit:
    """Fit one variant to the runs of one group; undetermined parameters are only reported."""
    params = runs["vit_params"].to_numpy(float)
    pairs = runs["image_text_pairs"].to_numpy(float)
    y = runs["eval_loss"].to_numpy(float)
    basis = EncoderBasis(params, pairs, variant)
    solution = fit(basis, y, options)
    replicates, intervals = None, {}
    count = len(basis.exponents) + len(basis.coefficients)
    if options.resamples:
        replicates = bootstrap(basis, y, solution, options, _blocks(runs))
        values = basis.in_units(replicates.theta, replicates.weights)
        intervals = {
            name: (float(low), float(high))
            for name, v in values.items()
            for low, high in [expanded_interval(v, len(y) - count, options.confidence)]
        }
    rss = float(((y - fitted(basis, solution)[0]) ** 2).sum())
    values = basis.in_units(solution.theta, solution.weights)
    return EncoderFit(
        basis=basis,
        solution=solution,
        replicates=replicates,
        parameters={name: float(v[0]) for name, v in values.items()},
        intervals=intervals,
        rms=float(np.sqrt(rss / len(y))),
        **_criteria(rss, len(y), count + 1),
        unidentified=unidentified(basis, solution, y),
    )


def comparison(groups: list[GroupFit]) -> pd.DataFrame:
    """One row per group and variant: parameters, rms, AICc, BIC and their distance to the best."""
    rows: list[dict[str, Any]] = []
    for group in groups:
        least = min(done.bic for done in group.fits.values())
        least_aicc = min(done.aicc for done in group.fits.values())
        for variant, done in group.fits.items():
            row: dict[str, Any] = {"llm": group.llm, "dataset": group.dataset, "variant": variant}
            row |= {"rms": done.rms, "aicc": done.aicc, "delta_aicc": done.aicc - least_aicc}
            row |= {"bic": done.bic, "delta_bic": done.bic - least}
            row |= {k: v for k, v in done.parameters.items() if not k.startswith("E_")}
            row["at_zero"] = ", ".join(done.at_zero)
            rows.append(row | {"unidentified": ", ".join(done.unidentified)})
    return pd.DataFrame(rows)


def _criteria(rss: float, n: int, count: int) -> dict[str, float]:
    """AICc and BIC of a Gaussian model with `count` parameters, its variance included."""
    if rss <= 0:
        return {"aicc": float("-inf"), "bic": float("-inf")}
    fit_term = n * np.log(rss / n)
    if n <= count + 1:
        return {"aicc": float("inf"), "bic": float(fit_term + count * np.log(n))}
    correction = 2 * count * (count + 1) / (n - count - 1)
    return {
        "aicc": float(fit_term + 2 * count + correction),
        "bic": float(fit_term + count * np.log(n)),
    }


def _blocks(runs: pd.DataFrame) -> NDArray[np.int64] | None:
    """Number of each run's D, if every encoder has one run at every D; None otherwise."""
    sizes, pairs = runs["vit_params"].nunique(), runs["image_text_pairs"].nunique()
    complete = len(runs) == sizes * pairs and not runs.duplicated(list(COLUMNS[:2])).any()
    if sizes == 1 or not complete:
        return None
    return np.unique(runs["image_text_pairs"], return_inverse=True)[1]
