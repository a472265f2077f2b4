"""Scores of answers (choices, exact matches, the soft accuracy of VQA) and their intervals."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from analyses.statistics.bootstrap import wilson
from analyses.statistics.trials import mcnemar
from feature_store.errors import InputError
from workbench.vlm.question import Question

LETTERS = len(string.ascii_uppercase)
ARTICLES = ("a", "an", "the")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(number) for number, word in enumerate(WORDS)} | {"none": "0"}
_KEPT = r"(?<!\w)-(?=\.?\d)|(?<![^\W\d])\.(?=\d)|(?<=[a-z])\++(?!\w)"
"""Minus and decimal point of a number, and pluses that end a word."""
_IN_NUMBER = re.compile(r"(?<=\d),(?=\d)")
_PUNCTUATION = re.compile(f"({_KEPT})|[{re.escape(string.punctuation.replace(chr(39), ''))}]")
_BEGINS = re.compile(r"\W*([A-Za-z])\s*(?:$|[):]|\.(?!\w))")
_ANSWER_IS = re.compile(
    r"(?i:\banswer(?:\s+is)?\s*:?\s*(?:(?:option|choice|letter)\s+)?)"
    r"(?:([A-Z])\b|([a-z])(?=\s*$|[.,;:!]))|(?<!\w)\(([A-Za-z])\)"
)
_ALONE = re.compile(r"(?<![\w'’])([A-Z])(?![\w'’])")
_ARTICLE = re.compile(r"(?:^|[.!?]\s+)A(?=\s+\w)")
_PRONOUN = re.compile(r"\bI(?=\s+[a-z])")


def normalised(answer: str) -> str:
    """An answer in lower case, without punctuation and articles, with digits for number words.

    Number words are zero to ten, and none. Apostrophes stay, as do a number's minus and decimal
    point and the pluses that end a word (C++).

    Source: the evaluation of VQA (GT-Vision-Lab/VQA, ``vqaEval.py``), which keeps the point between
    digits; minus and pluses are kept here alone, and its table of contractions without apostrophes
    is left out.

    Examples
    --------
    >>> normalised("The two  Dogs.")
    '2 dogs'
    >>> normalised("-1.50 (C++)")
    '-1.50 c++'
    """
    text = _IN_NUMBER.sub("", answer.lower())
    text = _PUNCTUATION.sub(lambda mark: mark[1] or " ", text)
    words = [NUMBERS.get(word, word) for word in text.split()]
    return " ".join(word for word in words if word not in ARTICLES)


def exact(question: Question, answer: str) -> float:
    """1 if the normalised answer is the expected one, else 0.

    An answer of several things, joined by commas, is the same in any order, each thing normalised
    by itself; their numbers must agree.

    Examples
    --------
    >>> asked = Question(image="i", question="What is there?", answer="clock, paper")
    >>> [exact(asked, answer) for answer in ("Paper, a clock", "paper", "paper, paper")]
    [1.0, 0.0, 0.0]
    """
    expected = normalised(question.answer)
    same = bool(expected) and normalised(answer) == expected
    return float(same or _things(answer) == _things(question.answer))


def _things(answer: str) -> list[str]:
    """The things that commas join, normalised and sorted; an article alone, as the letter A, stays.

    A comma between digits is part of a number.
    """
    parts = _IN_NUMBER.sub("", answer).split(",")
    return sorted(normalised(one) or one.strip().lower() for one in parts if one.strip())


def vqa(question: Question, answer: str) -> float:
    """Soft accuracy: min(people with this answer / 3, 1), averaged over leaving one person out.

    The question has the answers of at least two people.

    Source: Antol et al. (2015), "VQA: Visual Question Answering", and its evaluation code.
    """
    people = [normalised(one) for one in question.answers]
    same = np.array([one == normalised(answer) for one in people])
    return float(np.minimum((same.sum() - same) / 3, 1).mean())


def require_scorable(questions: Sequence[Question], score: str) -> None:
    """Refuse (InputError) questions without what a score of ``--score`` needs.

    They are at least two choices for likelihood and letter, at most :data:`LETTERS` of them for
    letter, and at least two people's answers for vqa.
    """
    lacking = [n for n, one in enumerate(questions, start=1) if len(one.choices) < 2]
    if score in ("likelihood", "letter") and lacking:
        raise InputError(
            f"--score {score} compares choices, and question {lacking[0]} has fewer than two "
            f"({len(lacking)} in all); give them in a column choices or in columns A, B, ..., or "
            f"use --score exact"
        )
    most = max(range(len(questions)), key=lambda n: len(questions[n].choices))
    if score == "letter" and len(questions[most].choices) > LETTERS:
        raise InputError(
            f"question {most + 1} has {len(questions[most].choices)} choices; --score letter takes "
            f"at most {LETTERS}: use --score likelihood"
        )
    lacking = [n for n, one in enumerate(questions, start=1) if len(one.answers) < 2]
    if score == "vqa" and lacking:
        raise InputError(
            f"--score vqa compares with several people's answers, and question {lacking[0]} has "
            f"fewer than two ({len(lacking)} in all); give VQAv2's questions and annotations, or "
            f"use --score exact"
        )


def letter(answer: str, count: int) -> int | None:
    """Number of the option among the first `count` letters that an answer names; None if none.

    The first of these rules that finds the letter of an option decides:

    1. the answer begins with a letter that its end, a full stop, a bracket or a colon follows:
       ``B``, ``(b) the cat``, ``b. the cat``;
    2. the first ``answer is B``, ``Answer: b`` or ``(B)``;
    3. the last capital letter that stands alone, except the article that begins a sentence and the
       pronoun I: ``A red car, so B`` names B.

    Examples
    --------
    >>> [letter(said, 4) for said in ("(b) a cat", "The answer is C", "A red car, so B", "A cat")]
    [1, 2, 1, None]
    """
    begins = _BEGINS.match(answer)
    named = [next(filter(None, found)) for found in _ANSWER_IS.findall(answer)]
    alone = _ALONE.findall(_PRONOUN.sub(" ", _ARTICLE.sub(" ", answer)))
    for mark in ([begins[1]] if begins else []) + named + alone[::-1]:
        place = string.ascii_lowercase.find(mark.lower())
        if place < count:
            return place
    return None


def order_of_options(question: Question, shuffle: bool, seed: int, number: int) -> list[int]:
    """Option numbers in the order of their listing; `shuffle` draws it by seed and question."""
    order = np.arange(len(question.choices))
    if shuffle:
        order = np.random.default_rng((11, seed, number)).permutation(order)
    return order.tolist()


def letter_prompt(question: Question, order: Sequence[int]) -> str:
    """The question with its options, at most :data:`LETTERS`, and LLaVA's request for a letter.

    Source: haotian-liu/LLaVA, ``model_vqa_mmbench.py``.
    """
    lines = [
        f"{mark}. {question.choices[k]}"
        for mark, k in zip(string.ascii_uppercase, order, strict=False)
    ]
    request = "Answer with the option's letter from the given choices directly."
    return "\n".join([question.question, *lines, request])


def summary(questions: Sequence[Question], scores: np.ndarray) -> dict[str, Any]:
    """Mean score with Wilson's interval, over all questions and by type.

    Soft scores are treated like hits and misses with the same mean. Their variance is lower, so the
    interval is wide enough.
    """
    types = sorted({question.type for question in questions} - {""})
    kind = np.array([question.type for question in questions])
    return _of(scores) | {"by_type": {name: _of(scores[kind == name]) for name in types}}


def paired(a: np.ndarray, b: np.ndarray, rows: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Mean of a - b over the same questions, with a 95 % interval over resampled images.

    `a` and `b` are scores of the same questions in the same order, float, dims (question,); `rows`,
    int, dims (question,), is the image of each: questions of one image are resampled together.

    Returns
    -------
    dict
        ``difference``, ``low``, ``high``; ``only_a``, ``only_b`` (numbers of questions on which one
        scores higher), and McNemar's exact two-sided ``p`` of these two numbers.
    """
    if len(a) != len(b):
        raise InputError(
            f"{len(a)} and {len(b)} questions cannot be paired; expected equal numbers"
        )
    _, image = np.unique(rows, return_inverse=True)
    sums = np.bincount(image, weights=a - b)
    counts = np.bincount(image)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=2000)
    low, high = np.quantile((drawn @ sums) / (drawn @ counts), [0.025, 0.975])
    only_a, only_b = int((a > b).sum()), int((b > a).sum())
    return {
        "difference": float((a - b).mean()), "low": float(low), "high": float(high),
        "only_a": only_a, "only_b": only_b, "p": mcnemar(a > b, b > a),
    }  # fmt: skip


def _of(scores: np.ndarray) -> dict[str, Any]:
    low, high = wilson(float(scores.sum()), len(scores))  # type: ignore[arg-type]
    return {"questions": len(scores), "accuracy": float(scores.mean()), "low": low, "high": high}
