"""A question's image is one image of the store, or the question is refused."""

from __future__ import annotations

import numpy as np
import pytest

from feature_store import InputError
from workbench.vlm.matching import other_images, rows_of
from workbench.vlm.questions import Question

IDS = ["a/1.jpg", "b/1.jpg", "c/2.jpg", "3.jpg", "x1.jpg"]


def asked(*images):
    return [Question(image=image, question="?", answer="!") for image in images]


def test_exact_id_then_trailing_path():
    found = rows_of(asked("b/1.jpg", "2.jpg", "./c/2.jpg", "coco/3.jpg", "a/1.jpg"), IDS, "s")
    assert found.tolist() == [1, 2, 2, 3, 0]


def test_a_hidden_folder_keeps_its_dot():
    ids = ["pics/.cache/a.jpg", "pics/cache/a.jpg", "b.jpg"]
    named = asked(".cache/a.jpg", "./.cache/a.jpg", "/pics/.cache/a.jpg", "../cache/a.jpg")
    assert rows_of(named, ids, "s").tolist() == [0, 0, 0, 1]
    with pytest.raises(InputError, match=r"not in s: \.cache/a\.jpg"):
        rows_of(asked(".cache/a.jpg"), ids[1:], "s")


@pytest.mark.parametrize(
    ("image", "message"),
    [("1.jpg", "match several images of s: 1.jpg"), ("9.jpg", "not in s: 9.jpg"), ("jpg", "jpg")],
)
def test_others_are_refused(image, message):
    with pytest.raises(InputError, match=message):
        rows_of(asked(image), IDS, "s")


def test_different_images_of_one_name_are_not_one_image():
    for images in (["a/3.jpg", "b/3.jpg"], ["b/3.jpg", "3.jpg", "a/3.jpg"]):
        with pytest.raises(InputError, match=r"3\.jpg matches .*b/3\.jpg"):
            rows_of(asked(*images), IDS, "s")
    spelled = asked("3.jpg", "./coco/3.jpg", "/data/coco/3.jpg", "data//coco/./3.jpg")
    assert rows_of(spelled, IDS, "s").tolist() == [3] * 4


def test_nobody_keeps_an_image():
    rows = np.array([5, 5, 2, 9, 9, 1])
    others = other_images(rows, 3)
    assert (others != rows).all()
    assert others[0] == others[1]
    assert sorted(set(others.tolist())) == [1, 2, 5, 9]


def test_one_image_alone_cannot_be_replaced():
    with pytest.raises(InputError, match="at least two images"):
        other_images(np.array([3, 3]), 0)
