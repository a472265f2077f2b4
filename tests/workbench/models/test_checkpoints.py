"""Local checkpoints: safetensors and tensor-only pickles fit or are refused; code never runs."""

from __future__ import annotations

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from feature_store.errors import InputError
from workbench import models
from workbench.models import checkpoints

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
        checkpoints.read_tensors(path)


def test_files_without_tensors_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"epoch": 3, "lr": 0.1}, path)
    with pytest.raises(InputError, match=r"not named tensors \(epoch, lr\)"):
        checkpoints.read_tensors(path)
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="holds a list; expected named tensors"):
        checkpoints.read_tensors(path)
    with pytest.raises(InputError, match="there is no file"):
        models.resolve(f"file:{ARCH}:{tmp_path}/none.pth")
