"""A plan's runs become the table that the shape law reads."""

from __future__ import annotations

import pandas as pd

from workbench.cli import main


def test_shapes_are_trained_as_planned_and_resumed(line, tmp_path, capsys):
    plan = tmp_path / "star.csv"
    rows = [{"dimension": "width", "width": 16, "depth": 2, "mlp": 24, "images": 16},
            {"dimension": "centre", "width": 32, "depth": 3, "mlp": 24, "images": 32}]  # fmt: skip
    pd.DataFrame(rows).to_csv(plan, index=False)
    words = line(tmp_path / "runs", scales="1x", limit="16", sweep=str(plan))
    assert main(words) == 0, capsys.readouterr().err
    table = pd.read_csv(tmp_path / "runs" / "sweep.csv")
    assert table["dimension"].tolist() == ["width", "centre"]
    assert (table["metric"] > 0).all()
    assert table["error"].between(0, 1).all()
    folder = tmp_path / "runs" / "width32-depth3-mlp24-images32"
    assert len(pd.read_csv(folder / "metrics.csv")) == 4, "32 images of 16, in batches of 8"
    from workbench import models

    info = models.resolve(f"run:{folder}")
    assert info.channels == 32
    assert models.load(f"run:{folder}").module.blocks[2].mlp.fc1.out_features == 24
    before = (folder / "metrics.csv").stat().st_mtime_ns
    assert main(words) == 0
    assert (tmp_path / "runs" / "sweep.csv").exists()
    assert len(pd.read_csv(folder / "metrics.csv")) == 4
    assert before <= (folder / "metrics.csv").stat().st_mtime_ns


def test_more_images_than_there_are_make_several_passes_and_widths_are_exact(
    line, tmp_path, capsys
):
    plan = tmp_path / "star.csv"
    plan.write_text("width,depth,mlp,images\n44,1,15,48\n")
    assert int(44 * (15 / 44)) == 14, "a ratio alone would lose a unit"
    assert main(line(tmp_path / "runs", scales="1x", sweep=str(plan))) == 0, capsys.readouterr().err
    folder = tmp_path / "runs" / "width44-depth1-mlp15-images48"
    assert len(pd.read_csv(folder / "metrics.csv")) == 6, "48 images of 24, in batches of 8"
    from workbench import models

    assert models.load(f"run:{folder}").module.blocks[0].mlp.fc1.out_features == 15


def test_plans_that_do_not_fit_are_refused(line, tmp_path, capsys):
    plan = tmp_path / "star.csv"
    plan.write_text("width,depth,mlp,images\n15,2,24,16\n")
    assert main(line(tmp_path / "runs", sweep=str(plan))) == 2
    assert "width 15" in capsys.readouterr().err
    assert main(line(tmp_path / "runs", sweep=str(plan), val=None)) == 2
    assert "--val" in capsys.readouterr().err
