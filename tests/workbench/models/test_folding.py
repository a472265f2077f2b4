"""Batch norms disappear into convolutions without changing a feature beyond rounding."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from workbench import models
from workbench.models import folding, registry
from workbench.models.info import Tokens
from workbench.models.readout import from_map

SIDE = 16
NOISE = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


class Plain(nn.Module):
    """Convolution, batch norm, activation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


class Forked(Plain):
    """What the convolution returns goes past the batch norm as well."""

    def forward(self, x):
        below = self.conv(x)
        return self.norm(below) + below


class Shared(Plain):
    """One batch norm runs on two convolutions' outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.norm(self.other(self.norm(self.conv(x))))


class NormFirst(Plain):
    """Nothing convolves before the batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.conv(self.norm(x))


def trained(kind: type[nn.Module]) -> nn.Module:
    """In evaluation mode, with statistics as training leaves them."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = kind().eval().requires_grad_(False)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(generator=generator)
            part.running_var.uniform_(0.2, 3, generator=generator)
            part.weight.normal_(generator=generator)
            part.bias.normal_(generator=generator)
    return module


def reader(module: nn.Module):
    def read(x: torch.Tensor) -> Tokens:
        return from_map(module(x), channels_last=False)

    return read


def batch_norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


def test_a_batch_norm_after_a_convolution_goes_and_the_original_stays():
    module = trained(Plain)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    found = folding.folded(module, reader, SIDE)
    assert (batch_norms(found), batch_norms(module)) == (0, 1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    torch.testing.assert_close(found(NOISE), module(NOISE), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [Forked, Shared, NormFirst])
def test_where_folding_would_change_features_nothing_is_folded(kind):
    module = trained(kind)
    before = module(NOISE)
    assert folding.folded(module, reader, SIDE) is module
    assert batch_norms(module) == 1
    assert torch.equal(module(NOISE), before)


def test_a_map_that_is_not_needed_any_more_is_not_kept():
    kept = []

    class Watched(Plain):
        def forward(self, x):
            below = self.conv(x)
            seen = weakref.ref(below)
            above = self.norm(below)
            del below
            kept.append(seen() is not None)
            return above

    folding.folded(trained(Watched), reader, SIDE)
    assert kept[0] is False


def test_without_batch_norms_no_copy_is_made_and_nothing_runs():
    module = nn.Conv2d(3, 4, 3)
    assert folding.folded(module, lambda part: pytest.fail("ran"), SIDE) is module


@pytest.mark.parametrize(
    "name",
    [
        "bundled:efficientnet_lite0",
        "random:timm:resnet18",
        "random:timm:regnety_002",
        "random:timm:densenet121",
        "random:timm:repvgg_a0",
    ],
)
def test_loaded_models_agree_with_timm_run_as_it_is(name):
    backbone = models.load(name)
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    index = len(backbone.module.feature_info) - 1
    with torch.inference_mode():
        [expected] = backbone.module.forward_intermediates(
            x, indices=[index], intermediates_only=True, norm=False
        )
    found = backbone(x).map.movedim(-1, 1)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_the_hash_of_the_weights_is_that_of_the_weights_as_stored():
    name = "bundled:efficientnet_lite0"
    backbone = models.load(name)
    stored, _ = registry.build(name).load()
    assert replace(backbone, module=stored).weights_sha256 == backbone.weights_sha256
