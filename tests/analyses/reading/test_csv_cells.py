"""Cells of CSV files: no formula for a spreadsheet, and the same text when read again."""

from __future__ import annotations

import pandas as pd

from analyses.reading.csv_cells import neutralised, restored
from analyses.scaling_laws.runs import read_runs

FORMULAS = ["=1+1", "+a", "-b", "@c", "\td", "\re", '=HYPERLINK("x")', "'=1", "''@"]
PLAIN = ["cat", "", "-0.5", "+2", "'quoted'", "a=b"]


def test_formulas_get_an_apostrophe_and_numbers_do_not():
    table = pd.DataFrame({"=name": FORMULAS, "loss": -1.0})
    found = neutralised(table)
    assert list(found) == ["'=name", "loss"]
    assert found["'=name"].tolist() == ["'" + text for text in FORMULAS]
    assert found["loss"].equals(table["loss"])
    assert neutralised(pd.DataFrame({"a": PLAIN}))["a"].tolist() == PLAIN
    assert neutralised(pd.DataFrame({"a": ["=", None, 1, True]}))["a"].tolist() == [
        "'=",
        None,
        1,
        True,
    ]


def test_restored_is_the_inverse():
    table = pd.DataFrame({"-a": FORMULAS + PLAIN})
    assert restored(neutralised(table))["-a"].tolist() == FORMULAS + PLAIN
    assert list(restored(neutralised(table))) == ["-a"]


def test_runs_are_read_as_they_were_written(tmp_path):
    table = pd.DataFrame({"llm": ["=a", "b"], "eval_loss": [-0.5, 1.5]})
    neutralised(table).to_csv(tmp_path / "runs.csv", index=False)
    assert "'=a" in (tmp_path / "runs.csv").read_text()
    pd.testing.assert_frame_equal(read_runs(tmp_path / "runs.csv"), table)
