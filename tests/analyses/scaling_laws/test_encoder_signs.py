"""Slopes of the loss in encoder size and pairs, on planted planes and on the published runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses.scaling_laws import encoder, encoder_signs
from feature_store.errors import InputError


def planted(size, pairs, noise=0.0, seed=0):
    """Runs of a plane with these changes per doubling."""
    random = np.random.default_rng(seed)
    rows = [
        {"vit_params": n, "image_text_pairs": d, "llm": "a", "dataset": "b",
         "eval_loss": 3 + size * np.log2(n / 1e6) + pairs * np.log2(d / 500)
         + noise * random.normal()}
        for n in (1e6, 3e6, 5e6, 8e6) for d in (500, 1000, 2000, 4000)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_slopes_are_the_planted_ones_and_intervals_hold_them():
    row = encoder_signs.compute(planted(0.1, -0.3)).iloc[0]
    assert (row["size"], row["pairs"], row["runs"]) == (
        pytest.approx(0.1), pytest.approx(-0.3), 16,
    )  # fmt: skip
    rows = [encoder_signs.compute(planted(0.1, -0.3, 0.05, seed)).iloc[0] for seed in range(60)]
    held = np.mean([row["size_low"] < 0.1 < row["size_high"] for row in rows])
    assert held > 0.85
    assert all(row["pairs_high"] < 0 for row in rows)
    wide = encoder_signs.compute(planted(0.0, -0.3, noise=0.5, seed=1)).iloc[0]
    assert encoder_signs.sign(wide["size_low"], wide["size_high"]) == "undecided"


def test_published_losses_fall_with_pairs():
    found = encoder_signs.compute(encoder.published_runs())
    assert len(found) == 3
    assert (found["pairs_high"] < 0).all()


def test_one_size_is_refused():
    with pytest.raises(InputError, match="vit_params"):
        encoder_signs.compute(planted(0.1, -0.3).query("vit_params == 1e6"))
