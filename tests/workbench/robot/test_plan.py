"""Bytes and hours follow from the published multiply-accumulates and the number of frames."""

from __future__ import annotations

import json
import re

import pytest

from workbench.cli import main
from workbench.robot.config import PolicyConfig, RolloutConfig
from workbench.robot.plan import plan, untrained


def test_the_paper_s_base_at_two_scales():
    source = "random:timm:vit_base_patch16_224.mae@224+448"
    trials = RolloutConfig(positions=16, max_steps=160)
    found = plan(source, 1000, PolicyConfig(look_every=8), trials)
    assert found["gmacs_per_frame"] == pytest.approx(87.9, rel=0.01)  # Table 10
    assert found["gmacs_per_step"] == found["gmacs_per_frame"] / 8
    assert found["feature_bytes"] == 1000 * 2 * (196 + 1) * 768 * 2
    assert found["trial_gpu_hours"] == pytest.approx(found["demonstration_gpu_hours"] * 0.32)


def test_a_dry_run_reads_no_features(plane, capsys):
    line = ["robot", "train", "--demos", str(plane.demos), "--out", "no", "--dry-run", "--json"]
    assert main([*line, "--source", "bundled:efficientnet_lite0@224"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == len(plane.given.image_ids)
    assert main(line) == 2
    assert "--source" in capsys.readouterr().err


def test_a_dry_run_needs_no_demonstrations_if_their_frames_are_counted(plane, capsys):
    line = ["robot", "train", "--out", "no", "--source", "bundled:efficientnet_lite0@224", "--json"]
    assert main([*line, "--dry-run", "--frames", "500"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 500
    demos = ["--demos", str(plane.demos), "--dry-run", "--frames", "500"]
    for wrong, found in (
        (["--frames", "500"], "--frames is 500.*--dry-run"),
        (demos, "--frames is 500.*--demos"),
        (["--dry-run", "--frames", "0"], "frames is 0; expected at least 1"),
        (["--dry-run"], "--demos is missing"),
    ):
        assert main([*line, *wrong]) == 2
        assert re.search(found, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arch", "alone"),
    [
        ("vit_tiny_patch16_224", "random:timm:vit_tiny_patch16_224"),
        ("vit_tiny_patch16_224:384", "random:timm:vit_tiny_patch16_224:384"),
        ("ViT-B-32/laion2b_s34b_b79k", "random:open_clip:ViT-B-32"),
    ],
)
def test_a_model_whose_file_is_absent_costs_what_it_does_with_the_file(tmp_path, arch, alone):
    path = tmp_path / "weights.pth"
    source = f"file:{arch}:{path}@1x"
    absent = plan(source, 10, PolicyConfig(), RolloutConfig())
    assert absent["missing_file"] == str(path)
    assert untrained(f"file:{arch}:{path}") == alone
    path.touch()
    there = plan(source, 10, PolicyConfig(), RolloutConfig())
    assert there["missing_file"] is None
    assert {**there, "missing_file": str(path)} == absent


def test_a_dry_run_says_that_the_file_is_absent(plane, capsys):
    line = ["robot", "train", "--demos", str(plane.demos), "--out", "no", "--dry-run", "--json"]
    source = "file:vit_tiny_patch16_224:absent/mvp.pth#block:11@224"
    assert main([*line, "--source", source]) == 0
    said = capsys.readouterr()
    assert "absent/mvp.pth does not exist" in said.err
    found = json.loads(said.out)
    assert (found["source"], found["missing_file"]) == (source, "absent/mvp.pth")
    assert main([*line, "--source", "file:no_such_architecture:absent/mvp.pth@224"]) == 2
    assert "no_such_architecture" in capsys.readouterr().err
