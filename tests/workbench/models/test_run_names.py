"""A source at the scales of its model's training, in any order, needs no note."""

from __future__ import annotations

import pandas as pd
import pytest

from feature_store.source import Source
from workbench.figures.curve import write_curve
from workbench.models.run_names import other_scales

MODEL = "run:vit-0123456789ab"
MANIFEST = {"weights_from": "run 0123456789abcdef, supervised, trained at 32+64.whole"}


@pytest.mark.parametrize(
    ("scales", "count"),
    [("32+64.whole", 0), ("64.whole+32", 0), ("32", 1), ("32+64", 1), ("32+64.whole+96", 1)],
)
def test_scales_are_compared_in_any_order(scales, count):
    source = Source.parse(f"{MODEL}@{scales}")
    lines = other_scales([(source, MANIFEST)])
    assert len(lines) == count
    assert all("trained at 32+64.whole" in line for line in lines)


def test_a_figure_of_cost_asks_for_the_folder_of_a_run(tmp_path, capsys):
    table = pd.DataFrame({"source": [f"{MODEL}@32"], "test_accuracy": [0.5]})
    assert write_curve(table, None, tmp_path / "a", metric="test_accuracy", label="") == []
    (line,) = capsys.readouterr().err.splitlines()
    assert MODEL in line
    assert "--source run:FOLDER@SCALES" in line
