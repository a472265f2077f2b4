"""Self-distillation runs, resumes, and a collapse is named."""

from __future__ import annotations

import copy
import csv
import math
import random
from dataclasses import replace

import pytest
import torch

from feature_store import InputError
from workbench.cli import main
from workbench.pretraining.backbone import ALL, build_s2, small_s2
from workbench.pretraining.config import Distillation, PretrainConfig, PretrainRecipe
from workbench.pretraining.multi_crop import require_crops
from workbench.pretraining.supervised import Supervised
from workbench.training import checkpoints
from workbench.training.randomness import seed_step

pytest.importorskip("lightly")
from workbench.pretraining import dinov2  # needs it

ASKED = Distillation(prototypes=32, hidden=16, local_crops=3, local_pixels=0.5)
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


def config(**more):
    return PretrainConfig(
        model="timm:test_vit:64", dataset="bundled:specks", objective="dinov2", **more
    )


def distillation(asked=ASKED, *, recompute=False, batch=3):
    """Student and teacher on 64 pixels, small crops on 32, both at 1x + 2x."""
    seed_step(0, 0)
    recipe, options = PretrainRecipe(recompute=recompute), config(scales=("1x", "2x"), batch=batch)
    s2 = build_s2(options, recipe, "cpu")
    return dinov2.SelfDistillation(s2, copy.deepcopy(s2), options, recipe, asked)


def views(images, small):
    """Two large crops and so many small ones: uint8, dims (image, 3, side, side)."""
    made = torch.Generator().manual_seed(0)
    sides = [64, 64, *[32] * small]
    return [
        torch.randint(255, (images, 3, side, side), dtype=torch.uint8, generator=made)
        for side in sides
    ]


@pytest.mark.parametrize("small", [0, 3])
def test_each_crop_is_scored_as_in_a_pass_of_its_own(small):
    student = distillation(replace(ASKED, local_crops=small)).student.eval()
    crops = [view / 255 for view in views(2, small)]
    mask = torch.zeros(4, 4, 4, dtype=torch.bool)
    mask[0, 1, 2] = mask[2, 0, :2] = mask[3, 3, 3] = True
    with torch.no_grad():
        seen, guessed = student(crops, mask)
        patches = []
        for number, crop in enumerate(crops):
            if number < 2:
                own = mask[2 * number : 2 * number + 2]
                tokens = student.s2(dinov2.blanked(crop, own, 16))
                patches.append(student.head(tokens.map[own]))
            else:
                tokens = small_s2(student.s2, 32)(crop)
            torch.testing.assert_close(seen[number].vectors, tokens.prefix[:, 0])
            torch.testing.assert_close(seen[number].scores, student.head(tokens.prefix[:, 0]))
    assert len(seen) == 2 + small
    assert not torch.allclose(seen[0].scores, seen[1].scores, rtol=1e-3)
    assert [len(one) for one in patches] == [1, 3]
    torch.testing.assert_close(guessed, torch.cat(patches))


def test_recomputed_activations_give_the_same_loss_and_gradients():
    def stepped(recompute):
        state = distillation(recompute=recompute)
        seed_step(1, 0)
        loss, _ = state._loss(state.student, views(3, 3))
        loss.backward()
        found = {n: p.grad for n, p in state.student.named_parameters() if p.grad is not None}
        return loss.item(), found

    (kept, expected), (again, found) = stepped(False), stepped(True)
    assert again == pytest.approx(kept, rel=1e-6)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_a_recomputed_pass_holds_one_crop_for_each_image_of_a_device_and_part(monkeypatch):
    options, recipe = config(scales=("1x", "2x"), batch=8), PretrainRecipe(parts=2, recompute=True)
    monkeypatch.setattr("workbench.training.ranks.count", lambda: 2)
    s2 = build_s2(options, recipe, "cpu")
    assert s2.limit.at_once["crops"] == 2
    assert small_s2(s2, 32).limit.at_once["crops"] == 2 * (16 + 1) // (4 + 1)
    assert small_s2(s2, 16).limit.at_once["crops"] == 2 * (16 + 1) // (1 + 1)
    seen = []
    s2.model.blocks[0].register_forward_hook(lambda _, x, y: seen.append(x[0].shape[:2].numel()))
    for model, side in ((s2, 64), (small_s2(s2, 32), 32)):
        model(torch.rand(8, 3, side, side))
    assert max(seen) == 2 * 17
    assert sum(seen) == 8 * 5 * 17 + 8 * 5 * 5

    plain = build_s2(options, PretrainRecipe(parts=2), "cpu")
    assert {one.limit.at_once["crops"] for one in (plain, small_s2(plain, 32))} == {ALL}


