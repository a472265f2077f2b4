"""A plan's runs become the table that the shape law reads."""

from __future__ import annotations

import pandas as pd
import pytest

from analyses.scaling_laws import planners, shape
from analyses.scaling_laws.architecture import ViTShape
from analyses.scaling_laws.fitting import FitOptions
from analyses.scaling_laws.runs import read_runs
from workbench.cli import main
from workbench.pretraining import sweep
from workbench.pretraining.backbone import augmentation, build_s2
from workbench.pretraining.config import AUGMENTATIONS, PretrainConfig, PretrainRecipe
from workbench.training import loop


def test_shapes_are_trained_as_planned_and_resumed(line, tmp_path, capsys, monkeypatch):
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
    monkeypatch.setattr(loop._Run, "_one", lambda *step: pytest.fail("trained again"))
    assert main(words) == 0
    assert (folder / "metrics.csv").stat().st_mtime_ns == before
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "runs" / "sweep.csv"), table)


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
    plan.write_text("width,depth,mlp,images\n16,1,24,24\n16,1,24,6\n")
    for options, word in (
        ({"val": None}, "--val"),
        ({"objective": "dinov2", "augment": None}, "--objective dinov2"),
        ({"dry_run": ""}, "--dry-run"),
        ({}, "1 class;"),
    ):
        assert main(line(tmp_path / "runs", sweep=str(plan), **options)) == 2
        assert word in capsys.readouterr().err
    assert not (tmp_path / "runs").exists(), "refused before the first shape is trained"


def test_the_first_of_several_processes_writes_the_table(line, tmp_path, capsys, monkeypatch):
    plan = tmp_path / "star.csv"
    plan.write_text("width,depth,mlp,images\n16,1,24,24\n")

    def pretended(asked, folder, log, *, progress):
        folder.mkdir(parents=True)
        (folder / "evaluation.csv").write_text("val_loss,val_accuracy\n1,0.5\n")
        return {"images": 24}

    monkeypatch.setattr(sweep, "pretrain", pretended)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert main(line(tmp_path / "runs", sweep=str(plan))) == 0
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "runs" / "sweep.csv").exists()


def test_the_shape_law_reads_the_table_with_the_images_seen(line, tmp_path, capsys, monkeypatch):
    """30, 60 and 120 images in batches of 8 are 4, 8 and 15 steps; nothing is trained."""
    plan = planners.star_sweep(
        centre=ViTShape(width=64, depth=4, mlp=64, heads=2),
        grids={"width": (16, 32, 48)}, images=(30, 60, 120),
    )  # fmt: skip
    plan.to_csv(tmp_path / "star.csv", index=False)
    steps = []

    def pretended(asked, folder, log, *, progress):
        config, width = asked.config, asked.options["embed_dim"]
        steps.append(config.steps(config.limit))
        folder.mkdir(parents=True)
        loss = (64 / width) ** 0.5 + 10 / steps[-1]
        (folder / "evaluation.csv").write_text(f"val_loss,val_accuracy\n{loss},0.5\n")
        return {"images": steps[-1] * config.batch}

    monkeypatch.setattr(sweep, "pretrain", pretended)
    words = line(tmp_path / "runs", scales="1x", sweep=str(tmp_path / "star.csv"))
    assert main(words) == 0, capsys.readouterr().err
    assert sorted(set(steps)) == [4, 8, 15]
    options = shape.ShapeLawConfig(options=FitOptions(allow_unidentified=True, resamples=0))
    (fit,) = shape.compute(read_runs(tmp_path / "runs" / "sweep.csv"), options)
    assert fit.dimension == "width"
    assert sorted(set(fit.runs["value"])) == [16, 32, 48, 64]
    assert fit.runs["images"].tolist() == [8 * count for count in steps]
    assert (fit.runs["compute"] / fit.runs["images"]).tolist() == pytest.approx(
        plan["gmacs_per_image"].tolist()
    )


def test_steps_are_exact_and_at_least_one():
    epochs = 168 / 19
    assert epochs * 19 > 168, "a product of floating-point numbers would need a step more"
    config = PretrainConfig(model="timm:test_vit", dataset="bundled:specks", epochs=epochs, batch=8)
    assert config.steps(19) == 21
    assert PretrainConfig(model="timm:a", dataset="bundled:specks", epochs=1e-9).steps(3) == 1


def test_augmentation_follows_the_shape_that_is_trained():
    config = PretrainConfig(model="timm:test_vit:32", dataset="bundled:specks")
    recipe, shapes = PretrainRecipe(), ({}, {"embed_dim": 384, "depth": 8, "num_heads": 2})
    found = [augmentation(recipe, build_s2(config, recipe, "cpu", dict(s)).info) for s in shapes]
    assert found == [AUGMENTATIONS["none"], AUGMENTATIONS["light1"]]
