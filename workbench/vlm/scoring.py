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
from workbench.vlm.questions import Question

ARTICLES = ("a", "an", "the")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(number) for number, word in enumerate(WORDS)}


def normalised(answer: str) -> str:
    """An answer in lower case, without punctuation and articles, with small numbers as digits.

    Source: the evaluation of VQA (GT-Vision-Lab/VQA, ``vqaEval.py``); its table of contractions
    without apostrophes is left out.

    Examples
    --------
    >>> normalised("The two  Dogs.")
    '2 dogs'
    """
    text = re.sub(r"(?<=\d),(?=\d)", "", answer.lower())
    text = re.sub(rf"[{re.escape(string.punctuation.replace(chr(39), ''))}]", " ", text)
    words = [NUMBERS.get(word, word) for word in text.split()]
    return " ".join(word for word in words if word not in ARTICLES)


def exact(question: Question, answer: str) -> float:
    """1 if the normalised answer is the expected one, else 0."""
    expected = normalised(question.answer)
    if not expected:  # an article alone, such as the letter A
        return float(answer.strip().lower() == question.answer.strip().lower())
    return float(normalised(answer) == expected)


def vqa(question: Question, answer: str) -> float:
    """Soft accuracy: min(people with this answer / 3, 1), averaged over leaving one person out.

    With fewer than two people, as :func:`exact`.

    Source: Antol et al. (2015), "VQA: Visual Question Answering", and its evaluation code.
    """
    people = [normalised(one) for one in question.answers]
    if len(people) < 2:
        return exact(question, answer)
    same = np.array([one == normalised(answer) for one in people])
    return float(np.minimum((same.sum() - same) / 3, 1).mean())


def letter(answer: str, count: int) -> int | None:
    """Number of the option that an answer such as ``B`` or ``(b) the cat`` names; None if none."""
    found = re.match(r"\W*([A-Za-z])\b", answer)
    place = string.ascii_lowercase.find(found[1].lower()) if found else -1
    return place if 0 <= place < count else None


def order_of_options(question: Question, shuffle: bool, seed: int, number: int) -> list[int]:
    """Option numbers in the order of their listing; `shuffle` draws it by seed and question."""
    order = np.arange(len(question.choices))
    if shuffle:
        order = np.random.default_rng((11, seed, number)).permutation(order)
    return order.tolist()


def letter_prompt(question: Question, order: Sequence[int]) -> str:
    """The question with its options and LLaVA's request for a letter.

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
