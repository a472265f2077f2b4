"""The committed table and page follow the committed runs; the list of runs has no doubles."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pandas as pd
import pytest

from analyses import experiments
from analyses.experiments import dense
from workbench.tables.render import dense_tables

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "scripts/experiments/dense_heads.py"
PROSE = "## What the runs show"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return runpy.run_path(str(SCRIPT))


def test_every_row_of_a_data_set_has_its_own_file(script):
    rows = [(data, row) for data, one in script["DATA"].items() for row in one.rows]
    runs = [script["Run"](data=data, row=row, head="linear", seed=0) for data, row in rows]
    assert len({run.path for run in runs}) == len(rows)
    assert {dense.BASE, dense.WHOLE, dense.ADDED} <= set(script["ROWS"])
    assert set(script["DATA"]) == set(dense_tables.IMAGES)


def test_the_committed_table_is_the_summary_of_the_committed_runs(script, tmp_path):
    found, stored = script["summary"](), experiments.load(dense.SUMMARY)
    found.to_csv(tmp_path / "found.csv", index=False)
    pd.testing.assert_frame_equal(stored, pd.read_csv(tmp_path / "found.csv"), rtol=1e-6)


def test_the_page_has_the_tables_and_its_words_have_no_other_figures(script):
    text = script["PAGE"].read_text(encoding="utf-8")
    tables = script["runner"].tables_of(script["PAGE"])
    assert tables == dense_tables.page(), "run dense_heads.py --summary"
    prose = text.partition(PROSE)[2].partition("\n## ")[0]
    figures = set(re.findall(r"\d+\.\d+", prose))
    assert figures
    assert sorted(figures - set(re.findall(r"\d+\.\d+", tables))) == []


def test_a_summary_rewrites_the_tables_of_the_page_alone(script, tmp_path):
    page, table = tmp_path / "page.md", tmp_path / "table.csv"
    begin, end = script["runner"].BEGIN, script["runner"].END
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    script["write_summary"].__globals__.update(PAGE=page, TABLE=table)
    script["write_summary"](None)
    assert page.read_text().startswith(f"before\n{begin}\n\n## Segmentation")
    assert page.read_text().endswith(f"{end}\nafter\n")
    assert "old" not in page.read_text()
    assert list(pd.read_csv(table).columns) == dense.COLUMNS
