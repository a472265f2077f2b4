"""Scores by hand."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.statistics.bootstrap import wilson
from feature_store import InputError
from workbench.vlm import scoring
from workbench.vlm.questions import Question


def asked(answer="x", **more):
    return Question(image="i", question="Which?", answer=answer, **more)


def test_soft_accuracy_of_ten_people():
    """Two of ten said "two": of the ten groups of nine, eight hold both, two hold one."""
    question = asked("two", answers=("2", "two", *["three"] * 8))
    assert scoring.vqa(question, "The 2") == pytest.approx((8 * 2 / 3 + 2 * 1 / 3) / 10)
    assert scoring.vqa(question, "three") == 1
    assert scoring.vqa(question, "four") == 0


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ("B", 1),
        ("b.", 1),
        ("(A) the cat", 0),
        ("C: no", 2),
        ("D", None),
        ("Because", None),
        ("", None),
        ("A red car, so B", 1),
        ("The answer is B", 1),
        ("The answer is c.", 2),
        ("The answer is B because A is red", 1),
        ("The correct answer is option C, not A", 2),
        ("It is (b), a cat", 1),
        ("**A**", 0),
        ("A cat", None),
        ("It moves. A cat, then.", None),
        ("the answer is a cat", None),
    ],
)
def test_letters(said, option):
    assert scoring.letter(said, 3) == option


def test_the_pronoun_is_not_the_ninth_letter():
    assert scoring.letter("B, I think", 10) == 1
    assert scoring.letter("I.", 10) == 8


@pytest.mark.parametrize(
    ("said", "normal"),
    [
        ("-1", "-1"), ("x-1", "x 1"), ("5-6", "5 6"), ("1.5", "1.5"), (".5!", ".5"), ("3.", "3"),
        ("1,000.50", "1000.50"), ("C++.", "c++"), ("a+b", "b"), ("Ten dogs", "10 dogs"),
    ],
)  # fmt: skip
def test_numbers_keep_their_sign_and_point(said, normal):
    assert scoring.normalised(said) == normal


@pytest.mark.parametrize(
    ("said", "expected", "right"),
    [
        ("clock, paper", "paper, clock", 1),
        ("The Clock,two papers.", "2 papers, clock", 1),
        ("paper", "paper, clock", 0),
        ("paper, clock, lamp", "paper, clock", 0),
        ("paper, paper", "paper, clock", 0),
        ("clock paper", "clock, paper", 1),
        ("1,000", "1000", 1),
        ("000,1", "1000", 0),
        ("yes, it is", "yes it is", 1),
        ("A", "a", 1),
        ("the", "a", 0),
        ("B, A", "A, B", 1),
    ],
)
def test_things_joined_by_commas_count_in_any_order(said, expected, right):
    assert scoring.exact(asked(expected), said) == right


@pytest.mark.parametrize(
    ("score", "question", "message"),
    [
        ("likelihood", asked(choices=("x",)), r"--score likelihood .*question 2 .*--score exact"),
        ("letter", asked(), r"--score letter .*question 2 .*--score exact"),
        (
            "letter",
            asked(choices=tuple("abcdefghijklmnopqrstuvwxyz0")),
            "question 2 has 27 choices",
        ),
        ("vqa", asked(answers=("x",)), r"--score vqa .*question 2 .*--score exact"),
    ],
)
def test_questions_have_what_their_score_needs(score, question, message):
    good = asked(choices=("x", "y"), answers=("x", "y"))
    scoring.require_scorable([good, good], score)
    with pytest.raises(InputError, match=message):
        scoring.require_scorable([good, question], score)


def test_options_are_listed_in_a_recorded_order():
    question = asked("x", choices=("x", "y", "z", "w"))
    assert scoring.order_of_options(question, False, 0, 0) == [0, 1, 2, 3]
    orders = {tuple(scoring.order_of_options(question, True, 0, n)) for n in range(20)}
    assert len(orders) > 5
    prompt = scoring.letter_prompt(question, [2, 0, 1, 3])
    assert prompt.splitlines()[1:3] == ["A. z", "B. x"]


def test_scores_by_type_with_wilson_s_interval():
    questions = [asked(type="a"), asked(type="a"), asked(type="b")]
    found = scoring.summary(questions, np.array([1.0, 0.0, 1.0]))
    assert (found["questions"], found["accuracy"]) == (3, pytest.approx(2 / 3))
    assert (found["low"], found["high"]) == wilson(2, 3)
    assert found["by_type"]["a"]["accuracy"] == 0.5
    assert found["by_type"]["b"]["questions"] == 1


def test_paired_differences_resample_images():
    a = np.array([1.0, 1, 1, 1, 0, 0, 0, 0])
    b = np.array([0.0, 0, 0, 1, 0, 0, 0, 1])
    found = scoring.paired(a, b, np.arange(8))
    assert (found["difference"], found["only_a"], found["only_b"]) == (0.25, 3, 1)
    assert found["p"] == pytest.approx(0.625)  # binomial: 2 * (1 + 4) / 16
    assert found["low"] < 0.25 < found["high"]
    same = scoring.paired(a, b, np.zeros(8, int))
    assert same["low"] == same["high"] == 0.25
