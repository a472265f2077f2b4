"""Answers read from tables and from JSON; what a gallery shows of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from feature_store import InputError
from workbench.figures.answers import draw_gallery, draw_sizes
from workbench.models.transform import Transform
from workbench.vlm import answers as reading
from workbench.vlm.answers import (
    Answers,
    base_sides,
    by_size,
    examples,
    picture_shapes,
    read,
    scored_by,
    write,
)
from workbench.vlm.questions import Question, sha256

ASKED = [
    Question(image=f"{n}.jpg", question="colour?", answer="red", type=kind)
    for n, kind in enumerate(("colour 8", "colour 64", "side 64", "none"))
]


SCORES = [1.0, 0.0, 1.0, 1.0]


def record(asked, **changed):
    found = {"score": "exact", "choices": "as listed", "seed": 0, "source": "toy:a#b@8"}
    return {**found, "questions_sha256": sha256(asked), **changed}


def result(path, **changed):
    """A result of scripts/experiments/multimodal.py."""
    path.write_text(json.dumps(record(ASKED, answers=["red"] * 4, scores=SCORES) | changed))
    return path


@pytest.fixture
def table(tmp_path):
    write(ASKED, ["red"] * 4, np.array(SCORES), record(ASKED), tmp_path / "a.csv")
    return tmp_path / "a.csv"


def answers(*scores, source=""):
    return Answers(["red"] * len(scores), np.array(scores, float), source)


def test_a_table_and_a_result_hold_the_same_answers(table, tmp_path):
    other = [replace(question, type="other") for question in ASKED]
    for path in (table, result(tmp_path / "a.json")):
        found = read(path, ASKED, "--answers", scored_by(record(ASKED, seed=3)))
        assert found.answers == ["red"] * 4
        assert found.scores.tolist() == SCORES
        assert found.source == "toy:a#b@8"
        with pytest.raises(InputError, match=rf"--against .*{path.name} answers 4 .* these 3"):
            read(path, ASKED[1:], "--against")
        with pytest.raises(InputError, match=rf"{path.name} answers 4 questions; .* these 4"):
            read(path, other, "--against")


@pytest.mark.parametrize(
    "changed",
    [{"score": "likelihood"}, {"choices": "shuffled"}, {"choices": "shuffled", "seed": 1}],
)
def test_answers_that_were_scored_otherwise_are_refused(table, changed):
    like = scored_by(record(ASKED, **changed))
    with pytest.raises(InputError, match=r"--score exact, choices as listed; .*") as refused:
        read(table, ASKED, "--against", like)
    assert f"expected {like}," in str(refused.value)


def test_orders_of_choices_are_those_of_their_seed():
    shuffled = [scored_by(record(ASKED, choices="shuffled", seed=seed)) for seed in (0, 1)]
    assert shuffled[0] != shuffled[1]


def test_a_table_is_read_with_its_own_record_alone(table, tmp_path):
    moved = tmp_path / "moved" / "run.csv"
    moved.parent.mkdir()
    moved.write_bytes(table.read_bytes())
    (moved.parent / "run.json").write_text('{"identity": {"source": "toy:other#b@8"}}')
    with pytest.raises(InputError, match=r"--against .*run\.csv .*run\.csv\.json.* evaluate again"):
        read(moved, ASKED, "--against")
    beside = table.with_name("a.csv.json")
    (moved.parent / "run.csv.json").write_bytes(beside.read_bytes())
    assert read(moved, ASKED, "--against").source == "toy:a#b@8"
    moved.write_text(moved.read_text().replace("0.0", "1.0"))
    with pytest.raises(InputError, match=r"run\.csv\.json describes another file"):
        read(moved, ASKED, "--against")


def test_the_table_of_the_command_is_read_as_it_was_written(tmp_path):
    texts = ("=what?", "+1", "-x", "@home", "'=quoted", "NA", "", "nan", "01", "2.50", "a\r\nb")
    asked = [
        Question(image=f"{n:03d}", question=f"{text}?", answer="x") for n, text in enumerate(texts)
    ]
    write(asked, texts, np.zeros(len(texts)), record(asked), tmp_path / "a.csv")
    assert read(tmp_path / "a.csv", asked, "--against").answers == list(texts)


@pytest.mark.parametrize("changed", [{"scores": [s] * 4} for s in (None, 2, "yes")] + [{}])
def test_impossible_scores_and_other_files_are_refused(tmp_path, changed):
    path = result(tmp_path / "a.json", **changed)
    if not changed:
        path.write_text("{}")
    with pytest.raises(InputError, match=r"--answers .*a\.json"):
        read(path, ASKED, "--answers")


def test_right_answers_are_counted_by_size_and_as_seen():
    found = {"S2": answers(0, 1, 0.5, 1, source="toy:a#b@224+448.raw"), "x": answers(1, 1, 1, 1)}
    sides = {found["S2"].source: np.array([896, 896, 448, 10])}
    table = by_size(ASKED, found, sides)
    assert table["kind"].tolist() == ["colour", "colour", "side"] * 2
    assert table["size"].tolist() == [8, 64, 64] * 2
    assert table["questions"].tolist() == [1] * 6
    assert table["right"].tolist() == [0, 1, 0.5, 1, 1, 1]
    assert table["seen"].tolist()[:3] == [4, 32, 64]
    assert table["seen"].isna().tolist() == [False] * 3 + [True] * 3
    same = [replace(question, type="side 64") for question in ASKED]
    assert by_size(same, found, sides)["seen"][0] == pytest.approx((2 * 32 + 64 + 2867.2) / 4)
    assert by_size(ASKED[3:], {"x": answers(1)}, {}).empty
    unknown = {found["S2"].source: np.full(4, np.nan)}
    assert by_size(ASKED, found, unknown)["seen"].isna().all()


@pytest.mark.parametrize(("mode", "sides"), [("centre", [87.5, 175]), ("pad", [120, 400])])
def test_a_crop_shows_the_shorter_side_and_padding_the_longer(monkeypatch, mode, sides):
    whole = Transform(height=224, width=224, mode=mode, resize_ratio=1 if mode == "pad" else 8 / 7)
    monkeypatch.setattr(reading, "recorded_transform", lambda store, source: whole)
    pictures = {3: np.zeros((100, 120, 3)), 5: np.zeros((400, 200, 3)), 7: None}
    shapes = picture_shapes(pictures.get, np.array([3, 5, 7]))
    found = base_sides(None, "toy:a#b@224", shapes)
    assert found[:2].tolist() == sides
    assert np.isnan(found[2])


def test_a_gallery_shows_each_outcome_and_no_image_twice():
    found = {"S2": answers(1, 0, 1, 0, 1, 0), "single": answers(0, 1, 1, 0, 0, 0)}
    images = np.array([0, 1, 2, 3, 0, 4])
    assert examples(found, images, 3) == [0, 1, 2]
    assert examples(found, images, 9) == [0, 1, 2, 3, 5]
    assert examples({"S2": found["S2"]}, images, 2) == [0, 1]


def test_a_gallery_marks_what_is_right_and_takes_text_as_it_is():
    drawn = draw_gallery(
        [np.zeros((20, 30, 3), np.uint8), None],
        [("Which $x$?", "red"), ("Where?", "left")],
        {"S2": [("red", 1.0), ("$right$", 0.0)], "blind": [("blue", 0.0), ("left", 1.0)]},
    )
    said = [ax.texts[0].get_text().splitlines() for ax in drawn.axes]
    assert said == [["✓ S2: red", "✗ blind: blue"], ["✗ S2: $right$", "✓ blind: left"]]
    drawn.canvas.draw()


def test_sizes_are_drawn_for_each_kind_and_as_seen_where_that_is_known():
    known = dict.fromkeys(("questions",), 4) | {"size": 64, "right": 2.0}
    rows = [
        {"kind": "colour", "name": "S2", "seen": 32.0, **known},
        {"kind": "colour", "name": "old", "seen": np.nan, **known},
        {"kind": "side", "name": "late", "seen": 16.0, **known},
    ]
    drawn = draw_sizes(pd.DataFrame(rows))
    assert [len(ax.get_lines()) for ax in drawn.axes] == [2, 1, 1, 1]
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == ["S2", "old", "late"]
