"""Local checkpoints: safetensors and tensor-only pickles fit or are refused; code never runs."""

from __future__ import annotations

import argparse
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from feature_store.errors import InputError
from workbench import models
from workbench.models import checkpoint_tensors, checkpoints, clip_checkpoints, open_clip_family
from workbench.models.names import ModelName

ARCH = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def state():
    return models.load(f"random:timm:{ARCH}").module.state_dict()


class Payload:
    """Runs a command when unpickled by an unguarded loader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("kind", ["safetensors", "pth", "wrapped", "parallel"])
def test_weights_arrive_whatever_the_container(kind, state, tmp_path):
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth")
    if kind == "safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        named = {f"module.{k}": v for k, v in state.items()} if kind == "parallel" else dict(state)
        torch.save({"model": named, "epoch": 3} if kind == "wrapped" else named, path)
    backbone = models.load(f"file:{ARCH}:{path}")
    expected = models.load(f"random:timm:{ARCH}")
    assert backbone.weights_sha256 == expected.weights_sha256
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert torch.equal(backbone(x).map, expected(x).map)
    assert backbone.info.pretrained
    assert backbone.info.weights_from == f"file {path.name}"


SMALL = "test_vit.r160_in1k"


@pytest.fixture(scope="module")
def small():
    return models.load(f"random:timm:{SMALL}").module.state_dict()


def save(tensors, path):
    """Flat tensors as safetensors or as a pickle, by the name of the file."""
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    return f"file:{SMALL}:{path}"


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_an_empty_file_is_refused_and_never_replaced_by_the_hub(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", pytest.fail)
    with pytest.raises(InputError, match="contains no tensors"):
        models.load(save({}, tmp_path / f"empty.{suffix}"))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.module.", "model.backbone.", "teacher.backbone.", "net.", "encoder."],
)
def test_prefixes_are_removed_from_a_complete_match(prefix, suffix, small, tmp_path):
    named = {prefix + key: value for key, value in small.items()}
    named[prefix.partition(".")[0] + ".projector.weight"] = torch.zeros(3)
    if "." in prefix.rstrip("."):
        named |= {"loss.weight": torch.zeros(3)}
    else:
        del named[prefix + "projector.weight"]
    backbone = models.load(save(named, tmp_path / f"weights.{suffix}"))
    assert backbone.weights_sha256 == models.load(f"random:timm:{SMALL}").weights_sha256
    assert f"{prefix}*" in backbone.info.revision


@pytest.mark.parametrize(
    "container",
    ["state_dict", "model", "model_state_dict", "params", "net", "teacher", "student", "model_ema"],
)
def test_containers_are_opened(container, small, tmp_path):
    path = tmp_path / "weights.pth"
    nested = {container: {f"module.{k}": v for k, v in small.items()}, "optimizer": {"lr": 0.1}}
    torch.save({**nested, "epoch": 3, "args": argparse.Namespace(lr=0.1)}, path)
    backbone = models.load(f"file:{SMALL}:{path}")
    assert backbone.weights_sha256 == models.load(f"random:timm:{SMALL}").weights_sha256
    assert f"{container}.module.*" in backbone.info.revision


@pytest.mark.parametrize("average", ["model_ema", "state_dict_ema"])
def test_the_average_over_training_is_preferred_and_recorded(average, small, tmp_path):
    zeros = {key: torch.zeros_like(value) for key, value in small.items()}
    path = tmp_path / "weights.pth"
    torch.save({"model": zeros, average: small}, path)
    backbone = models.load(f"file:{SMALL}:{path}")
    assert backbone.weights_sha256 == models.load(f"random:timm:{SMALL}").weights_sha256
    assert f"{average}.*" in backbone.info.revision
    assert "model.*" in backbone.info.revision
    partial = {key: value for key, value in zeros.items() if not key.startswith("norm.")}
    torch.save({"model": small, average: partial}, path)  # an average that does not fit
    backbone = models.load(f"file:{SMALL}:{path}")
    assert backbone.weights_sha256 == models.load(f"random:timm:{SMALL}").weights_sha256


def test_two_models_that_fit_are_refused(small, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"model": small, "net": small}, path)
    with pytest.raises(InputError, match=r"two models.*model\.\*.*net\.\*"):
        models.load(f"file:{SMALL}:{path}")


def test_a_misfit_names_prefix_missing_and_unexpected_tensors(small, tmp_path):
    named = {f"module.{k}": v for k, v in small.items() if k != "norm.weight"}
    named["module.extra.weight"] = torch.zeros(3)
    with pytest.raises(
        InputError, match=r"module\..*missing norm\.weight.*unexpected extra\.weight"
    ):
        models.load(save(named, tmp_path / "weights.pth"))


def test_a_tensor_that_timm_would_leave_at_random_is_refused(tmp_path):
    """timm loads DLA leniently."""
    state = models.load("random:timm:dla46x_c").module.state_dict()
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    assert models.load(f"file:dla46x_c:{path}").info.revision is None
    del state["level0.0.weight"]
    torch.save(state, path)
    with pytest.raises(InputError, match=r"missing level0\.0\.weight"):
        models.load(f"file:dla46x_c:{path}")


@pytest.mark.parametrize("channels", [1, 4])
def test_a_file_of_other_channels_is_refused(channels, small, tmp_path):
    kernel = small["patch_embed.proj.weight"]
    named = {**small, "patch_embed.proj.weight": kernel[:, :1].repeat(1, channels, 1, 1)}
    with pytest.raises(InputError, match=f"images of {channels} channels; expected 3"):
        models.load(save(named, tmp_path / "weights.pth"))


def test_a_clip_checkpoint_loads_through_open_clip(tmp_path):
    expected = models.load("random:open_clip:ViT-S-32")
    tower = {f"module.visual.{k}": v for k, v in expected.module.state_dict().items()}
    path = tmp_path / "clip.pt"
    torch.save({"state_dict": tower | {"module.logit_scale": torch.ones(())}, "epoch": 1}, path)
    found = models.load(f"file:ViT-S-32:{path}")
    assert found.weights_sha256 == expected.weights_sha256
    assert "state_dict.module.visual.*" in found.info.revision
    assert (found.info.weights_from, found.info.pretrained) == ("file clip.pt", True)
    assert models.load(f"file:ViT-S-32:64:{path}").info.grid == (2, 2)
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found(x).map, expected(x).map)
    del tower["module.visual.ln_post.weight"]
    torch.save(tower, path)
    with pytest.raises(InputError, match=r"module\.visual\.: missing ln_post\.weight"):
        models.load(f"file:ViT-S-32:{path}")
    torch.save({"visual.ln_post.weight": torch.zeros(64)}, path)
    with pytest.raises(InputError, match=r"file:ViT-B-32:PATH"):
        models.load(f"file:{SMALL}:{path}")


def test_a_clip_checkpoint_in_timm_s_architecture_gives_the_same_features(tmp_path):
    config = {"embed_dim": 32, "vision_cfg": {"layers": 10, "width": 256, "patch_size": 16}}
    tower = open_clip_family.tower(config, 224, meta=False).eval()
    path = tmp_path / "clip.pt"
    torch.save({f"visual.{k}": v for k, v in tower.state_dict().items()}, path)
    found = models.load(f"file:vit_xsmall_patch16_clip_224:{path}")
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = open_clip_family._vit_reader(tower, "final")(x)
    torch.testing.assert_close(found(x).map, expected.map, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("arch", "twin"),
    [
        ("ViT-B-32", "ViT-B-32-quickgelu"),
        ("vit_base_patch32_clip_224", "vit_base_patch32_clip_quickgelu_224"),
        ("vit_base_patch32_clip_224.laion2b", "vit_base_patch32_clip_quickgelu_224.laion2b"),
    ],
)
def test_openai_s_file_in_an_architecture_with_gelu_is_refused(arch, twin, tmp_path):
    path = tmp_path / "clip.pt"
    keys = ("visual.proj", *clip_checkpoints.OPENAI)
    torch.save({key: torch.ones(1, 1) for key in keys}, path)
    with pytest.raises(InputError, match=f"QuickGELU.*use file:{twin}:"):
        models.load(f"file:{arch}:{path}")


def test_clip_weights_of_unknown_activation_carry_a_note():
    def note(arch):
        return clip_checkpoints.activation_note(ModelName(kind="file", arch=arch, path="x"))

    assert "ViT-B-32-quickgelu" in note("ViT-B-32")
    assert "vit_base_patch32_clip_quickgelu_224" in note("vit_base_patch32_clip_224")
    for settled in ("ViT-B-32/laion2b_e16", "ViT-B-32-quickgelu", SMALL, "ViT-S-32"):
        assert note(settled) is None


def test_the_tag_of_a_clip_file_says_how_images_are_prepared(tmp_path):
    path = tmp_path / "clip.pt"
    save({"visual.proj": torch.zeros(1)}, path)
    assert models.resolve(f"file:ViT-B-16-SigLIP/webli:{path}").mean == (0.5, 0.5, 0.5)
    with pytest.raises(InputError, match="use file:ViT-B-32-quickgelu/openai:"):
        models.resolve(f"file:ViT-B-32/openai:{path}")


def test_a_malicious_pickle_is_refused_and_never_runs(tmp_path):
    witness, path = tmp_path / "witness", tmp_path / "weights.pth"
    torch.save({"norm.weight": Payload(witness)}, path)
    with pytest.raises(InputError, match="is refused: .*which can run code.*safetensors"):
        models.load(f"file:{ARCH}:{path}")
    path.write_bytes(pickle.dumps(Payload(witness), protocol=2))
    with pytest.raises(InputError, match="is refused"):
        models.load(f"file:{ARCH}:{path}")
    assert not witness.exists()
    pickle.loads(path.read_bytes())  # an unguarded loader does run it
    assert witness.exists()


def test_a_missing_final_norm_is_refused(state, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({k: v for k, v in state.items() if not k.startswith("norm.")}, path)
    with pytest.raises(InputError, match=r"does not fit vit_tiny_patch16_224: .*norm\.weight"):
        models.load(f"file:{ARCH}:{path}")


def test_a_missing_head_is_fine(state, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({k: v for k, v in state.items() if not k.startswith("head.")}, path)
    backbone = models.load(f"file:{ARCH}:{path}")
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert torch.equal(backbone(x).map, models.load(f"random:timm:{ARCH}")(x).map)


def test_position_embeddings_are_resampled_to_the_size_asked_for(state, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    backbone = models.load(f"file:{ARCH}:112:{path}")
    assert backbone.info.grid == (7, 7)
    assert backbone.module.pos_embed.shape == (1, 50, 192)
    assert torch.equal(backbone.module.pos_embed[:, 0], state["pos_embed"][:, 0])


def test_a_file_of_another_image_size_is_refused_unless_a_size_is_named(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(models.load(f"random:timm:{ARCH}:112").module.state_dict(), path)
    with pytest.raises(InputError, match=r"pos_embed of \(1, 50, 192\).*another size.*:PIXELS:/"):
        models.load(f"file:{ARCH}:{path}")
    assert models.load(f"file:{ARCH}:112:{path}").info.grid == (7, 7)


def test_a_file_of_other_patches_is_refused(state, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({**state, "patch_embed.proj.weight": torch.zeros(192, 3, 32, 32)}, path)
    for name in (f"file:{ARCH}:{path}", f"file:{ARCH}:112:{path}"):
        with pytest.raises(InputError, match="patches of 32 x 32, .* of 16 x 16"):
            models.load(name)


def test_embeddings_with_and_without_a_class_token_have_the_same_grid():
    def grids(*counts):
        return [torch.zeros(1, count, 8) for count in counts]

    assert checkpoints._same_grid(*grids(1370, 1369))  # DINOv2 with registers, published and timm's
    assert not checkpoints._same_grid(*grids(50, 197))


def test_a_pickle_with_keys_that_are_no_names_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({0: torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"not named tensors \(0\)"):
        models.load(f"file:{ARCH}:{path}")


def test_another_architecture_s_file_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(models.load("random:timm:test_convnext.r160_in1k").module.state_dict(), path)
    with pytest.raises(InputError, match="does not fit"):
        models.load(f"file:{ARCH}:{path}")


def test_a_tag_of_quickgelu_weights_under_gelu_is_refused(state, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    arch = "vit_base_patch32_clip_224.openai"
    with pytest.raises(InputError, match=r"use file:vit_base_patch32_clip_quickgelu_224\.openai:"):
        models.resolve(f"file:{arch}:{path}")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"text"])
def test_damaged_files_are_refused(suffix, content, tmp_path):
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read|is refused"):
        checkpoint_tensors.read(path)


def test_files_without_tensors_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"epoch": 3, "lr": 0.1}, path)
    with pytest.raises(InputError, match=r"not named tensors \(epoch, lr\)"):
        checkpoint_tensors.read(path)
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="holds a list; expected named tensors"):
        checkpoint_tensors.read(path)
    with pytest.raises(InputError, match="no file .*none.pth"):
        models.resolve(f"file:{ARCH}:{tmp_path}/none.pth")
