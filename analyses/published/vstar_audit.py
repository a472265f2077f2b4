"""What the V* columns of Tables 1 and 8 can say: whole numbers of questions, and their chance.

V* has 115 attribute and 76 spatial questions, so that every printed percentage is k / 115 or
k / 76, and a difference of two rows is a difference of two counts. The papers print no interval.

Rows answer the same questions, so their difference d = k1 - k2 has McNemar's test: of the questions
that one row alone answers, b and c with b - c = d, are b and c alike? The papers do not print b and
c; between the fewest (c = 0) and the most possible, p lies in an interval. Fisher's test, for rows
that answer different questions, is between.

Source: Wu and Xie (2024), "V*: Guided Visual Search as a Core Mechanism in Multimodal LLMs"; the
overall score is the mean over all 191 questions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from analyses.statistics.bootstrap import wilson
from analyses.statistics.trials import fisher, sign_test
from feature_store.errors import InputError

QUESTIONS = {"vstar_att": 115, "vstar_spa": 76}
"""Column to its number of questions."""
PAIRS = (
    ("1", "LLaVA-1.5-7B-S2", "LLaVA-1.5-7B"),
    ("1", "LLaVA-1.5-13B-S2", "LLaVA-1.5-13B"),
    ("1", "LLaVA-1.5-7B-S2", "GPT-4V"),
    ("1", "LLaVA-1.5-13B-S2", "GPT-4V"),
    ("1", "LLaVA-1.5-7B-S2", "Gemini Pro"),
    ("1", "LLaVA-1.5-13B-S2", "Gemini Pro"),
    ("1", "LLaVA-1.5-7B-S2", "InstructBLIP-7B"),
    ("1", "LLaVA-1.5-13B-S2", "InstructBLIP-7B"),
    ("8", "Large 224+448", "Large 224"),
    ("8", "Large 224+448+672", "Large 224"),
    ("8", "Large 224+448", "Huge 224"),
    ("8", "Large 224+448", "big-G 224"),
    ("8", "Large 224+448+672", "Huge 224"),
    ("8", "Large 224+448+672", "big-G 224"),
)
"""Table, row and the row it is compared with: S2 against one scale, and against other models."""


def cells() -> pd.DataFrame:
    """Every printed V* score as a count with its interval.

    Returns
    -------
    DataFrame
        ``table``, ``row``, ``column`` (``overall``: both together), ``printed`` (percent; NaN for
        overall), ``right``, ``questions``, ``low``, ``high`` (Wilson, 95 %, percent).

    Raises
    ------
    InputError
        A printed score that no count, or more than one, rounds to.
    """
    records = []
    for table, row, scores in _rows():
        counts = {column: _count(value, QUESTIONS[column]) for column, value in scores.items()}
        for column, right in counts.items():
            records.append(_record(table, row, column, scores[column], right, QUESTIONS[column]))
        if len(counts) == len(QUESTIONS):
            both = sum(counts.values()), sum(QUESTIONS.values())
            records.append(_record(table, row, "overall", float("nan"), *both))
    return pd.DataFrame(records)


def differences() -> pd.DataFrame:
    """The comparisons of :data:`PAIRS`, each with what chance allows.

    Returns
    -------
    DataFrame
        ``table``, ``row``, ``against``, ``column``, ``difference`` (questions), ``percent``,
        ``fisher`` (two-sided p as if the questions differed), ``mcnemar_low``, ``mcnemar_high``
        (least and largest two-sided p that the counts allow).
    """
    found = cells().set_index(["table", "row", "column"])
    right = {name: int(count) for name, count in found["right"].items()}
    records = []
    for table, row, other in PAIRS:
        for column in (*QUESTIONS, "overall"):
            a, b = (found.loc[(table, name, column)] for name in (row, other))
            counts = [
                (right[table, row, part], right[table, other, part], QUESTIONS[part])
                for part in (QUESTIONS if column == "overall" else [column])
            ]
            records.append({
                "table": table, "row": row, "against": other, "column": column,
                "difference": int(a["right"] - b["right"]),
                "percent": 100 * (a["right"] - b["right"]) / a["questions"],
                **chance(*counts),
            })  # fmt: skip
    return pd.DataFrame(records)


def chance(*parts: tuple[int, int, int]) -> dict[str, float]:
    """Two-sided p of two rows over the same questions, as far as counts alone tell.

    Each part, such as a type of question, has the right answers of one row, those of the other, and
    the number of its questions.

    Examples
    --------
    >>> {name: round(p, 3) for name, p in chance((59, 50, 115)).items()}
    {'fisher': 0.291, 'mcnemar_low': 0.004, 'mcnemar_high': 0.444}
    """
    ahead = sum(max(one - other, 0) for one, other, _ in parts)
    behind = sum(max(other - one, 0) for one, other, _ in parts)
    # Right and wrong answers that may be swapped between the rows without changing a count.
    swapped = sum(min(one, other, n - one, n - other) for one, other, n in parts)
    first, second, questions = (sum(column) for column in zip(*parts, strict=True))
    return {
        "fisher": fisher((first, questions), (second, questions)),
        "mcnemar_low": sign_test(ahead, behind),
        "mcnemar_high": sign_test(ahead + swapped, behind + swapped),
    }


def _rows() -> list[tuple[str, str, dict[str, float]]]:
    """Table, row and its printed V* scores."""
    here = Path(__file__)
    first = pd.read_csv(here.with_name("s2_table01_mllm_sota.csv"))
    eighth = pd.read_csv(here.with_name("s2_table08_vqa.csv"))
    named = [("1", row["model"], row) for _, row in first.iterrows()]
    named += [("8", f"{row['size']} {row['scales']}", row) for _, row in eighth.iterrows()]
    return [
        (table, name, {c: float(row[c]) for c in QUESTIONS if not np.isnan(row[c])})
        for table, name, row in named
    ]


def _count(percent: float, questions: int) -> int:
    found = [k for k in range(questions + 1) if abs(100 * k / questions - percent) <= 0.05 + 1e-9]
    if len(found) != 1:
        raise InputError(f"{percent} % is {len(found)} counts of {questions}; expected one")
    return found[0]


def _record(
    table: str, row: str, column: str, printed: float, right: int, questions: int
) -> dict[str, object]:
    low, high = wilson(right, questions)
    return {
        "table": table, "row": row, "column": column, "printed": printed, "right": right,
        "questions": questions, "low": 100 * low, "high": 100 * high,
    }  # fmt: skip
