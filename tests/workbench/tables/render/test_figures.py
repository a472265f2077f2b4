"""The scaling figures: which family stands in which panel, for stand-ins and the paper's models."""

from __future__ import annotations

import pytest

from analyses.published.checkpoints import paper_model
from workbench.figures import style
from workbench.tables.render import figures
from workbench.tables.specs import tables

STAND_IN = "bundled:efficientnet_lite0"


def content(rows, last="scales"):
    """A table with the fields that figures read: (label names, label, model, published, value)."""
    names = ("family", "size", last) if rows and len(rows[0][0]) == 3 else ("size", last)
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
    return {key: content(rows) for key in figures.TASKS} | {"figure2": content([])}


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


def test_figure_2_has_a_third_curve_of_larger_inputs(panels):
    larger = [(("ViT", "Base", "448"), STAND_IN), (("ViT", "Base", "672"), STAND_IN)]
    contents = three({"ViT": STAND_IN}) | {"figure2": content(larger, "input size")}
    found = panels("figure2", contents)
    assert [count for _, count in found] == [1] * 9 + [2] * 3
    grey, purple = panels.kept["figure"].axes[-1].get_lines()
    assert (grey.get_label(), purple.get_label()) == ("model size", "input size of Base")
    assert (purple.get_color(), purple.get_marker()) == style.INPUT_SIZES[0][:2]
    assert len(purple.get_xdata()) == 3, "it starts at the marker of model size"
    assert purple.get_markevery() == [False, True, True]
