"""A figure changes nothing of matplotlib but the figure."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import pytest

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


def test_figure_modules_choose_no_backend(tmp_path):
    """In a process of its own, because a test before may have chosen one."""
    code = """
import importlib, pkgutil, sys
import matplotlib as mpl
import workbench.figures, workbench.tables.render.figures
for module in pkgutil.iter_modules(workbench.figures.__path__):
    importlib.import_module(f"workbench.figures.{module.name}")
before = mpl.get_backend(auto_select=False)
import pandas as pd
from workbench.figures.probe import draw_sources
row = {"source": "m:a@8", "test_accuracy": 0.5, "low": 0.4, "high": 0.6}
draw_sources(pd.DataFrame([row]), __import__("pathlib").Path(sys.argv[1]))
after = mpl.get_backend(auto_select=False)
from matplotlib import pyplot
print(before, after, pyplot.get_fignums())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "f")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["None", "None", "[]"], done.stderr
