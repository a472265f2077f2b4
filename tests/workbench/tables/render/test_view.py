"""Markdown, CSV, LaTeX and HTML of one table: they parse, agree, and escape what users wrote."""

from __future__ import annotations

import io
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from feature_store import InputError
from workbench.results import strict_json
from workbench.tables.render import html, latex, markdown, report, view, write
from workbench.tables.render.load import load

EVIL = "<script>alert(1)</script>"
TEX = "a_b & 50 % {x} $y$ \\z #1 | −"


@pytest.fixture
def table():
    cells = [
        {"published": 80.3, "printed": "80.3", "value": 71.25, "low": 60.0, "high": 80.0,
         "comparable": True, "difference": -9.05, "source": "m:a@224", "analysis": "probe",
         "data": "d", "measurement": "mark"},
        {"published": "OOM", "printed": "OOM", "value": None, "low": None, "high": None,
         "comparable": False},
        {"published": 1.5, "printed": "1.50", "value": 1.0, "low": None, "high": None,
         "comparable": False},
    ]  # fmt: skip
    rows = [
        {"label": [name], "source": "m:a@224", "note": "", "cells": {"top1": cell}}
        for name, cell in zip((EVIL, TEX, "plain"), cells, strict=True)
    ]
    return {
        "key": "5", "title": f"Title {EVIL}", "question": EVIL, "paper": "P", "paper_name": "S2",
        "reference": "Table 5", "label": ["model"], "metrics": [
            {"column": "top1", "name": "top-1 (%)", "better": "higher", "digits": 1}],
        "rows": rows, "comparisons": [
            {"question": EVIL, "metric": "top1", "kind": "difference", "better": "higher",
             "paper": 1.2, "here": -3.0, "low": -5.0, "high": 1.0, "interval": "unpaired",
             "one_law": False, "verdict": "undecided"}],
        "footnotes": [EVIL, TEX], "comparable": False, "missing": "", "measurements": {},
        "code": {"commit": None, "dirty": None, "version": "0"}, "date": "now", "detail": [],
        "pictures": [],
    }  # fmt: skip


BLOCK = {
    "name": "cost 5", "kind": "cost", "title": EVIL, "caption": EVIL, "columns": ["a", EVIL],
    "records": [{"a": 1.5, EVIL: None}, {"a": 2.0, EVIL: EVIL}],
}  # fmt: skip


class Tags(HTMLParser):
    """Opened tags, and everything that asks for something outside of the page."""

    def __init__(self):
        super().__init__()
        self.tags, self.outside = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.outside += [v for k, v in attrs if k in ("src", "href") and not _inside(v)]


def _inside(value):
    return value.startswith(("#", "data:image/"))


def test_numbers_intervals_and_differences_as_shown(table):
    found = view.shown(table)
    assert list(found["top-1 (%)", "here"]) == ["71.2 [60.0, 80.0]", "not determined", "1.0"]
    assert list(found["top-1 (%)", "paper"]) == ["80.3", "OOM", "1.50"]
    assert list(found["top-1 (%)", "difference"]) == ["−9.1", "", "n/c"]
    line = view.comparisons(table).iloc[0]
    assert (line["paper"], line["here"]) == ("+1.2", "−3.0 [−5.0, +1.0]")


def test_labels_that_count_millions():
    texts = ["86000000", "5300000", "1010000000", "10000", "224+448", "86567656"]
    assert [view._label(t) for t in texts] == [
        "86M", "5.3M", "1010M", "10000", "224+448", "86567656"
    ]  # fmt: skip


def test_a_page_shows_unseen_images_first_and_leaves_out_what_is_not_comparable():
    columns = [("", "family"), ("", "source"), ("train info", "here"), ("test info", "paper"),
               ("test info", "here"), ("test info", "difference"), ("train loss", "here"),
               ("", "run here")]  # fmt: skip
    frame = pd.DataFrame([[*"ab12345m"]], columns=pd.MultiIndex.from_tuples(columns))
    frame["test info", "difference"] = "n/c"
    first, training = view.on_page(frame, 2)
    name = ("", "family, source")
    assert first.iloc[0].to_dict() == {
        name: "a, b", ("test info", "paper"): "2", ("test info", "here"): "3",
        ("train loss", "here"): "5", ("", "run here"): "m",
    }  # fmt: skip
    assert training.iloc[0].to_dict() == {name: "a, b", ("train info", "here"): "1"}
    frame["test info", "difference"] = "+0.1"
    assert ("test info", "difference") in view.on_page(frame, 2)[0].columns


def test_training_images_are_folded_on_the_page(table):
    table["metrics"] += [{**table["metrics"][0], "column": c, "name": n} for c, n in
                         (("a", "train info"), ("b", "test info"))]  # fmt: skip
    for row in table["rows"]:
        row["cells"] |= dict.fromkeys("ab", row["cells"]["top1"])
    before, folded = html.section(table, [], Path()).split("<details>")
    assert "test info" in before
    assert "train info" not in before
    assert "train info" in folded.split("</details>")[0]


