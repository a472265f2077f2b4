"""Laying raw outputs out on a grid, and refusing those that have none."""

from __future__ import annotations

import pytest
import torch

from feature_store.errors import InputError
from workbench.models import readout, timm_taps


def test_sequence_is_read_row_by_row_after_its_prefix():
    sequence = torch.arange(8.0).reshape(1, 8, 1)
    tokens = readout.from_sequence(sequence, 2, (2, 3))
    assert tokens.prefix[0, :, 0].tolist() == [0, 1]
    assert tokens.map[0, :, :, 0].tolist() == [[2, 3, 4], [5, 6, 7]]


def test_a_sequence_that_fills_no_grid_is_refused():
    with pytest.raises(InputError, match="returned 8 tokens; expected 1 prefix tokens and a 2 x 3"):
        readout.from_sequence(torch.zeros(1, 8, 4), 1, (2, 3))


def test_maps_lose_their_layout_and_keep_their_values():
    features = torch.randn(2, 5, 3, 4)
    tokens = readout.from_map(features, channels_last=False)
    assert torch.equal(tokens.map, features.permute(0, 2, 3, 1))
    assert torch.equal(readout.from_map(tokens.map, channels_last=True).map, tokens.map)
    assert tokens.prefix.shape == (2, 0, 5)


def test_a_vector_is_a_map_of_one_cell():
    assert readout.from_vector(torch.zeros(3, 7)).map.shape == (3, 1, 1, 7)


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ({"tokens": 1, "pooled": 2}, "a dict with keys 'tokens', 'pooled'"),
        ([torch.zeros(1, 2)], "a list"),
        (torch.zeros(3), r"a tensor of shape \(3,\)"),
        (None, "a NoneType"),
    ],
)
def test_outputs_that_are_no_tensor_are_named(output, found):
    with pytest.raises(InputError, match=f"toy returns {found} at tap final; expected one tensor"):
        readout.require_tensor(output, "toy", "final")


class Pooling(torch.nn.Module):
    """A timm-like module without a spatial grid: one vector per image."""

    num_features = 4

    def __init__(self, output=None):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.output = output

    def forward_features(self, x):
        return x.mean(dim=(2, 3)) if self.output is None else self.output

    def forward_head(self, x, pre_logits=False):
        return x


def test_a_model_without_a_grid_offers_its_vector_only():
    shape = timm_taps.probe(Pooling().to("meta"), 8, "toy")
    taps, missing = timm_taps.find_taps(Pooling(), shape, "toy")
    assert taps == ("pre_logits",)
    assert "no spatial grid" in missing["final"]
    x = torch.ones(2, 3, 8, 8)
    assert timm_taps.reader(Pooling(), "toy", "pre_logits")(x).map.shape == (2, 1, 1, 3)
    with pytest.raises(InputError, match="one vector per image at tap final, no spatial grid"):
        timm_taps.reader(Pooling(), "toy", "final")(x)


def test_a_model_without_any_tap_is_refused_with_every_reason():
    toy = Pooling({"x_norm": 1, "x_prenorm": 2}).to("meta")
    shape = timm_taps.probe(toy, 8, "toy")
    with pytest.raises(InputError, match="toy has no tap.*'x_norm', 'x_prenorm' at tap final"):
        timm_taps.find_taps(toy, shape, "toy")
