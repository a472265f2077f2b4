"""Scenes of small objects: what a picture shows is what its questions and captions say."""

from __future__ import annotations

import csv
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feature_store import InputError

SCRIPT = Path(__file__).parents[3] / "scripts/experiments/small_objects.py"


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        return runpy.run_path(str(SCRIPT))


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_answers_say_where_and_of_which_colour_the_shapes_are(script):
    two = {"shapes": ["circle", "cross"], "colours": ["red", "blue"], "size": 16,
           "places": [[900, 200], [300, 700]]}  # fmt: skip
    found = [
        (question, answer, kind) for _, question, answer, _, kind in script["asked_of"]("i", two)
    ]
    assert found == [
        ("What colour is the circle?", "red", "attribute 16"),
        ("What colour is the cross?", "blue", "attribute 16"),
        ("Is the circle left or right of the cross?", "right", "spatial 16"),
    ]
    assert script["caption"](two) == "a red circle right of a blue cross"
    one = {"shapes": ["circle"], "colours": ["red"], "size": 8, "places": [[300, 200]]}
    found = [
        (question, answer, kind) for _, question, answer, _, kind in script["asked_of"]("i", one)
    ]
    assert found == [
        ("What colour is the circle?", "red", "attribute 8"),
        ("Is the circle left or right of the middle?", "left", "spatial 8"),
    ]
    assert script["caption"](one) == "a red circle on the left"


@pytest.mark.parametrize("count", [1, 2])
def test_shapes_keep_apart_from_edges_from_each_other_and_from_the_middle(script, count):
    edge, side = script["EDGE"], script["SIDE"]
    for number, scene in enumerate(script["scenes"]("train", 200, (512, 8), count)):
        size = (512, 8)[number % 2]
        assert scene["size"] == size
        assert len(set(scene["colours"])) == len(set(scene["shapes"])) == count
        places, inside = np.array(scene["places"]), max(edge, size / 2)
        assert places.min() >= inside
        assert places.max() < side - inside
        other, apart = (places[1], max(edge, size)) if count == 2 else ((side // 2, -side), edge)
        assert (np.abs(places[0] - other) > apart).all()


def test_sizes_that_do_not_fit_are_refused(script, tmp_path):
    with pytest.raises(InputError, match=r"sizes \(64, 600\); expected sizes of 4 to 512 pixels"):
        script["render"](tmp_path, tmp_path / "out", {"train": 1}, (64, 600))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_photographs_are_refused_before_anything_is_written(script, tmp_path, count):
    if count:
        Image.new("RGB", (300, 300)).save(tmp_path / "0.jpg")
    with pytest.raises(InputError, match=f"{tmp_path} holds {count} JPEG files; expected at least"):
        script["render"](tmp_path, tmp_path / "out", {"train": 1, "test": 1}, (64,))
    assert not (tmp_path / "out").exists()


def test_pictures_show_their_shapes_over_photographs_of_their_own_part(script, tmp_path):
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for number in range(4):
        plain = np.full((300, 300, 3), 60 * number, np.uint8)
        Image.fromarray(plain).save(photographs / f"{number}.jpg", quality=100)
    out = tmp_path / "out"
    script["render"](photographs, out, {"train": 6, "test": 4}, (64, 32, 64), shapes=1)
    asked = rows(out / "train_questions.csv")
    assert [row["type"] for row in asked[::2]] == [
        f"attribute {size}" for size in (64, 32, 64, 64, 32, 64)
    ]
    assert [row["type"] for row in rows(out / "test_questions.csv")[::2]] == [
        f"attribute {size}" for size in (64, 32, 64, 32)
    ]
    for part, grounds in (("train", (0, 120)), ("test", (60, 180))):
        for row in rows(out / f"{part}.csv"):
            picture = np.asarray(Image.open(out / row["path"]).convert("RGB"), float)
            assert picture.shape == (script["SIDE"], script["SIDE"], 3)
            corner = picture[:20, :20].mean()
            assert min(abs(corner - ground) for ground in grounds) < 8, row
    colour = script["COLOURS"][asked[0]["answer"]]
    scene = script["scene"]("train", 0, (64, 32, 64), 1)
    (x, y), picture = scene["places"][0], np.asarray(Image.open(out / "train/00000.jpg"), float)
    assert np.abs(picture[y, x] - colour).max() < 25
    with pytest.raises(InputError, match="holds pictures of other sizes; name another folder"):
        script["render"](photographs, out, {"train": 1}, (64,), shapes=1)
