"""Losses by hand, sizes of pyramids, and the parts of transformers that the decoders rely on."""

from __future__ import annotations

import inspect
import sys

import numpy as np
import pytest
import torch

from feature_store import InputError
from workbench.heads.base import Reduced
from workbench.heads.config import DecoderConfig
from workbench.heads.depth import scale_invariant_log_loss, vpd
from workbench.heads.pyramid import Pyramid
from workbench.heads.segmentation import Mask2Former, UperNet


def pyramid(doublings=2, channels=5):
    reduced = Reduced(torch.zeros(channels), torch.ones(channels), 32)
    return Pyramid(reduced, 32, doublings)


def test_scale_invariant_log_loss_by_hand():
    truth = torch.tensor([[1.0, 2.0, np.nan, np.inf, 0.0]])
    depth = torch.tensor([[2.0, 2.0, 5.0, 5.0, 5.0]])
    d = np.array([np.log(2), 0])
    expected = np.sqrt((d**2).mean() - 0.5 * d.mean() ** 2)
    assert float(scale_invariant_log_loss(depth, truth)) == pytest.approx(expected)
    unknown = torch.full((1, 3), np.nan)
    depth = torch.ones(1, 3, requires_grad=True)
    scale_invariant_log_loss(depth, unknown).backward()
    assert depth.grad.tolist() == [[0, 0, 0]]


def test_standardised_channels_leave_out_constant_ones():
    reduced = Reduced(torch.tensor([1.0, 5.0]), torch.tensor([2.0, 0.0]), 32)
    x = torch.tensor([[[[3.0]], [[99.0]]]])
    assert ((x - reduced.mean) * reduced.scale).flatten().tolist() == [1, 0]


@pytest.mark.parametrize(("doublings", "sizes"), [(2, [28, 14, 7, 4]), (0, [7, 4, 2, 1])])
def test_sizes_of_a_pyramid(doublings, sizes):
    levels = pyramid(doublings)(torch.randn(2, 5, 7, 7))
    assert [tuple(level.shape) for level in levels] == [(2, 32, n, n) for n in sizes]


def test_vpd_is_rectified_before_it_is_enlarged_twice_after_its_deconvolutions():
    reduced = Reduced(torch.zeros(5), torch.ones(5), 32)
    decoder = vpd(reduced, DecoderConfig(head="vpd", hidden=32), 1)
    tokens = torch.randn(1, 5, 3, 3)
    assert reduced(tokens).min() < 0
    assert decoder[:2](tokens).min() == 0
    assert decoder(tokens).shape == (1, 1, 24, 24)


@pytest.mark.parametrize("kind", [Mask2Former, UperNet])
def test_ignored_pixels_and_images_add_no_loss(kind):
    pytest.importorskip("transformers", reason="install the extra: decoders")
    torch.manual_seed(0)
    name = kind.__name__.lower()
    config = DecoderConfig(head=name, hidden=32, layers=1, queries=6, points=64)
    head = kind(pyramid(), config, 4)
    tokens = torch.randn(2, 5, 4, 4)
    assert head(tokens).shape == (2, 4, 16, 16)
    ignored = torch.full((2, 32, 32), -1)
    loss = head.loss(tokens, ignored)
    loss.backward()
    assert loss.item() == 0
    one = ignored.clone()
    one[0, :8] = 3
    assert head.loss(tokens, one).item() > 0


def test_masks_of_queries_add_up_to_class_scores():
    pytest.importorskip("transformers", reason="install the extra: decoders")
    config = DecoderConfig(head="mask2former", hidden=32, layers=1, queries=6)
    head = Mask2Former(pyramid(), config, 4).eval()
    tokens = torch.randn(1, 5, 4, 4)
    with torch.no_grad():
        masks, classes = head._predictions(tokens)
        scores = head(tokens)
    by_hand = sum(
        classes[-1][0, q].softmax(0)[:4, None, None] * masks[-1][0, q].sigmoid() for q in range(6)
    )
    torch.testing.assert_close(scores[0], by_hand)
    assert len(masks) == len(classes) == 2  # before and after the only layer


def test_signatures_of_transformers():
    module = pytest.importorskip("transformers.models.mask2former.modeling_mask2former")
    arguments = {
        kind.__name__: list(inspect.signature(kind).parameters)
        for kind in (
            module.Mask2FormerPixelDecoder,
            module.Mask2FormerTransformerModule,
            module.Mask2FormerLoss,
        )
    }
    assert arguments == {
        "Mask2FormerPixelDecoder": ["config", "feature_channels"],
        "Mask2FormerTransformerModule": ["in_features", "config"],
        "Mask2FormerLoss": ["config", "weight_dict"],
    }
    upernet = pytest.importorskip("transformers.models.upernet.modeling_upernet")
    assert list(inspect.signature(upernet.UperNetHead).parameters) == ["config", "in_channels"]


def test_missing_transformers_are_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("transformers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match="upernet needs .*setup.sh decoders"):
        UperNet(pyramid(), DecoderConfig(head="upernet", hidden=32), 4)
