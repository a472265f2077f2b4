"""Bytes and hours follow from the published multiply-accumulates and the number of frames."""

from __future__ import annotations

import json

import pytest

from workbench.cli import main
from workbench.robot.config import PolicyConfig, RolloutConfig
from workbench.robot.plan import plan


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
