"""Scales that a model cannot run at are refused, with the sizes that it can."""

from __future__ import annotations

import dataclasses

import pytest

from feature_store.errors import InputError
from workbench import models
from workbench.multiscale import Scale, base_size, plan_scale


@pytest.fixture(scope="module")
def vit():
    return models.resolve("random:timm:vit_tiny_patch16_224")


def test_sizes_that_do_not_divide_name_the_nearest(vit):
    with pytest.raises(InputError, match=r"nearest valid sizes: 224, 448; .*\.whole"):
        plan_scale(Scale.parse("300"), vit)
    with pytest.raises(InputError, match="patches of 16 pixels; nearest valid sizes: 288, 304"):
        plan_scale(Scale.parse("300.whole"), vit)
    with pytest.raises(InputError, match="not a simple aspect ratio"):
        base_size(Scale.parse("333x500"), 224)


def test_whole_scale_of_an_inflexible_model_is_refused(vit):
    stiff = dataclasses.replace(vit, flexible=False)
    with pytest.raises(InputError, match="native 224 pixels only"):
        plan_scale(Scale.parse("448.whole"), stiff)
    with pytest.raises(InputError, match="native 224 pixels only"):
        plan_scale(Scale.parse("112"), stiff)


def test_more_pixels_than_an_image_is_resized_to_are_refused(vit):
    with pytest.raises(InputError, match="are more than 268,435,456 pixels"):
        plan_scale(Scale.parse("40000.pad"), vit)


def test_a_size_that_a_model_cannot_run_at_is_refused():
    info = models.resolve("random:timm:maxvit_tiny_tf_224")
    with pytest.raises(InputError, match=r"cannot run at 112 x 112 .* multiples of its native 224"):
        plan_scale(Scale.parse("112"), info)
