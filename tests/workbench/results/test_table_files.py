"""A table as Markdown, CSV and LaTeX: digits, alignment, escapes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.results.table_files import to_latex, to_markdown, write_table


@pytest.fixture
def table():
    return pd.DataFrame(
        {"source": ["a|b_1", "c"], "loss": [0.123456, np.nan], "images": [7, 12], "ok": ["", "x"]}
    )


def test_markdown_rounds_numbers_and_keeps_text(table):
    header, rule, first, second = to_markdown(table).splitlines()
    assert header.replace(" ", "") == "|source|loss|images|ok|"
    assert [part[0] + part[-1] for part in rule.split("|")[1:-1]] == [":-", "-:", "-:", ":-"]
    assert first.replace(" ", "") == "|a\\|b_1|0.1235|7||"
    assert second.replace(" ", "") == "|c|nan|12|x|"
    assert " 0.12 " in to_markdown(table, ".2f")


def test_latex_aligns_numbers_right_and_escapes(table):
    text = to_latex(table, ".3f", caption="100 % of a_b")
    assert "\\begin{tabular}{lrrl}" in text
    assert "a\\textbar{}b\\_1 & 0.123 & 7 & " in text
    assert "\\caption{100 \\% of a\\_b}" in text
    assert "caption" not in to_latex(table)


def test_files_hold_the_shown_part_and_the_csv_all_of_it(table, tmp_path):
    paths = write_table(
        table, tmp_path / "new" / "t", shown=table[["loss"]], caption="Losses.", notes=["few"]
    )
    assert [path.name for path in paths] == ["t.md", "t.csv", "t.tex"]
    text = paths[0].read_text(encoding="utf-8")
    assert text.startswith("Losses.\n\n|")
    assert text.endswith("\n> few\n")
    assert "source" not in text + paths[2].read_text(encoding="utf-8")
    assert pd.read_csv(paths[1])["loss"].tolist()[0] == table["loss"][0]
    assert list(pd.read_csv(paths[1])) == list(table)


def test_a_table_without_rows_has_its_header(tmp_path):
    paths = write_table(pd.DataFrame(columns=["source", "loss"]), tmp_path / "empty")
    assert all("loss" in path.read_text(encoding="utf-8") for path in paths)
