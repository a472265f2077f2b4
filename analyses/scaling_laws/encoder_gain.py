"""What a larger encoder gains: in loss at each D, and in image-text pairs at equal loss.

Gain of N2 over N1 at D: g(D) = L(N1, D) − L(N2, D), in units of the loss; positive means that the
larger encoder pays. Both runs at one D share their samples, so the difference is taken run by run,
which removes that shared noise, and g(D) ≈ p + q log D is fitted to the differences; intervals are
Student's. The D at which "the larger encoder starts to pay" is the zero of this line for q > 0.

Exchange rate at D: the factor k on the pairs that gives the smaller encoder the larger one's loss,

    E1 + B (k D)^(−β) = E2 + B D^(−β),   k = (1 − (E1 − E2) D^β / B)^(−1/β),

with the free law's levels E1, E2. k > 1: the larger encoder is worth (k − 1) D pairs; k < 1: it
loses that much; k is infinite where, under the law, no amount of data makes up for it.

Source: section 4 of "Are Bigger Encoders Always Better in Vision Large Models?" (the claims).
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from analyses.scaling_laws.encoder import EncoderFit, GroupFit
from analyses.scaling_laws.fitting import expanded_interval
from feature_store.errors import InputError


def gains(group: GroupFit, small: float, large: float, confidence: float = 0.95) -> pd.DataFrame:
    """Gain of one encoder over another at every D at which both have runs.

    Returns
    -------
    pandas.DataFrame
        `image_text_pairs`, `observed` (difference of the two runs), `gain` (fitted line), `low`,
        `high` (interval of the line: the expected gain), `run_low`, `run_high` (interval for one
        new pair of runs). attrs: `slope` and its interval per factor e of D, `mean` gain and its
        interval, `crossing` (the D of zero gain; None if it is more than a factor of ten outside
        the runs), `crossing_extrapolated`, `verdict`. The larger encoder starts to pay at
        `crossing` where the slope is positive, and ceases to pay there where it is negative.

    Raises
    ------
    InputError
        Encoders without runs, or fewer than 4 common D.
    """
    table = group.runs.pivot_table(
        index="image_text_pairs", columns="vit_params", values="eval_loss", aggfunc="mean"
    )
    absent = [n for n in (small, large) if n not in table.columns]
    if absent:
        raise InputError(
            f"no runs of an encoder of {absent[0]:g} parameters; choose from: "
            f"{', '.join(f'{n:g}' for n in table.columns)}"
        )
    difference = (table[small] - table[large]).dropna()
    if len(difference) < 4:
        raise InputError(
            f"{len(difference)} values of image_text_pairs have runs of both {small:g} and "
            f"{large:g}; at least 4 are needed for an interval"
        )
    frame, slope = _line(difference, confidence)
    frame.attrs |= {"llm": group.llm, "dataset": group.dataset, "small": small, "large": large}
    frame.attrs |= slope | _mean(difference.to_numpy(), confidence)
    frame.attrs["verdict"] = _verdict(frame)
    return frame


def exchange(
    group: GroupFit, small: float, large: float, pairs: float, confidence: float = 0.95
) -> dict[str, float]:
    """Factor k on the pairs that makes up for the smaller encoder at D = `pairs`, with interval."""
    free = group.fits["free"]
    value = float(_factor(free, small, large, pairs, replicates=False)[0])
    result = {"pairs": pairs, "factor": value}
    if free.replicates is not None:
        drawn = _factor(free, small, large, pairs, replicates=True)
        freedom = len(group.runs) - len(free.basis.coefficients) - 1
        # Quantiles of values that may be infinite: through 1/k, which is finite.
        inverse = expanded_interval(1 / drawn, freedom, confidence)
        high, low = (1 / v if v > 1e-12 else np.inf for v in inverse)
        result |= {"low": float(low), "high": float(high)}
        result["share_infinite"] = float(np.isinf(drawn).mean())
    return result


def exchange_exponent(group: GroupFit, params: float, pairs: float) -> float:
    """−d log D / d log N along a line of equal loss of the power law, at (N, D).

    = α A N^(−α) / (β B D^(−β)): the per cent of pairs that can be saved, at equal loss, with one
    per cent more encoder parameters.
    """
    power = group.fits["power"].parameters
    encoder = power["alpha"] * power["A"] * params ** -power["alpha"]
    data = power["beta"] * power["B"] * pairs ** -power["beta"]
    return float(encoder / data) if data > 0 else float("nan")


def summary(group: GroupFit, confidence: float = 0.95) -> pd.DataFrame:
    """One row per step to the next larger encoder: mean gain, slope, crossing, exchange rate."""
    rows = []
    sizes = sorted(group.runs["vit_params"].unique())
    for small, large in itertools.pairwise(sizes):
        most = float(group.runs["image_text_pairs"].max())
        rate = exchange(group, small, large, most, confidence)
        try:
            attrs = gains(group, small, large, confidence).attrs
        except InputError as error:  # too few common D: the exchange rate still stands
            attrs = {"llm": group.llm, "dataset": group.dataset, "small": small, "large": large}
            attrs |= {"verdict": str(error)}
        rows.append(attrs | {f"exchange_{name}": value for name, value in rate.items()})
    return pd.DataFrame(rows)


def by_pairs(group: GroupFit, confidence: float = 0.95) -> pd.DataFrame:
    """Every step to the next larger encoder at every D: one row per gain, with its intervals.

    Columns `llm`, `dataset`, `small`, `large`, those of :func:`gains`, and `exchange_exponent`
    (of the power law at `small` and D); steps with fewer than 4 common D are left out.
    """
    parts = []
    for small, large in itertools.pairwise(sorted(group.runs["vit_params"].unique())):
        try:
            frame = gains(group, small, large, confidence)
        except InputError:  # the summary carries the reason
            continue
        named = {"llm": group.llm, "dataset": group.dataset, "small": small, "large": large}
        rate = [exchange_exponent(group, small, d) for d in frame["image_text_pairs"]]
        parts.append(
            pd.DataFrame(named, index=frame.index).join(frame).assign(exchange_exponent=rate)
        )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _line(
    difference: pd.Series, confidence: float
) -> tuple[pd.DataFrame, dict[str, float | bool | None]]:
    """Least squares of the differences on log D, with intervals of line, slope and zero."""
    log_d = np.log(difference.index.to_numpy(float))
    y = difference.to_numpy()
    n, x = len(y), log_d - log_d.mean()
    slope = float(x @ y / (x @ x))
    residual = y - y.mean() - slope * x
    spread = float(np.sqrt(residual @ residual / (n - 2)))
    t = stdtrit(n - 2, (1 + confidence) / 2)
    line = y.mean() + slope * x
    margin = t * spread * np.sqrt(1 / n + x**2 / (x @ x))
    wide = t * spread * np.sqrt(1 + 1 / n + x**2 / (x @ x))
    frame = pd.DataFrame(
        {
            "image_text_pairs": difference.index.to_numpy(float),
            "observed": y,
            "gain": line,
            "low": line - margin,
            "high": line + margin,
            "run_low": line - wide,
            "run_high": line + wide,
        }
    )
    error = t * spread / np.sqrt(x @ x)
    log_zero = log_d.mean() - y.mean() / slope if slope else np.inf
    near = log_d.min() - np.log(10) <= log_zero <= log_d.max() + np.log(10)
    return frame, {
        "slope": slope,
        "slope_low": slope - error,
        "slope_high": slope + error,
        "crossing": float(np.exp(log_zero)) if near else None,
        "crossing_extrapolated": not log_d.min() <= log_zero <= log_d.max() if near else None,
    }


def _mean(y: np.ndarray, confidence: float) -> dict[str, float]:
    error = stdtrit(len(y) - 1, (1 + confidence) / 2) * y.std(ddof=1) / np.sqrt(len(y))
    return {
        "mean": float(y.mean()),
        "mean_low": float(y.mean() - error),
        "mean_high": float(y.mean() + error),
    }


def _verdict(frame: pd.DataFrame) -> str:
    """The D at which the interval of the gain excludes zero, in words."""
    pays = frame.loc[frame["low"] > 0, "image_text_pairs"]
    hurts = frame.loc[frame["high"] < 0, "image_text_pairs"]
    parts = []
    for word, where in (("pays", pays), ("hurts", hurts)):
        if len(where):
            span = (
                f"{where.min():.3g} to {where.max():.3g}"
                if len(where) > 1
                else f"{where.min():.3g}"
            )
            parts.append(f"{word} at {span} pairs")
    return "; ".join(parts) if parts else "no gain or loss shown at any number of pairs"


def _factor(
    free: EncoderFit, small: float, large: float, pairs: float, *, replicates: bool
) -> np.ndarray:
    source = free.replicates if replicates else free.solution
    if source is None:
        raise InputError("this fit has no bootstrap; ask for at least 20 replicates")
    values = free.basis.in_units(source.theta, source.weights)
    for n in (small, large):
        if f"E_{n:g}" not in values:
            raise InputError(f"the free law has no level for an encoder of {n:g} parameters")
    gap = values[f"E_{small:g}"] - values[f"E_{large:g}"]
    left = 1 - gap * pairs ** values["beta"] / values["B"]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.where(left > 0, np.maximum(left, 1e-300) ** (-1 / values["beta"]), np.inf)
