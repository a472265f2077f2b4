"""Roles of stored sources."""

from __future__ import annotations

import numpy as np
import pytest

from feature_store import InputError
from workbench import roles

LITE = "bundled:efficientnet_lite"


def stored(make_store, *names):
    array = np.zeros((4, 1, 1, 2))
    return make_store("s.zarr", dict.fromkeys(names, array))


def test_small_has_several_scales_and_large_the_most_parameters(make_store):
    store = stored(
        make_store,
        f"{LITE}1#blocks@224",
        f"{LITE}2#blocks@224",
        f"{LITE}0#blocks@448",
        f"{LITE}0#blocks@224",
        f"{LITE}0#blocks@448.whole",
    )
    found = roles.find(store)
    # The toy manifests name no default tap, so the stored one counts as it.
    assert found.all == [f"{LITE}0@224", f"{LITE}0@224+448", f"{LITE}1@224", f"{LITE}2@224"]
    assert roles.find(store).s2 == f"{LITE}0@224+448"


def test_without_a_third_model_there_is_no_middle(make_store):
    found = roles.find(
        stored(make_store, *(f"{LITE}{n}#blocks@{s}" for n, s in ((0, 224), (0, 1120), (1, 224))))
    )
    assert found.middle is None
    assert found.all == [f"{LITE}0@224", f"{LITE}0@224+1120", f"{LITE}1@224"]


def test_refusals_say_what_to_extract(make_store, tmp_path):
    store = stored(make_store, f"{LITE}1#blocks@224", f"{LITE}2#blocks@224")
    with pytest.raises(InputError, match="no model at two or more scales.*--scales 1x 2x"):
        roles.find(store)


def test_a_larger_model_is_needed(make_store):
    store = stored(make_store, f"{LITE}1#blocks@224", f"{LITE}1#blocks@448", f"{LITE}0#blocks@224")
    with pytest.raises(InputError, match="no model larger than bundled:efficientnet_lite1"):
        roles.find(store)
