"""The scaling figures: which family stands in which panel, for stand-ins and the paper's models."""

from __future__ import annotations

import pytest

from analyses.published.checkpoints import paper_model
from workbench.figures import style
from workbench.tables.render import figures, write
from workbench.tables.specs import tables

STAND_IN = "bundled:efficientnet_lite0"


def content(rows):
    """A table with the fields that figures read: (label names, label, model, published, value)."""
    names = ("family", "size", "scales") if len(rows[0][0]) == 3 else ("size", "scales")
    return {
        "label": names,
        "rows": [
            {
                "label": list(label),
                "source": f"{model}@224" if model else "",
                "published_gmacs": 10.0,
                "gmacs": 1.0 if model else None,
                "cells": {
                    metric: {"published": 50.0} | ({"value": 40.0, "low": 39.0, "high": 41.0}
                                                   if model else {})
                    for metric in ("top1", "miou", "rmse")
                },
            }
            for label, model in rows
        ],
    }  # fmt: skip


@pytest.fixture
def panels(monkeypatch, tmp_path):
    """Titles of the panels, and how many curves each holds."""
    kept = {}

    def save(drawn, stem):
        kept["figure"] = drawn
        return ()

    monkeypatch.setattr(style, "save", save)

    def draw(key, contents):
        figures.draw(tables()[key], contents, tmp_path / "figure")
        found = [(ax.get_title("left"), len(ax.get_lines())) for ax in kept["figure"].axes]
        return found

    draw.kept = kept
    return draw


def three(models):
    rows = [((family, "Base", "224"), models.get(family)) for family in figures.FAMILIES]
    return {key: content(rows) for key in figures.TASKS}


def test_figure_2_has_one_row_of_panels_for_each_family_that_ran(panels):
    bundled = panels("figure2", three({"ViT": STAND_IN}))
    assert [title for title, _ in bundled[9:]] == ["here: EfficientNet-Lite0"] * 3
    names = {family: paper_model(family, "Base").name for family in figures.FAMILIES}
    paper = panels("figure2", three(names))
    assert [title for title, _ in paper[9:]] == [
        f"here: {family}" for family in figures.FAMILIES for _ in figures.TASKS
    ]
    assert {count for _, count in paper} == {1}


def test_intervals_are_named_and_equal_costs_stand_side_by_side(panels):
    sizes = ("Base", "Large", "Huge")
    contents = three({}) | {"figure8": content([((size, "1x"), STAND_IN) for size in sizes])}
    contents["figure8"]["metrics"] = [{"column": m, "name": m} for m in ("top1", "miou", "rmse")]
    panels("figure8", contents)
    for ax in panels.kept["figure"].axes:
        assert "95 % intervals" in ax.get_ylabel()
        assert "side by side" in ax.get_xlabel()
        assert len(set(ax.get_lines()[0].get_xdata())) == 3
    panels("figure6", three({}) | {"figure6": content([(("Base", "1x"), STAND_IN)])})
    left, right = panels.kept["figure"].axes
    assert "interval" not in left.get_ylabel()  # the papers print none
    assert "95 % intervals" in right.get_ylabel()
    assert "side by side" not in right.get_xlabel()


def test_figure_2_says_where_nothing_was_measured(panels):
    assert panels("figure2", three({}))[9:] == [("here: nothing", 0)] * 3


@pytest.mark.parametrize(
    ("model", "left", "right"),
    [
        (STAND_IN, "ViT, paper (Table 6)", "here: EfficientNet-Lite0"),
        (paper_model("DINOv2", "Base").name, "DINOv2, paper (Table 6)", "here: DINOv2"),
    ],
)
def test_figure_6_compares_one_family(panels, model, left, right):
    found = panels("figure6", three({}) | {"figure6": content([(("Base", "1x"), model)])})
    assert [title for title, _ in found] == [left, right]


def test_a_figure_that_only_draws_tables_has_their_footnotes():
    own = {"5": ["a", "b"], "6": ["b", "c"], "7": [], "figure2": [], "figure6": ["d"]}
    contents = {key: {"footnotes": notes} for key, notes in own.items()}
    assert write._footnotes(tables()["figure2"], contents) == ["a", "b", "c"]
    assert write._footnotes(tables()["figure6"], contents) == ["d"]  # measures rows of its own
