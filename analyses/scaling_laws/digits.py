"""The committed results of a real star sweep: tiny vision transformers on 8 × 8 digits.

112 runs trained from scratch on one CPU core by `scripts/shape_sweep.py`: widths 8 to 32, depths 1
to 4 and MLP sizes 8 to 64 around the centre (width 64, depth 6, MLP 192), four budgets, two seeds.
"""

from __future__ import annotations

from importlib.resources import files

import pandas as pd


def load_digits_sweep() -> pd.DataFrame:
    """The runs.

    Returns
    -------
    pandas.DataFrame
        `dimension` (`centre` for the centre), `value`, `width`, `depth`, `mlp`, `images` (seen in
        training), `params`, `gmacs_per_image`, `compute` (forward GMACs of the run), `seed`,
        `metric` (held-out cross-entropy in nats), `error` (share misclassified), `cpu_seconds`.
    """
    with files(__package__).joinpath("data/digits_star_sweep.csv").open(encoding="utf-8") as handle:
        return pd.read_csv(handle)
