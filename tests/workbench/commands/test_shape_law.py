"""``workbench shape-law``: JSON, figures, plans and refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analyses.scaling_laws.fitting import FitOptions
from analyses.scaling_laws.shape import ShapeLawConfig
from analyses.scaling_laws.shape_law import PARAMETERS
from analyses.scaling_laws.shape_law import ShapeLaw as Law
from feature_store.errors import InputError
from workbench.commands.shape_law import ShapeLaw
from workbench.figures import style

LAW = Law(a=1.2, b=1.75, c=0.65, alpha=300.0, beta=8.4e-6, xi=1.0, epsilon=0.1)


def law(**options):
    return ShapeLawConfig(options=FitOptions(**options))


@pytest.fixture
def runs(tmp_path):
    value = np.repeat([608.0, 768, 928, 1088, 1328, 1648, 1968], 3)
    compute = np.tile([0.5, 1.0, 2.0], 7) * 40 * (value / 1000) ** 2
    metric = LAW.metric(value, compute)
    file = tmp_path / "runs.csv"
    pd.DataFrame({"value": value, "compute": compute, "metric": metric}).to_csv(file, index=False)
    return file


def test_json_holds_the_law_and_its_intervals(runs, capsys):
    assert ShapeLaw(runs=str(runs), law=law(resamples=40), json=True).run() == 0
    result = json.loads(capsys.readouterr().out)
    for name in (*PARAMETERS, "s"):
        assert result[name] == pytest.approx(getattr(LAW, name), rel=1e-3)
        assert result[f"{name}_low"] <= result[name] * (1 + 1e-9)
        assert result[f"{name}_high"] >= result[name] * (1 - 1e-9)
    assert result["holdout_value"] == 1968
    assert result["r2"] == pytest.approx(1)
    assert result["rows"][0]["dimension"] == "value"


FIGURES = ("runs", "isoflop", "predicted", "exponents", "frontier")


def test_one_leg_writes_every_figure(runs, tmp_path, capsys):
    assert ShapeLaw(runs=str(runs), law=law(resamples=20), out=tmp_path).run() == 0
    for stem in FIGURES:
        assert (tmp_path / f"{stem}.png").stat().st_size > 10_000
        assert (tmp_path / f"{stem}.svg").is_file()


def test_bundled_sweep_has_a_panel_per_leg(tmp_path, capsys, monkeypatch):
    drawn = {}
    monkeypatch.setattr(style, "save", lambda figure, stem: drawn.update({stem.name: figure}))
    command = ShapeLaw(
        runs="bundled:digits",
        law=law(residuals="relative", resamples=20, allow_unidentified=True),
        out=tmp_path,
        json=True,
    )
    assert command.run() == 0
    assert set(drawn) == set(FIGURES)
    for name in ("isoflop", "predicted", "frontier"):
        titles = [ax.get_title(loc="left") for ax in drawn[name].axes]
        assert [t for t in titles if t] == ["width", "depth", "MLP size"]
    for ax in drawn["frontier"].axes:
        solid = next(line for line in ax.lines if line.get_label() == "within the runs")
        reached = solid.get_xdata()[np.isfinite(solid.get_ydata())]
        most = max(ax.collections[-1].get_offsets()[:, 0])
        assert reached.max() <= most  # beyond the dearest run the line is extrapolation
        assert max(solid.get_xdata()) > 5 * most
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert [row["dimension"] for row in result["rows"]] == ["width", "depth", "mlp"]
    assert "a, and with it s, not determined" in output.err
    assert "mlp: without the largest value the runs do not determine a" in output.err
    assert len(pd.read_csv(tmp_path / "predicted.csv")) == 48 + 40 + 40


def test_joint_law_is_a_table_and_says_what_is_lost(capsys):
    options = law(residuals="relative", resamples=0, allow_unidentified=True)
    command = ShapeLaw(runs="bundled:digits", joint=True, law=replace(options, holdout="none"))
    assert command.run() == 0
    output = capsys.readouterr()
    assert "joint law, eq. (3): c = 0.9465" in output.out
    assert "joint: a_depth not determined: its term has coefficient zero" in output.err


@pytest.mark.parametrize(("plan", "rows"), [("star", 57), ("grid", 64), ("scale", 3)])
def test_plans_are_tables(plan, rows, capsys):
    assert ShapeLaw(plan=plan, json=True).run() == 0
    table = json.loads(capsys.readouterr().out)["rows"]
    assert len(table) == rows
    if plan != "scale":
        assert {"params", "gmacs_per_image", "compute"} <= set(table[0])


def test_sovit_plan_writes_the_published_frontier(tmp_path, capsys):
    assert ShapeLaw(plan="sovit", out=tmp_path, json=True).run() == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row.get("model") for row in rows} >= {"SoViT-400m/14", "SoViT-150m/14"}
    assert (tmp_path / "published_frontier.png").is_file()
    assert (tmp_path / "sovit.csv").is_file()


def test_a_missing_file_and_an_empty_one_are_refused(tmp_path):
    with pytest.raises(InputError, match="no file"):
        ShapeLaw(runs=str(tmp_path / "none.csv")).run()
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    with pytest.raises(InputError, match="not a CSV table"):
        ShapeLaw(runs=str(empty)).run()
    empty.write_text("value,compute,metric\n")
    with pytest.raises(InputError, match="no runs"):
        ShapeLaw(runs=str(empty)).run()


def test_either_runs_or_a_plan(runs):
    with pytest.raises(InputError, match="either --runs"):
        ShapeLaw().run()
    with pytest.raises(InputError, match="either --runs"):
        ShapeLaw(runs=str(runs), plan="star").run()


def test_unidentified_runs_exit_with_2_on_one_line(capsys):
    cli = pytest.importorskip("workbench.cli")
    assert cli.main(["shape-law", "--runs", "bundled:digits", "--resamples", "0"]) == 2
    error = capsys.readouterr().err.strip()
    assert "do not determine a" in error
    assert "\n" not in error
