"""What can Table 10 of the S2 paper tell? Its rates are counts of 16 trials.

Each printed rate is the only multiple of 1/16 that rounds to it. Intervals, tests and the number of
trials that the printed difference would need follow from the counts.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analyses.statistics.bootstrap import wilson
from analyses.statistics.trials import fisher, trials_needed
from feature_store.errors import InputError

TRIALS = 16
"""Cube positions per model. Source: section 3.2 of the paper."""
BEST = ("Base", "224+448")
"""Row that the others are compared with: S2."""


def count_of(rate: float, trials: int = TRIALS) -> int:
    """Successes behind a printed percentage with one decimal.

    Parameters
    ----------
    rate : float
        Per cent.

    Raises
    ------
    InputError
        No number of successes rounds to it.

    Examples
    --------
    >>> count_of(43.8)
    7
    """
    count = round(rate / 100 * trials)
    if abs(100 * count / trials - rate) > 0.05 + 1e-9:
        raise InputError(f"{rate} % is not a share of {trials} trials")
    return count


def audit() -> pd.DataFrame:
    """Table 10 in counts.

    Returns
    -------
    pandas.DataFrame
        For each row: ``size``, ``scales``, ``successes`` and ``trials``, Wilson's 95 % interval
        ``low`` and ``high`` (per cent), and against S2: p of Fisher's exact test, and trials of
        each model at which a test would find a difference of this size in four of five studies
        (NaN for S2 itself).
    """
    table = pd.read_csv(Path(__file__).with_name("s2_table10_robotics.csv"))
    counts = {
        (size, scales): count_of(rate)
        for size, scales, rate in zip(
            table["size"], table["scales"].astype(str), table["success_rate"], strict=True
        )
    }
    records = []
    for (size, scales), count in counts.items():
        low, high = (100 * end for end in wilson(count, TRIALS))
        record = {
            "size": size, "scales": scales, "successes": count, "trials": TRIALS,
            "low": low, "high": high,
        }  # fmt: skip
        if (size, scales) != BEST:
            best = counts[BEST]
            record["p"] = fisher((best, TRIALS), (count, TRIALS))
            record["trials_needed"] = trials_needed(best / TRIALS, count / TRIALS)
        records.append(record)
    return pd.DataFrame(records)
