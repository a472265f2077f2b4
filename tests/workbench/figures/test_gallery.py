"""The gallery shows every part, marks predictions, and lets no label become markup."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.figures import style
from workbench.figures.gallery import Pictures, sheet
from workbench.figures.gallery_page import write_html

EVIL = "<script>alert(1)</script>"
IMAGE = np.full((20, 30, 3), 128, np.uint8)


@pytest.fixture
def table():
    top = [(EVIL, 0.7), ("a & b", 0.2)]
    return pd.DataFrame(
        [
            {
                "row": 0, "image_id": f'{EVIL}/"x".png',
                "label": EVIL, "drop": 2.0, "s2_drop": -0.1,
                "small_loss": 3.0, "s2_loss": 3.1, "large_loss": 1.0,
                "small_top": [("a & b", 0.9)], "s2_top": top, "large_top": top,
                "rare": True, "ambiguous": False, "easy": [1], "nearest": [0, 1],
                "nearest_labels": [EVIL, "$x$"], "others": [(f"m:{EVIL}@224", 2.5, top)],
            }
        ]
    )  # fmt: skip


def pictures():
    names = np.array([f"{EVIL}/0.png", "<b>1</b>.png"])
    return Pictures(lambda row: IMAGE, lambda row: IMAGE if row == 0 else None, names, names)


def test_html_escapes_labels_and_names(table, tmp_path):
    write_html(table, pictures(), tmp_path / "g.html", f"Hard examples: {EVIL}")
    text = (tmp_path / "g.html").read_text()
    assert "<script" not in text
    assert "<b>1" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "a &amp; b" in text
    assert text.count("data:image/jpeg;base64,") == 3  # the hard one, two nearest; easy unreadable
    assert "not readable" in text
    assert 'class="rare"' in text
    assert "m:&lt;script&gt;" in text
    assert 'class="wrong">✗ a &amp; b' in text
    assert 'class="right">✓ &lt;script&gt;' in text
    assert "http" not in text


def test_the_sheet_marks_predictions_by_sign_and_weight(table):
    figure = sheet(table, pictures())
    hard, said, easy, *nearest = figure.axes
    assert [len(ax.images) for ax in (hard, easy, *nearest)] == [1, 0, 1, 1]
    drop, *predictions = said.texts
    assert drop.get_text() == "loss drop 2.00"
    assert [t.get_text()[:7] for t in predictions] == ["✗ small", "✓ S2: 0", "✓ large"]
    assert [t.get_weight() for t in predictions] == ["bold", "normal", "normal"]


def test_the_sheet_takes_any_label(table, tmp_path):
    table.at[0, "label"] = "$a$_{"
    (path,) = style.save(sheet(table, pictures()), tmp_path / "g", ["png"])
    assert path.stat().st_size > 3000


def test_empty_table_says_so(table, tmp_path):
    write_html(table.iloc[:0], pictures(), tmp_path / "g.html", "none")
    assert "No image on which the larger model" in (tmp_path / "g.html").read_text()
