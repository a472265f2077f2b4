"""Single-core threads side by side: values of one thread; the caller's threads stay as they are."""

from __future__ import annotations

import threading

import pytest
import torch

from workbench import models
from workbench.multiscale import CropLimit, features
from workbench.multiscale.streams import one_core_threads


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_each_stream_has_one_core_and_the_caller_keeps_its_own():
    met = threading.Barrier(2)

    def look(_):
        met.wait(timeout=60)  # so that both threads are asked
        torch.ones(4).sum()
        return torch.get_num_threads()

    with one_core_threads(2) as pool:
        assert list(pool.map(look, range(2))) == [1, 1]
        assert torch.get_num_threads() == 3
    seen = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [3]


def test_features_do_not_depend_on_the_number_of_streams():
    backbone = models.load("random:timm:test_convnext.r160_in1k")
    images = torch.randn(3, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    plain = features(backbone, images, ["1x", "2x"], max_crops=2)
    for count in (1, 2, 5):
        with one_core_threads(count) as pool:
            limit = CropLimit(2, streams=pool)
            for scale, tokens in features(backbone, images, ["1x", "2x"], max_crops=limit).items():
                assert torch.equal(tokens.map, plain[scale].map)