def test_footnotes_stand_under_the_word_that_they_begin_with():
    lines = [
        "n/c: not comparable",
        "Fit: exact",
        "It says: this",
        "Fit: b",
    ]
    assert view.grouped(lines) == {
        "Notes": ["n/c: not comparable", "It says: this"],
        "Fit": ["exact", "b"],
    }


def test_html_escapes_everything(table):
    parsed = Tags()
    parsed.feed(html.section(table, [BLOCK], Path()))
    assert "script" not in parsed.tags
    assert parsed.tags.count("table") == 3
    assert EVIL.replace("<", "&lt;").replace(">", "&gt;") in html.section(table, [BLOCK], Path())


def test_the_report_is_self_contained(table, tmp_path):
    table |= {"blocks": [BLOCK]}
    found = {"5": {"table": "5", "state": "current", "reasons": []}}
    page = report.write({"5": table}, found, tmp_path, "bundled").read_text(encoding="utf-8")
    parsed = Tags()
    parsed.feed(page)
    assert "script" not in parsed.tags
    assert parsed.outside == []
    assert "http" not in page


def test_a_tables_own_page_adapts_to_a_phone_and_the_dark(table, tmp_path):
    write.write_files(table, [BLOCK], tmp_path / "table05")
    page = (tmp_path / "table05.html").read_text(encoding="utf-8")
    assert '<meta name="viewport" content="width=device-width' in page
    assert "prefers-color-scheme: dark" in page
    parsed = Tags()
    parsed.feed(page)
    assert "script" not in parsed.tags
    assert parsed.outside == []


def test_a_table_in_a_notebook(table, tmp_path):
    strict_json.write(table | {"blocks": [BLOCK], "digest": "d"}, tmp_path / "table05.json")
    found = load(tmp_path, "5")
    assert list(found.numbers["here"])[::2] == [71.25, 1.0]
    assert found.shown.equals(view.shown(table))
    assert "<script" not in found._repr_html_()
    assert "Table 5): 3 rows>" in repr(found)
    with pytest.raises(InputError, match="does not hold table '6'; it holds 5"):
        load(tmp_path, "6")


def test_a_stale_table_is_named_and_left_out(table, tmp_path):
    table |= {"blocks": []}
    found = {"5": {"table": "5", "state": "stale", "reasons": [EVIL]}}
    page = report.write({"5": table}, found, tmp_path, "bundled").read_text(encoding="utf-8")
    assert "Table 5 is stale and left out: &lt;script&gt;" in page
    assert "<table" not in page


def test_a_figure_s_pages_hold_the_figure(table, tmp_path):
    (tmp_path / "figure02.svg").write_text("<svg/>")
    table |= {"key": "figure2", "rows": [], "comparisons": []}
    table["pictures"] = ["figure02.png", "figure02.svg"]
    write.write_files(table, [], tmp_path / "figure02")
    parsed = Tags()
    parsed.feed((tmp_path / "figure02.html").read_text(encoding="utf-8"))
    assert (parsed.tags.count("img"), parsed.outside) == (1, [])
    assert "](figure02.png)" in (tmp_path / "figure02.md").read_text(encoding="utf-8")
    assert "{figure02.png}" in (tmp_path / "figure02.tex").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("one_law", "said"), [(False, "share their test images"), (True, "one fitted law")]
)
def test_unpaired_intervals_are_explained_by_what_the_rows_share(table, one_law, said):
    table["comparisons"][0]["one_law"] = one_law
    assert sum(said in note for note in view.notes(table)) == 1


def test_csv_keeps_full_precision_and_parses(table, tmp_path):
    write.write_files(table, [BLOCK], tmp_path / "table05")
    found = pd.read_csv(tmp_path / "table05.csv")
    assert list(found["row_model"]) == [EVIL, TEX, "plain"]
    assert found["here"][0] == 71.25
    assert found["measurement"][0] == "mark"
    assert (tmp_path / "table05_cost.csv").exists()


def test_markdown_parses_back(table):
    text = markdown.section(table, [])
    lines = [line for line in text.splitlines() if line.startswith("|")][:5]
    cells = [line.replace("\\|", "/").count("|") for line in lines]
    assert len(set(cells)) == 1, "an unescaped bar would add a column"
    frame = pd.read_csv(io.StringIO("\n".join(lines).replace("\\|", "/")), sep="|")
    assert len(frame) == 4  # the rule and three rows


def test_latex_is_balanced_and_escaped(table):
    text = latex.section(table, [BLOCK])
    for part in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(part) == 3
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert r"a\_b \& 50 \% \{x\} \$y\$ \textbackslash{}z \#1 \textbar{}" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert body
    assert "<" not in text
