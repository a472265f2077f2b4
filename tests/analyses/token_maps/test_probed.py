"""A probe of images asked about tokens; its held-out losses."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.linear.head import loss_and_hits
from analyses.token_maps.probed import fit_probe, held_out_loss
from feature_store import InputError


@pytest.fixture
def images():
    """Images (image, row, col, channel) of classes 2 and 5; the left column tells them apart."""
    rng = np.random.default_rng(0)
    labels = np.where(np.arange(40) % 2, 5, 2)
    tokens = rng.normal(size=(40, 2, 3, 4))
    tokens[:, :, 0, 0] += np.where(labels == 5, 6.0, -6.0)[:, None]
    return tokens, labels


def test_tokens_that_show_the_class_have_its_label(images):
    tokens, labels = images
    probe = fit_probe(tokens.mean((1, 2)), labels)
    found = probe.labels(tokens)
    assert set(np.unique(found)) <= {2, 5}
    assert (found[:, :, 0] == labels[:, None]).mean() > 0.95
    logits = tokens @ probe.head.weight + probe.head.bias
    of_images = tokens.mean((1, 2)) @ probe.head.weight + probe.head.bias
    np.testing.assert_allclose(logits.mean((1, 2)), of_images)
    assert (probe.labels(np.full((2, 3, 4), np.nan)) == -1).all()


def test_held_out_loss_is_that_of_a_head_that_has_not_seen_the_image(images):
    tokens, labels = images
    features = tokens.mean((1, 2))
    labels = labels.copy()
    labels[0] = 2 + 5 - labels[0]  # wrong: only a head that has not seen it is surprised
    labels[3] = -1
    labels[6] = 9  # the only image of its class
    loss = held_out_loss(features, labels)
    assert np.isnan(loss[[3, 6]]).all()
    probe = fit_probe(features, labels)
    seen = np.flatnonzero(labels >= 0)
    own, _ = loss_and_hits(
        features[seen] @ probe.head.weight + probe.head.bias,
        np.searchsorted(probe.classes, labels[seen]),
    )
    assert loss[0] == np.nanmax(loss)
    assert loss[0] > own[0]


def test_one_class_is_refused():
    with pytest.raises(InputError, match="1 classes"):
        fit_probe(np.ones((4, 2)), np.array([3, 3, -1, 3]))
