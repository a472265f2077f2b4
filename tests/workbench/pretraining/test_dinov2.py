"""Self-distillation runs, resumes, and a collapse is named."""

from __future__ import annotations

import csv
import math

import pytest
import torch

from workbench.cli import main
from workbench.pretraining.backbone import build_s2, small_s2
from workbench.pretraining.config import PretrainConfig, PretrainRecipe
from workbench.pretraining.supervised import Supervised
from workbench.training import checkpoints

pytest.importorskip("lightly")
SMALL = {
    "objective": "dinov2", "prototypes": "64", "hidden": "32", "local-crops": "2",
    "local-pixels": "0.5", "augment": "auto", "model": "timm:test_vit:64",
}  # fmt: skip


@pytest.mark.parametrize("centring", ["mean", "sinkhorn"])
def test_a_run_is_the_same_after_an_interruption(centring, line, pretrain, tmp_path, monkeypatch):
    options = SMALL | {"centring": centring, "learning-rate": "1e-3"}
    whole = pretrain(tmp_path / "whole", **options)
    assert whole["steps"] == 6
    assert 0 <= whole["val_accuracy"] <= 1
    from workbench.training import loop

    one = loop._Run._one

    def stopped(self, step, batch):
        if step == 4:
            raise KeyboardInterrupt
        return one(self, step, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "_one", stopped)
        assert main(line(tmp_path / "a", **options)) == 130
    pretrain(tmp_path / "a", **options)
    states = [checkpoints.load(tmp_path / name, print)["model"] for name in ("a", "whole")]
    assert any("center" in key for key in states[0])
    for key in states[0]:
        assert torch.equal(states[0][key], states[1][key]), key
    with (tmp_path / "a" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        total = float(row["dino"]) + float(row["ibot"]) + 0.1 * float(row["koleo"])
        assert float(row["loss"]) == pytest.approx(total, rel=1e-4)
    assert float(rows[0]["dino"]) == pytest.approx(math.log(64), rel=0.2)


def test_a_raw_scale_is_refused(line, tmp_path, capsys):
    assert main(line(tmp_path / "a", **SMALL | {"scales": "1x 2x.raw"})) == 2
    assert "128.raw" in capsys.readouterr().err


def test_small_crops_are_run_as_the_large_ones():
    config = PretrainConfig(
        model="timm:test_vit:64", dataset="bundled:specks", scales=("1x", "2x.whole")
    )
    s2 = build_s2(config, PretrainRecipe(compile=True), "cpu")
    small = small_s2(s2, 32)
    assert [str(scale) for scale in small.scales] == ["32", "64.whole"]
    assert small.compiled


def test_collapse_is_named():
    from workbench.pretraining.config import Distillation
    from workbench.pretraining.dinov2 import SelfDistillation

    state = SelfDistillation.__new__(SelfDistillation)
    torch.nn.Module.__init__(state)
    state.asked, state.recent = Distillation(prototypes=64), [math.log(64) + 0.001] * 50
    state.step, state.steps = 50, 100
    assert "4.1589" in state.collapse({"effective_rank": 9.0})
    state.step = 5
    assert state.collapse({"effective_rank": 9.0}) == "", "untrained heads lose that much, too"
    assert "1.10" in state.collapse({"effective_rank": 1.1})
    labelled = Supervised.__new__(Supervised)
    torch.nn.Module.__init__(labelled)
    labelled.classes = 5
    assert "1.10" in labelled.collapse({"effective_rank": 1.1})
    labelled.classes = 2
    assert labelled.collapse({"effective_rank": 1.1}) == "", "two classes need one dimension"


def test_blanked_patches_have_the_mean_colour_and_rates_fall_with_depth():
    from workbench.pretraining.dinov2 import blanked
    from workbench.pretraining.rates import rate_factor

    mask = torch.zeros(1, 2, 2, dtype=torch.bool)
    mask[0, 0, 1] = True
    found = blanked(torch.ones(1, 3, 8, 8), mask, 4)
    assert (found[0, :, :4, 4:] == 0).all()
    assert found.sum() == 3 * 48
    names = ("patch_embed.proj.weight", "pos_embed", "blocks.0.a", "blocks.1.a", "norm.b")
    factors = [rate_factor(f"s2.model.{name}", 2, 0.5) for name in names]
    assert factors == [0.2 * 0.125, 0.125, 0.25, 0.5, 1.0]
