"""Does the loss fall or rise with encoder size and with pairs? Slopes and their signs.

Within one decade of pairs and of sizes, L(N, D) = E + A N^(−α) + B D^(−β) is nearly a plane in
log N and log D, whose slopes have the signs of −α and −β (for A, B > 0). Unlike the exponents, the
slopes are determined by a few runs.

Source: "Are Bigger Encoders Always Better in Vision Large Models?", tables 2 to 4.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import t

from analyses.scaling_laws.encoder import COLUMNS, GROUP
from analyses.scaling_laws.runs import positive, require_spread

NAMES = {"vit_params": "size", "image_text_pairs": "pairs"}


def compute(runs: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Change of the loss, in nats a token, when encoder or pairs double; one row per group of runs.

    Parameters
    ----------
    runs : pandas.DataFrame
        ``vit_params``, ``image_text_pairs``, ``eval_loss``, ``llm``, ``dataset``.

    Returns
    -------
    pandas.DataFrame
        ``llm``, ``dataset``, ``runs``; ``size``, ``size_low``, ``size_high``, ``pairs``,
        ``pairs_low``, ``pairs_high``: slopes of a least-squares plane with their intervals, which
        take the residuals for independent.

    Raises
    ------
    InputError
        Missing columns, bad cells, or fewer than two sizes or numbers of pairs.

    Examples
    --------
    >>> runs = pd.DataFrame({"vit_params": [1e6, 1e6, 4e6, 4e6], "image_text_pairs": [1, 2, 1, 2],
    ...                      "eval_loss": [3.0, 2.5, 3.2, 2.7], "llm": "a", "dataset": "b"})
    >>> compute(runs)[["size", "pairs"]].round(3).values.tolist()
    [[0.1, -0.5]]
    """
    table = positive(runs, COLUMNS)
    rows = []
    for (llm, dataset), part in table.groupby(list(GROUP), sort=False):
        for column, name in NAMES.items():
            require_spread(part[column], 2, f"the change with {name} is a difference")
        inputs = np.log2(part[list(NAMES)].to_numpy())
        plane = np.column_stack([np.ones(len(part)), inputs - inputs.mean(0)])
        loss = part["eval_loss"].to_numpy()
        slopes, *_ = np.linalg.lstsq(plane, loss, rcond=None)
        free = len(part) - plane.shape[1]
        variance = ((loss - plane @ slopes) ** 2).sum() / max(free, 1)
        errors = np.sqrt(variance * np.diag(np.linalg.inv(plane.T @ plane)))
        half = t.ppf(0.5 + confidence / 2, max(free, 1)) * errors
        row: dict[str, object] = {"llm": llm, "dataset": dataset, "runs": len(part)}
        for n, name in enumerate(NAMES.values(), start=1):
            row |= {
                name: slopes[n], f"{name}_low": slopes[n] - half[n],
                f"{name}_high": slopes[n] + half[n],
            }  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows)


def sign(low: float, high: float) -> str:
    """``falls``, ``rises``, or ``undecided`` if the interval holds zero.

    >>> sign(-0.2, -0.1), sign(-0.1, 0.1)
    ('falls', 'undecided')
    """
    return "falls" if high < 0 else "rises" if low > 0 else "undecided"