@pytest.mark.parametrize("centring", ["mean", "sinkhorn"])
def test_one_patch_is_blanked_where_no_block_fitted(centring, monkeypatch):
    random.seed(3)
    mask, state = dinov2.patch_mask(4, (4, 4)), random.getstate()
    random.seed(3)
    assert torch.equal(mask, dinov2.random_block_mask((4, 4, 4), min_num_masks_per_block=1))
    assert state == random.getstate()

    none = torch.zeros(4, 4, 4, dtype=torch.bool)
    monkeypatch.setattr(dinov2, "random_block_mask", lambda size, **_: none.clone())
    assert dinov2.patch_mask(4, (4, 4)).sum() == 1
    state = distillation(replace(ASKED, centring=centring))
    loss, _ = state._loss(state.student, views(2, 3))
    assert loss.isfinite()
    assert state.ibot.center.value.isfinite().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scales": "1x 2x.raw"}, ["128.raw"]),
        ({"scales": "2x.unpooled"}, ["128.unpooled"]),
        ({"model": "timm:test_vit:32"}, ["timm:test_vit:32 has 2 x 2"]),
        (
            {"scales": "1x 1.5x.whole", "local_pixels": "0.25"},
            ["--local-pixels 0.25", "16 pixels", "scale 96.whole of its native 64", "24.whole"],
        ),
    ],
)
def test_crops_that_a_model_cannot_take_are_refused(options, words, line, tmp_path, capsys):
    assert main(line(tmp_path / "a", **SMALL | options)) == 2
    (message,) = capsys.readouterr().err.strip().splitlines()
    assert all(word in message for word in words), message


def test_a_model_of_one_size_is_refused():
    s2 = build_s2(config(), PretrainRecipe(), "cpu")
    s2.info = replace(s2.info, flexible=False)
    with pytest.raises(InputError, match=r"timm:test_vit:64 runs at its native 64 pixels only"):
        require_crops(s2, ASKED)


def test_a_settled_loss_is_named_without_validation_images(line, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(dinov2, "SETTLED", 1.0)
    assert main(line(tmp_path / "a", **SMALL, val=None, epochs="1.5")) == 0
    found = [said for said in capsys.readouterr().err.splitlines() if "ln 64" in said]
    assert [said.partition(":")[0] for said in found] == ["step 2", "step 4", "step 5"]
    assert not (tmp_path / "a" / "evaluation.csv").exists()


def test_small_crops_are_run_as_the_large_ones():
    s2 = build_s2(config(scales=("1x", "2x.whole")), PretrainRecipe(compile=True), "cpu")
    small = small_s2(s2, 32)
    assert [str(scale) for scale in small.scales] == ["32", "64.whole"]
    assert small.compiled


def test_collapse_is_named():
    state = dinov2.SelfDistillation.__new__(dinov2.SelfDistillation)
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
    from workbench.pretraining.rates import rate_factor

    mask = torch.zeros(1, 2, 2, dtype=torch.bool)
    mask[0, 0, 1] = True
    found = dinov2.blanked(torch.ones(1, 3, 8, 8), mask, 4)
    assert (found[0, :, :4, 4:] == 0).all()
    assert found.sum() == 3 * 48
    names = ("patch_embed.proj.weight", "pos_embed", "blocks.0.a", "blocks.1.a", "norm.b")
    factors = [rate_factor(f"s2.model.{name}", 2, 0.5) for name in names]
    assert factors == [0.2 * 0.125, 0.125, 0.25, 0.5, 1.0]
