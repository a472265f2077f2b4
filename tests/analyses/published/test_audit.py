"""The audit finds what was planted, and what is known of the published Table 2."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses.published import audit


def printed(base=2.0):
    """A table that follows from its own losses, rounded as the paper rounds."""
    rows = []
    for target, null in (("Large", 0.3), ("Huge", 1.7)):
        loss = null * np.array([0.61, 0.55, 0.53])
        info = -np.log(loss / null) / np.log(base)
        cells = [
            [f"{a:.4f}", f"{b:.3f}", f"{100 * b / info[2]:.1f}"]
            for a, b in zip(loss, info, strict=True)
        ]
        for source, cell in zip(("Base", "Base-S2", "Huge"), cells, strict=True):
            rows.append(["X", target, source, *cell, *cell])
    columns = [f"{s}_{w}" for s in ("train", "test") for w in ("loss", "info", "ratio_pct")]
    return pd.DataFrame(rows, columns=["family", "target", "source", *columns])


@pytest.mark.parametrize(("name", "base"), [("2", 2.0), ("e", np.e), ("10", 10.0)])
def test_base_and_null_loss_of_a_consistent_table_are_found(name, base):
    found = audit.compute(printed(base))
    best = found.bases.set_index("base")
    assert best["consistent"].idxmax() == name
    assert best["spread"].idxmin() == name
    assert abs(found.fitted_base / base - 1) < 0.05
    if base == 2:
        assert found.cells.empty
        np.testing.assert_allclose(found.blocks["null_loss"], [0.3, 0.3, 1.7, 1.7], rtol=1e-3)


@pytest.mark.parametrize(
    ("column", "text", "cell"),
    [("test_info", "0.890", "info"), ("test_ratio_pct", "95.0", "ratio_pct")],
)
def test_a_planted_misprint_is_the_cell_that_is_listed(column, text, cell):
    table = printed()
    table.loc[1, column] = text
    found = audit.compute(table).cells
    hit = found[found["cell"] == cell]
    assert hit[["block", "split", "source"]].to_numpy().tolist()[0] == [
        "X Large",
        "test",
        "Base-S2",
    ]
    assert set(found["split"]) == {"test"}


def test_published_table_2_is_in_base_2_but_for_one_cell():
    found = audit.compute()
    assert found.bases.set_index("base")["consistent"].to_dict() == {"2": 7, "e": 2, "10": 0}
    assert abs(found.fitted_base - 2) < 0.005
    assert found.cells[["block", "split", "source", "cell"]].to_numpy().tolist() == [
        ["OpenCLIP Large", "test", "Giant", "info"]
    ]
    blocks = found.blocks.set_index(["block", "split"])
    assert abs(blocks.loc[("ViT Large", "train"), "null_loss"] - 0.1492) < 1e-4


def test_published_openclip_targets_share_one_null_loss():
    """Large and Huge differ in width and weights, yet their printed rows imply the same l0."""
    blocks = audit.compute().blocks.set_index(["block", "split"])
    for split in ("train", "test"):
        row = blocks.loc[("OpenCLIP Large", split)]
        assert row["nearest_target"] == "OpenCLIP Huge"
        assert row["nearest_gap"] < 2e-4
