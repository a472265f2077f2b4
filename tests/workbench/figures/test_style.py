"""A figure changes nothing of matplotlib but the figure, and is readable on light and dark."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from workbench.figures import style


def test_settings_hold_within_a_styled_function_alone():
    before = dict(mpl.rcParams)

    @style.styled
    def draw():
        return style.figure(rows=2)[1][1].spines["top"].get_visible(), dict(mpl.rcParams)

    spine, within = draw()
    assert not spine
    assert within != before
    assert dict(mpl.rcParams) == before


def test_settings_are_restored_where_drawing_fails():
    before = dict(mpl.rcParams)

    @style.styled
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert dict(mpl.rcParams) == before


@style.styled
def example():
    drawn, (ax,) = style.figure(3, 2)
    ax.plot([0, 1], [0, 1])
    ax.set_title("shown")
    return drawn


def test_a_notebook_shows_ink_in_the_colour_of_its_text_and_no_background():
    before = dict(mpl.rcParams)
    shown = example()._repr_html_()
    assert dict(mpl.rcParams) == before
    assert shown.startswith("<svg ")
    assert "currentColor" in shown
    assert style.INK not in shown
    assert "#ffffff" not in shown
    assert example()._repr_png_()[:4] == b"\x89PNG"


def test_files_keep_ink_and_white_ground(tmp_path):
    png, svg = style.save(example(), tmp_path / "a")
    assert style.INK in svg.read_text()
    assert mpl.image.imread(png)[0, 0].tolist() == [1, 1, 1, 1]
    assert style.save(example(), tmp_path / "b", ["png"]) == (tmp_path / "b.png",)


def luminance(colour):
    """Relative luminance of sRGB, as in WCAG 2."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("ground", ["#ffffff", "#111111"], ids=["light", "dark"])
def test_lines_stand_out_from_light_and_dark_ground(ground):
    looks = (*style.S2_CURVES, *style.SINGLE_CURVES)
    for colour in {*style.PALETTE, *(look[0] for look in looks)}:
        bright, dim = sorted((luminance(colour), luminance(ground)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 3, colour


@pytest.mark.parametrize("span", [(3.4, 4.8), (4, 6), (0.4, 2), (1, 30), (1, 1e5)])
def test_a_logarithmic_axis_has_a_few_plain_numbers(span):
    drawn = example()
    ax = drawn.axes[0]
    ax.set(xscale="log", xlim=span)
    style.log_axis(ax.xaxis)
    drawn.draw_without_rendering()
    shown = [t for t in ax.get_xticklabels() if span[0] <= t.get_position()[0] <= span[1]]
    assert 2 <= len(shown) <= 9
    values = [t.get_position()[0] for t in shown]
    np.testing.assert_allclose([float(t.get_text()) for t in shown], values, rtol=1e-9)


def test_figure_modules_choose_no_backend():
    """In a process of its own, because a test before may have chosen one."""
    code = """
import importlib, pkgutil
import matplotlib as mpl
import workbench.figures, workbench.tables.render.figures
for module in pkgutil.iter_modules(workbench.figures.__path__):
    importlib.import_module(f"workbench.figures.{module.name}")
before = mpl.get_backend(auto_select=False)
import pandas as pd
from workbench.figures.probe import draw_sources
row = {"source": "m:a@8", "test_accuracy": 0.5, "low": 0.4, "high": 0.6}
draw_sources(pd.DataFrame([row]))._repr_html_()
after = mpl.get_backend(auto_select=False)
from matplotlib import pyplot
print(before, after, pyplot.get_fignums())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["None", "None", "[]"], done.stderr
