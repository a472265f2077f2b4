"""Model names: round trip and refusals."""

from __future__ import annotations

import pytest

from feature_store.errors import InputError
from feature_store.source import Source, split_tap
from workbench.models import ModelName, aliases, resolve
from workbench.models.aliases import full_name


@pytest.mark.parametrize(
    "text",
    [
        "bundled:efficientnet_lite0",
        "timm:vit_base_patch16_224.mae",
        "timm:vit_base_patch14_dinov2.lvd142m:224",
        "open_clip:ViT-B-16/laion2b_s34b_b88k",
        "open_clip:ViT-B-16/laion2b_s34b_b88k:448",
        "random:timm:vit_tiny_patch16_224",
        "random:open_clip:ViT-B-32:448",
        "file:vit_tiny_patch16_224:/data/a:b.safetensors",
        "file:vit_tiny_patch16_224:112:weights.pth",
    ],
)
def test_text_round_trip(text):
    assert str(ModelName.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "efficientnet_lite0",
            "the forms are: bundled:NAME",
        ),
        ("keras:resnet", "the forms are"),
        ("timm:", "the forms are"),
        ("open_clip:ViT-B-32", "write open_clip:ViT-B-32/PRETRAINED"),
        ("random:bundled:efficientnet_lite0", "only timm: and open_clip:"),
        ("file:vit_tiny_patch16_224", "file:TIMM_NAME:PATH"),
    ],
)
def test_malformed_names_are_refused(text, match):
    with pytest.raises(InputError, match=match):
        ModelName.parse(text)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("bundled:efficientnet_lite3", "bundled:efficientnet_lite2"),
        ("timm:vit_tinny_patch16_224", "timm:vit_tiny_patch16_224"),
        ("timm:vit_base_patch16_224.origin21k", "timm:vit_base_patch16_224.orig_in21k"),
        ("random:timm:resnet1", "random:timm:resnet18"),
        ("open_clip:ViT-B-33/openai", "open_clip:ViT-B-32"),
        ("open_clip:ViT-B-32/laion2b", "open_clip:ViT-B-32/laion2b_e16"),
    ],
)
def test_unknown_models_offer_the_nearest_names(text, near):
    with pytest.raises(InputError, match=r"nearest: .*" + near):
        resolve(text)


def test_unknown_taps_list_the_model_s_own():
    with pytest.raises(InputError, match="nearest: block:"):
        resolve("random:timm:vit_tiny_patch16_224", "block:12")
    with pytest.raises(InputError, match="normalises after pooling.*use #block:11"):
        resolve("random:timm:beit_base_patch16_224", "final")
    with pytest.raises(InputError, match="nothing follows its last block"):
        resolve("random:timm:convnext_atto", "final")


def test_every_kind_takes_a_size_in_pixels():
    assert [resolve(f"bundled:efficientnet_lite0:{n}").grid for n in (224, 260)] == [(7, 7), (9, 9)]
    assert resolve("timm:resnet18.a1_in1k:160").native == 160


def test_a_timm_name_without_weights_points_to_random():
    with pytest.raises(InputError, match="write random:timm:botnet50ts_256"):
        resolve("timm:botnet50ts_256")


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("vit_base_patch16_224", "timm:vit_base_patch16_224.augreg2_in21k_ft_in1k"),
        ("timm:vit_base_patch16_224", "timm:vit_base_patch16_224.augreg2_in21k_ft_in1k"),
        ("timm:vit_base_patch16_224:448", "timm:vit_base_patch16_224.augreg2_in21k_ft_in1k:448"),
        ("timm/vit_base_patch16_224.mae", "timm:vit_base_patch16_224.mae"),
        ("hf-hub:timm/vit_base_patch16_224.mae", "timm:vit_base_patch16_224.mae"),
        ("vit_base_patch16_224.mae:448", "timm:vit_base_patch16_224.mae:448"),
        ("facebook/dinov2-base", "timm:vit_base_patch14_dinov2.lvd142m"),
        ("dinov2_vitb14", "timm:vit_base_patch14_dinov2.lvd142m"),
        ("dinov2_vitl14_reg:224", "timm:vit_large_patch14_reg4_dinov2.lvd142m:224"),
        ("ViT-B-16/laion2b_s34b_b88k", "open_clip:ViT-B-16/laion2b_s34b_b88k"),
        ("ViT-B-16/laion2b", "open_clip:ViT-B-16/laion2b_s34b_b88k"),
        ("mobilenetv2", "bundled:mobilenetv2"),
        ("random:timm:vit_tiny_patch16_224", "random:timm:vit_tiny_patch16_224"),
    ],
)
def test_other_spellings_have_one_full_name(written, full, capsys):
    aliases._full_name.cache_clear()
    assert full_name(written) == full
    said = capsys.readouterr().err
    assert said == ("" if written == full else f"model {written} is {full}\n")


@pytest.mark.parametrize(
    ("written", "offered"),
    [
        ("efficientnet_lite0", "bundled:efficientnet_lite0 or timm:efficientnet_lite0.ra_in1k"),
        ("vit_bse_patch16_224", "did you mean timm:vit_base_patch16_224.* or timm:"),
        ("facebook/dinov2-bas", "did you mean"),
        ("ViT-B-32/laion2b", "did you mean open_clip:ViT-B-32/laion2b_.* or open_clip:"),
    ],
)
def test_unclear_names_offer_the_two_nearest(written, offered):
    with pytest.raises(InputError, match=offered):
        resolve(written)


def test_the_folder_of_a_run_may_have_any_name():
    assert split_tap("run:a #1/b#final") == ("run:a #1/b", "final")
    assert split_tap("run:a#block:9") == ("run:a", "block:9")
    assert split_tap("run:a#2") == ("run:a#2", None)
    found = Source.parse("run:a@b/c #1#final@1x+2x")
    assert (found.model, found.tap, found.scales) == ("run:a@b/c #1", "final", ("1x", "2x"))


def test_runs_are_refused_by_what_their_folder_lacks(tmp_path):
    with pytest.raises(InputError, match=r"it lacks checkpoint\.safetensors"):
        full_name(f"run:{tmp_path}")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="unfinished"):
        full_name(f"run:{tmp_path}")
    (tmp_path / "checkpoint.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(InputError, match="lacks architecture, pixels"):
        full_name(f"run:{tmp_path}")
    assert full_name("run:test_vit-0123456789ab") == "run:test_vit-0123456789ab"
