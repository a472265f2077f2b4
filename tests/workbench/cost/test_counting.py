"""Parameters, multiply-accumulates and bytes against closed forms."""

from __future__ import annotations

import re

import numpy as np
import pytest

from feature_store.errors import InputError
from workbench.cost import (
    Macs,
    cost,
    macs,
    params,
)
from workbench.models import registry

VIT = "random:timm:vit_tiny_patch16_224"


def test_vit_macs_equal_the_closed_form():
    """Per block 12 d² t in weights and 2 d t² in attention; the patch projection 3·16²·d per patch.

    d channels, t tokens: queries, keys, values and output take 4 d², the MLP 8 d².
    """
    d, patches, blocks = 192, 196, 12
    t = patches + 1
    expected = Macs(
        linear=blocks * 12 * d * d * t + 3 * 16 * 16 * d * patches,
        attention=blocks * 2 * d * t * t,
    )
    assert macs(VIT, "final", 224, 224) == expected


def test_published_figure_of_vit_base():
    """17.6 G at 224, as in table 5 of Shi et al."""
    assert cost("timm:vit_base_patch16_224", ["224"]).gmacs == pytest.approx(17.6, abs=0.05)


def test_convolution_macs_equal_the_closed_form():
    """The stem of Lite0: 3 x 3 from 3 to 32 channels at stride 2, plus its first block."""
    stem = 32 * 3 * 9 * 112 * 112
    first = 32 * 9 * 112 * 112 + 32 * 16 * 112 * 112  # depthwise, then pointwise
    found = macs("bundled:efficientnet_lite0", "stage:0", 224, 224)
    assert found == Macs(linear=stem + first, attention=0)


def test_both_heads_of_a_distilled_model_are_left_out():
    module = registry.build("random:timm:levit_128s").module
    heads = module.head.linear, module.head_dist.linear
    norms = module.head.bn, module.head_dist.bn
    left = sum(p.numel() for part in (*heads, *norms) for p in part.parameters())
    assert params("random:timm:levit_128s") == sum(p.numel() for p in module.parameters()) - left


def test_scales_cost_their_crops():
    one = cost(VIT, ["224"])
    three = cost(VIT, ["1x", "2x", "3x"])
    assert three.gmacs == pytest.approx(14 * one.gmacs)
    assert [row["crops"] for row in three.per_scale] == [1, 4, 9]
    assert (three.tokens, three.channels) == (196, 3 * 192)
    assert three.params == one.params


def test_a_cost_in_a_notebook_shows_its_numbers_and_a_row_per_scale():
    shown = cost("bundled:efficientnet_lite0", ["224", "448"])._repr_html_()
    cells = re.findall("<td>(.*?)</td>", shown)
    assert (cells[:2], cells[len(cells) // 2 :][:2]) == (["224", "1"], ["448", "4"])
    assert "3.4 M parameters, 1.82 GMACs per image, 49 tokens of 640 channels" in shown


def test_bytes_are_what_is_stored():
    found = cost(VIT, ["224", "448"], dtype="float32")
    values = np.zeros((2, 14 * 14 + 1, 192), np.float32)
    assert found.bytes_per_image == values.nbytes
    assert cost(VIT, ["448.unpooled"]).bytes_per_image == (28 * 28 + 1) * 192 * 2


def test_whole_image_costs_more_attention_than_its_crops():
    assert cost(VIT, ["448.whole"]).gmacs > cost(VIT, ["448"]).gmacs


def test_an_earlier_block_costs_less():
    early = cost(VIT, ["224"], tap="block:5").gmacs
    assert 0.45 < early / cost(VIT, ["224"]).gmacs < 0.55


def test_parameters_leave_the_head_out():
    d, blocks = 192, 12
    block = 12 * d * d + 13 * d  # weights; biases 3d + d + 4d + d and two norms of 2d
    expected = blocks * block + 3 * 256 * d + d + 197 * d + d + 2 * d
    assert params(VIT) == expected


@pytest.mark.parametrize(
    ("model", "tap"),
    [("vit_base_patch16_siglip_224", "pre_logits"), ("cait_xxs24_224", "final")],
)
def test_heads_and_layers_with_parameters_as_arguments_are_counted(model, tap):
    found = cost(f"random:timm:{model}", ["224"], tap=tap)
    assert 0.5 < found.gmacs * 1e3 / (found.params / 1e6 * 196) < 1.5  # a product per weight, token


def test_misuse_is_refused():
    with pytest.raises(InputError, match="nearest valid sizes: 224, 448"):
        cost(VIT, ["300"])
    with pytest.raises(InputError, match="expected one of float16, float32"):
        cost(VIT, ["224"], dtype="int8")
