"""Every family: instantiate and run its smallest member, describe its big ones on shapes alone."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from analyses.published.checkpoints import PAPER_MODELS, paper_model
from feature_store.errors import InputError
from workbench import models
from workbench.models import registry

SMALL = {
    # family: (name, grid, channels, prefix tokens, default tap)
    "ViT": ("random:timm:vit_tiny_patch16_224:64", (4, 4), 192, 1, "final"),
    "DINOv2": ("random:timm:vit_small_patch14_dinov2:56", (4, 4), 384, 1, "final"),
    "DINOv2 reg": ("random:timm:vit_small_patch14_reg4_dinov2:56", (4, 4), 384, 5, "final"),
    "MAE": ("random:timm:vit_base_patch16_224.mae:32", (2, 2), 768, 1, "final"),
    "SigLIP": ("random:timm:vit_base_patch16_siglip_224:32", (2, 2), 768, 0, "final"),
    "ConvNeXt": ("random:timm:convnext_atto", (7, 7), 320, 0, "blocks"),
    "OpenCLIP": ("random:open_clip:ViT-S-32:64", (2, 2), 384, 1, "final"),
    "OpenCLIP ResNet": ("random:open_clip:RN50", (7, 7), 2048, 0, "blocks"),
    "OpenCLIP trunk": ("random:open_clip:ViT-B-16-SigLIP:64", (4, 4), 768, 0, "final"),
    "BEiT": ("random:timm:beit_base_patch16_224:32", (2, 2), 768, 1, "block:11"),
    "Swin": ("random:timm:swin_tiny_patch4_window7_224", (7, 7), 768, 0, "blocks"),
    "ResNet": ("random:timm:resnet18", (7, 7), 512, 0, "blocks"),
    "Lambda ResNet": ("random:timm:lambda_resnet26t:64", (2, 2), 2048, 0, "blocks"),
    "Mixer": ("random:timm:mixer_s32_224", (7, 7), 512, 0, "final"),
    "LeViT": ("random:timm:levit_128s", (4, 4), 384, 0, "blocks"),
    "CoaT": ("random:timm:coat_tiny", (7, 7), 152, 0, "blocks"),
    "CrossViT": ("random:timm:crossvit_tiny_240", (14, 14), 192, 0, "blocks"),
    "PiT": ("random:timm:pit_ti_224", (7, 7), 256, 0, "blocks"),
    "VOLO": ("random:timm:volo_d1_224", (14, 14), 384, 0, "blocks"),
    "NaFlex": ("random:timm:naflexvit_base_patch16_gap:64", (4, 4), 768, 4, "block:11"),
    "Hiera": ("random:timm:hiera_tiny_224", (7, 7), 768, 0, "blocks"),
}

GEOMETRY = {
    # the papers' checkpoints at their own native size: (native, grid, channels, prefix)
    ("ViT", "Base"): (224, 14, 768, 1),
    ("ViT", "Large"): (224, 14, 1024, 1),
    ("ViT", "Huge"): (224, 16, 1280, 1),
    ("DINOv2", "Base"): (518, 37, 768, 1),
    ("DINOv2", "Large"): (518, 37, 1024, 1),
    ("DINOv2", "Giant"): (518, 37, 1536, 1),
    ("MAE", "Base"): (224, 14, 768, 1),
    ("MAE", "Large"): (224, 14, 1024, 1),
    ("MAE", "Huge"): (224, 16, 1280, 1),
    ("OpenCLIP", "Base"): (224, 14, 768, 1),
    ("OpenCLIP", "Large"): (224, 16, 1024, 1),
    ("OpenCLIP", "Huge"): (224, 16, 1280, 1),
    ("OpenCLIP", "Giant"): (224, 16, 1408, 1),
    ("OpenCLIP", "big-G"): (224, 16, 1664, 1),
    ("ConvNeXt", "Base"): (224, 7, 1024, 0),
    ("ConvNeXt", "Large"): (224, 7, 1536, 0),
    ("ConvNeXt", "XLarge"): (224, 7, 2048, 0),
    ("SoViT", "400M"): (224, 16, 1152, 0),
}


@pytest.mark.parametrize("family", list(SMALL))
def test_instantiate_and_forward(family):
    name, grid, channels, prefix, tap = SMALL[family]
    backbone = models.load(name)
    info = backbone.info
    assert (info.grid, info.channels, info.prefix, info.tap) == (grid, channels, prefix, tap)
    assert not info.pretrained
    assert not backbone.module.training
    x = torch.randn(2, 3, info.native, info.native, generator=torch.Generator().manual_seed(0))
    tokens = backbone(x)
    assert tokens.map.shape == (2, *grid, channels)
    assert tokens.prefix.shape == (2, prefix, channels)
    assert tokens.map.dtype == tokens.prefix.dtype == torch.float32
    assert torch.isfinite(tokens.map).all()
    assert not torch.equal(tokens.map[0], tokens.map[1])
    json.dumps(dataclasses.asdict(info))  # what manifests are made of


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(key, id=" ".join(key), marks=[] if key[1] == "Base" else pytest.mark.slow)
        for key in GEOMETRY
    ],
)
def test_paper_checkpoints_resolve(key):
    info = models.resolve(paper_model(*key).name)
    native, side, channels, prefix = GEOMETRY[key]
    assert (info.native, info.grid) == (native, (side, side))
    assert (info.channels, info.prefix) == (channels, prefix)
    assert info.pretrained
    assert info.weights_from.startswith("hf-hub:")
    assert info.transform.height == native


def test_the_table_of_checkpoints_is_whole():
    assert {(model.family, model.size) for model in PAPER_MODELS} == set(GEOMETRY)
    assert all(model.source.startswith("https://") for model in PAPER_MODELS)
    assert paper_model("MVP", "Large").name == "timm:vit_large_patch16_224.mae"


def test_random_weights_are_seeded_and_leave_the_caller_s_generator_alone():
    name = SMALL["ViT"][0]
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first = models.load(name).weights_sha256
    assert torch.equal(torch.rand(1), expected)
    assert models.load(name).weights_sha256 == first


@pytest.mark.parametrize("name", [SMALL["ViT"][0], SMALL["OpenCLIP"][0]])
def test_final_is_the_norm_of_the_last_block(name):
    """Rows of the map are rows of the image: the sequence is laid out in reading order."""
    final, last = models.load(name), models.load(name, tap="block:11")
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    norm = getattr(final.module, "norm", None) or final.module.ln_post
    for ours, raw in zip(final(x), last(x), strict=True):
        torch.testing.assert_close(ours, norm(raw), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(final(x).map, last(x).map)


def test_the_tap_one_block_before_the_last_is_the_layer_that_llava_reads():
    """LLaVA's tower is CLIP of transformers, of which it takes ``hidden_states[-2]``."""
    transformers = pytest.importorskip("transformers", reason="install the extra: vlm")
    ours = models.load("random:timm:vit_base_patch32_clip_quickgelu_224:64", tap="block:10")
    config = transformers.CLIPVisionConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        image_size=64, patch_size=32, hidden_act="quick_gelu",
    )  # fmt: skip
    theirs = transformers.CLIPVisionModel(config).eval()
    given = ours.module.state_dict()
    state = {
        "embeddings.class_embedding": given["cls_token"].flatten(),
        "embeddings.patch_embedding.weight": given["patch_embed.proj.weight"],
        "embeddings.position_embedding.weight": given["pos_embed"][0],
    }
    parts = {"layer_norm1": "norm1", "layer_norm2": "norm2", "self_attn.out_proj": "attn.proj",
             "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}  # fmt: skip
    for kind in ("weight", "bias"):
        state[f"pre_layrnorm.{kind}"] = given[f"norm_pre.{kind}"]
        state[f"post_layernorm.{kind}"] = given[f"norm.{kind}"]
        for n in range(12):
            layer = f"encoder.layers.{n}"
            for name, own in parts.items():
                state[f"{layer}.{name}.{kind}"] = given[f"blocks.{n}.{own}.{kind}"]
            joined = given[f"blocks.{n}.attn.qkv.{kind}"].chunk(3)
            for name, value in zip("qkv", joined, strict=True):
                state[f"{layer}.self_attn.{name}_proj.{kind}"] = value
    first = next(key for key in theirs.state_dict() if key.endswith("class_embedding"))
    prefix = first.removesuffix("embeddings.class_embedding")
    theirs.load_state_dict({f"{prefix}{name}": value for name, value in state.items()})
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        read = theirs(x, output_hidden_states=True).hidden_states[-2]
    tokens = ours(x)
    torch.testing.assert_close(tokens.map.flatten(1, 2), read[:, 1:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tokens.prefix, read[:, :1], atol=1e-4, rtol=1e-4)


def test_open_clip_projection_and_pooled_vector():
    name = SMALL["OpenCLIP"][0]
    final, proj = models.load(name), models.load(name, tap="proj")
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        image_embedding = proj.module(x)
        torch.testing.assert_close(proj(x).prefix[:, 0], image_embedding)
        torch.testing.assert_close(proj(x).map, final(x).map @ proj.module.proj)
    pooled = models.load(name, tap="pre_logits")(x)
    assert pooled.map.shape == (2, 1, 1, 384)
    torch.testing.assert_close(pooled.map[:, 0, 0], final(x).prefix[:, 0])


def test_open_clip_runs_whole_images_with_resampled_positions():
    backbone = models.load(SMALL["OpenCLIP"][0])
    stored = backbone.module.positional_embedding
    assert backbone(torch.zeros(1, 3, 128, 96)).map.shape == (1, 4, 3, 384)
    assert backbone.module.positional_embedding is stored


def test_quick_gelu_mismatch_is_refused():
    with pytest.raises(InputError, match="use open_clip:ViT-B-32-quickgelu/openai"):
        models.resolve("open_clip:ViT-B-32/openai")
    assert models.resolve("open_clip:ViT-B-32-quickgelu/openai").prefix == 1
    with pytest.raises(InputError, match=r"use timm:vit_base_patch32_clip_quickgelu_224\.openai"):
        models.resolve("timm:vit_base_patch32_clip_224.openai")
    with pytest.raises(InputError, match="use open_clip:ViT-B-16-quickgelu/dfn2b"):
        models.resolve("timm:vit_base_patch16_clip_224.dfn2b")
    quick = models.resolve("timm:vit_base_patch32_clip_quickgelu_224.openai")
    assert quick.params == models.resolve("timm:vit_base_patch32_clip_224.laion2b").params


def test_weights_that_cannot_be_fetched_are_a_clear_error(monkeypatch):
    import open_clip
    import timm

    def unreachable(*arguments, pretrained=False, **keywords):
        if pretrained:
            raise OSError("no route to the hub. More about that")
        return create(*arguments, **keywords)

    create = timm.create_model
    monkeypatch.setattr("workbench.models.hub.require_reachable", lambda *name: None)
    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(InputError, match=r"could not be fetched \(no route to the hub\);.*file:"):
        models.load("timm:vit_tiny_patch16_224.augreg_in21k")
    monkeypatch.setattr(open_clip, "create_model", unreachable)
    with pytest.raises(InputError, match="could not be fetched"):
        models.load("open_clip:ViT-B-32/laion2b_s34b_b79k")


def test_sizes_a_model_cannot_run_are_refused():
    vit = models.load(SMALL["ViT"][0])
    with pytest.raises(InputError, match="16 pixels; 65 x 64 .* 64 x 64"):
        vit(torch.zeros(1, 3, 65, 64))
    with pytest.raises(InputError, match=r"takes \(image, 3, height, width\); found \(1, 1, 64"):
        vit(torch.zeros(1, 1, 64, 64))
    mixer = models.load(SMALL["Mixer"][0])
    assert not mixer.info.flexible
    with pytest.raises(InputError, match="runs at 224 x 224 only"):
        mixer(torch.zeros(1, 3, 448, 448))


def test_a_model_without_a_head_does_not_classify():
    with pytest.raises(InputError, match="no classification head"):
        models.load(SMALL["MAE"][0]).classify(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(("arithmetic", "bound"), [("bf16", 0.1), ("fp16", 0.01)])
def test_reduced_precision_returns_float32_near_the_full_one(arithmetic, bound):
    name = SMALL["ViT"][0]
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    full, half = models.load(name)(x).map, models.load(name, arithmetic=arithmetic)(x).map
    assert half.dtype == torch.float32
    assert 0 < (full - half).abs().max() < bound * full.abs().max()
    with pytest.raises(InputError, match="expected one of fp32, bf16, fp16"):
        models.load(name, arithmetic="int8")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("crossvit_tiny_240", "a list"),
        ("coat_tiny", "a list"),
        ("coat_lite_tiny", "50 tokens.* 7 x 7"),
        ("pit_ti_224", "1 tokens.* 7 x 7"),
        ("volo_d1_224", "197 tokens.* 14 x 14"),
    ],
)
def test_a_tap_without_a_map_is_refused_with_one_that_works(name, found):
    with pytest.raises(InputError, match=f"no tap 'final': .*{found}.*use #blocks") as refused:
        models.resolve(f"random:timm:{name}", "final")
    offered = str(refused.value).rpartition("another of ")[2].split(", ")
    assert {"blocks", "pre_logits"} < set(offered)
    for tap in offered:
        assert models.resolve(f"random:timm:{name}", tap).channels


def test_models_that_cannot_be_described_are_refused():
    with pytest.raises(InputError, match="is not supported"):
        models.resolve("random:timm:gemma4_vit_167m")
    with pytest.raises(InputError, match="no tap 'pre_logits': .*use #blocks"):
        models.resolve("random:timm:mobilenetv5_300m_enc", "pre_logits")


@pytest.mark.parametrize(
    "name", ["timm:vit_so400m_patch14_siglip_384", "open_clip:ViT-SO400M-14-SigLIP-384"]
)
def test_pixels_beyond_the_last_whole_patch_are_left_out(name):
    """384 = 27 * 14 + 6."""
    info = models.resolve(f"random:{name}")
    assert (info.tap, info.native, info.grid, info.stride) == ("final", 384, (27, 27), 14)
    assert not info.flexible


def test_a_model_that_shrinks_larger_images_runs_at_its_native_size_only():
    for tap in ("blocks", "pre_logits"):
        assert not models.resolve("random:timm:crossvit_tiny_240", tap).flexible


def test_naflex_means_are_over_the_tokens_of_the_image():
    """Ours equal the masked mean that NaFlex takes of the same image padded to 30 tokens."""
    backbone = models.load("random:timm:naflexvit_base_patch16_gap:64")
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    patches = x.reshape(1, 3, 4, 16, 4, 16).permute(0, 2, 4, 3, 5, 1).reshape(1, 16, 768)
    rows, cols = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    padded = {
        "patches": torch.cat([patches, torch.full((1, 14, 768), 9.0)], dim=1),
        "patch_coord": torch.nn.functional.pad(
            torch.stack([rows, cols], dim=-1).reshape(1, 16, 2), (0, 0, 0, 14)
        ),
        "patch_valid": (torch.arange(30) < 16)[None],
    }
    found = backbone(x).map.mean(dim=(1, 2))
    with torch.inference_mode():
        features = backbone.module.forward_features(**padded)
        masked = backbone.module._pool(features["patches"], patch_valid=features["patch_valid"])
        unmasked = features["patches"][:, 4:].mean(dim=1)
    torch.testing.assert_close(found, masked, atol=1e-4, rtol=1e-4)
    assert (found - unmasked).abs().max() > 0.01


def test_blocks_of_a_model_without_class_token_and_position_embeddings():
    info = models.resolve("random:timm:vit_relpos_small_patch16_224", "block:3")
    assert (info.grid, info.prefix, info.channels) == ((14, 14), 0, 384)


def test_convolutions_run_channels_last():
    module = models.load("random:timm:test_convnext.r160_in1k").module
    kernels = [m.weight for m in module.modules() if isinstance(m, torch.nn.Conv2d)]
    assert kernels
    assert all(k.is_contiguous(memory_format=torch.channels_last) for k in kernels)


def test_family_builders_cover_every_kind():
    assert set(registry.FAMILIES) == set(models.names.KINDS)
