"""Films of runs lie beside their table and are in its pages, which load nothing."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from analyses import experiments
from workbench.tables.render import films, html, markdown, report
from workbench.tables.render.write import write_files

NAME = "table10_Lite0-S2.gif"
GALLERY = "table10_easy-vqa_gallery.png"


@pytest.fixture
def film(monkeypatch, tmp_path):
    """A film among the summaries of experiments; returns its bytes."""
    encoded = io.BytesIO()
    first, second = (Image.new("RGB", (8, 8), colour) for colour in ("red", "green"))
    first.save(encoded, "GIF", save_all=True, append_images=[second])
    folder = tmp_path / "experiments"
    folder.mkdir()
    for name in (NAME, "table11_other.gif"):
        (folder / name).write_bytes(encoded.getvalue())
    Image.new("RGB", (8, 8)).save(folder / GALLERY)
    monkeypatch.setattr(experiments, "files", lambda _: folder)
    return encoded.getvalue()


@pytest.fixture
def table():
    return {
        "key": "10", "title": "Robots", "question": "Q", "paper": "P", "paper_name": "S2",
        "reference": "Table 10", "label": [], "metrics": [], "rows": [], "comparisons": [],
        "footnotes": [], "comparable": False, "missing": "", "measurements": {}, "detail": [],
        "code": {"commit": None, "dirty": None, "version": "0"}, "date": "now", "blocks": [],
        "pictures": [NAME, GALLERY],
    }  # fmt: skip


def test_a_film_is_written_beside_its_table_and_embedded_in_its_pages(film, table, tmp_path):
    out = tmp_path / "out"
    assert films.write(out / "table10") == [out / NAME, out / GALLERY]
    assert films.write(out / "table05") == []
    assert (out / NAME).read_bytes() == film
    write_files(table, [], out / "table10")
    findings = {"10": {"table": "10", "state": "current", "reasons": []}}
    source = f"data:image/gif;base64,{base64.b64encode(film).decode()}"
    pages = [out / "table10.html", report.write({"10": table}, findings, out, "bundled")]
    for page in pages:
        text = page.read_text("utf-8")
        assert text.count(source) == 1
        assert text.count("<figcaption") == text.count("<img") == 2
        assert "Questions of easy-vqa" in text
        assert "Trials with Lite0-S2" in text
    page = markdown.section(table, [])
    assert page.count(f"]({NAME})") == page.count(f"]({GALLERY})") == page.count("![") / 2 == 1
    assert html.pictures(table) == []


def test_galleries_over_photographs_name_who_took_them():
    names = [name for name in experiments.films("table01") if name.endswith(experiments.GALLERY)]
    credited = [name for name in names if "CC BY 2.0" in films.caption(name)]
    assert credited == [name for name in names if "objects" in name]
    assert len(credited) == len(names) - 1 == 2
