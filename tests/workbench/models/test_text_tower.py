"""Texts of random towers have unit length; class names become words."""

from __future__ import annotations

import numpy as np
import pytest

from feature_store import InputError
from workbench.models.text_tower import class_vectors, readable

MODEL = "random:open_clip:ViT-S-32:64"


def test_vectors_of_classes_are_of_unit_length_and_repeatable():
    found = class_vectors(MODEL, ["a cat", "golden_retriever"])
    assert found.shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    assert found[0] @ found[1] < 0.9999
    np.testing.assert_array_equal(found[:1], class_vectors(MODEL, ["a cat"]))


def test_synset_numbers_stand_in_openai_s_prompts():
    words, prompts = readable(["n01440764", "n15075141"])
    assert words == ["tench", "toilet paper"]
    assert len(prompts) == 80
    words, prompts = readable(["n01440764", "tree_house"])
    assert words == ["n01440764", "tree house"]
    assert len(prompts) == 7


def test_other_families_have_no_texts():
    with pytest.raises(InputError, match="timm:vit_base_patch16_224 has no text tower"):
        class_vectors("timm:vit_base_patch16_224", ["a"])
