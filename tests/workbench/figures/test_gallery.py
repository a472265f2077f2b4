"""The gallery shows every part and lets no label or file name become markup."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.figures.gallery import Pictures, write_html, write_jpeg, write_png

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
    assert 'class="wrong">a &amp; b' in text
    assert "http" not in text


def test_png_takes_any_label(table, tmp_path):
    write_png(table, pictures(), tmp_path / "g.png")
    assert (tmp_path / "g.png").stat().st_size > 3000
    write_jpeg(table, pictures(), tmp_path / "g.jpg")
    assert 3000 < (tmp_path / "g.jpg").stat().st_size < 2 * (tmp_path / "g.png").stat().st_size


def test_empty_table_says_so(table, tmp_path):
    write_html(table.iloc[:0], pictures(), tmp_path / "g.html", "none")
    assert "No image that the larger model" in (tmp_path / "g.html").read_text()
    write_png(table.iloc[:0], pictures(), tmp_path / "g.png")
    assert not (tmp_path / "g.png").exists()
