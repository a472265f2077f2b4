"""Write the answers of evaluated runs with a record of their origin, and read them back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analyses.experiments.multimodal import seen_pixels
from analyses.reading.csv_cells import restored
from feature_store import FeatureStore
from feature_store.errors import InputError
from workbench.datasets.pictures import Reader, recorded_transform
from workbench.results import strict_json
from workbench.results.files import write_csv
from workbench.vlm.question import Question
from workbench.vlm.questions import sha256

_SIZE = re.compile(r"\b(\d+)$")


@dataclass(frozen=True)
class Answers:
    """Answers of one run, in the order of the questions."""

    answers: list[str]
    scores: np.ndarray
    """(question,) float."""
    source: str
    """Source of the vision tokens."""
    scored: str = ""
    """As :func:`scored_by`; empty if it is not recorded."""


def write(
    questions: Sequence[Question],
    answers: Sequence[str],
    scores: np.ndarray,
    record: Mapping[str, Any],
    path: Path,
) -> None:
    """Write a CSV file with a row per question, and its record: FILE.csv.json beside FILE.csv.

    Parameters
    ----------
    scores : np.ndarray
        Float, dims (question,).
    record : mapping
        The result and where it comes from; it has at least ``score``, ``choices``, ``seed``,
        ``source`` and ``questions_sha256``.
    """
    rows = [(one.image, one.question, one.answer, one.type) for one in questions]
    table = pd.DataFrame(rows, columns=["image", "question", "expected", "type"])
    write_csv(table.assign(answer=answers, score=scores), path)
    strict_json.write({**record, "answers_sha256": _sha256(path)}, record_of(path))


def scored_by(record: Mapping[str, Any]) -> str:
    """How answers were scored, in words: those of one kind can be compared.

    Examples
    --------
    >>> scored_by({"score": "letter", "choices": "shuffled", "seed": 5})
    '--score letter, choices shuffled by --seed 5'
    """
    drawn = f" by --seed {record['seed']}" if record["choices"] == "shuffled" else ""
    return f"--score {record['score']}, choices {record['choices']}{drawn}"


def read(path: Path, questions: Sequence[Question], option: str, like: str = "") -> Answers:
    """Answers to these questions, to be compared with others.

    Parameters
    ----------
    path : Path
        A file of ``workbench vlm eval --out``, as :func:`write` leaves it; or a JSON result of
        ``scripts/experiments/multimodal.py``.
    option : str
        Names the file in messages.
    like : str
        How the others were scored, as :func:`scored_by`; empty if there are none.

    Raises
    ------
    InputError
        The file has another form, no record or another file's, answers other questions, was scored
        otherwise, or holds impossible scores.
    """
    try:
        reading = _of_result if path.suffix == ".json" else _of_table
        record, answers, scores = reading(path)
        source, scored = str(record["source"]), scored_by(record)
        same = record["questions_sha256"] == sha256(questions)
        same &= len(scores) == len(answers) == len(questions)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{option} {path} holds no answers of `workbench vlm eval --out`: {error}"
        ) from error
    if not ((scores >= 0) & (scores <= 1)).all():
        raise InputError(f"{option} {path} holds scores that are not numbers between 0 and 1")
    if not same:
        raise InputError(
            f"{option} {path} answers {len(scores)} questions; expected these {len(questions)} in "
            f"this order: evaluate both runs on one file"
        )
    if like not in ("", scored):
        raise InputError(
            f"{option} {path} has {scored}; expected {like}, as the answers that it is compared "
            f"with: evaluate one of the runs again"
        )
    return Answers(answers, scores, source, scored)


def _of_result(path: Path) -> tuple[dict[str, Any], list[str], np.ndarray]:
    """Record, answers and scores of a JSON result."""
    found = strict_json.read(path)
    return found, list(map(str, found["answers"])), np.array(found["scores"], float)


def _of_table(path: Path) -> tuple[dict[str, Any], list[str], np.ndarray]:
    """Record, answers and scores of a table."""
    table, beside = restored(pd.read_csv(path, dtype=str, na_filter=False)), record_of(path)
    if not beside.is_file():
        raise InputError(
            f"{beside.name}, which names their run, score and questions, is not beside it; "
            f"evaluate again, or copy both files"
        )
    record = strict_json.read(beside)
    if record["answers_sha256"] != _sha256(path):
        raise InputError(
            f"{beside.name} describes another file of this name; evaluate again, or copy both files"
        )
    return record, table["answer"].tolist(), table["score"].to_numpy(float)


def record_of(path: Path) -> Path:
    """Record of a table; no file of a run has its name."""
    return path.with_name(f"{path.name}.json")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def by_size(
    questions: Sequence[Question], found: Mapping[str, Answers], sides: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Number of right answers by kind of question and object size: a type such as ``colour 64``.

    `sides` maps a source to :func:`base_sides` of the questions' pictures.

    Returns
    -------
    pandas.DataFrame
        ``kind``, ``name``, ``size`` (pixels), ``seen`` (pixels at the largest scale, the mean over
        the questions whose picture is known), ``questions``, ``right``; empty if no type ends in a
        number.
    """
    sizes = object_sizes(questions)
    kinds = np.array([_SIZE.sub("", question.type).strip() for question in questions])
    asked = sorted(set(zip(kinds[sizes > 0].tolist(), sizes[sizes > 0].tolist(), strict=True)))
    rows = []
    for name, one in found.items():
        for kind, size in asked:
            chosen = (sizes == size) & (kinds == kind)
            seen = np.nan
            if one.source in sides:
                seen = _seen(one.source, size, sides[one.source][chosen])
            row = {"kind": kind, "name": name, "size": size, "seen": seen}
            row |= {"questions": int(chosen.sum()), "right": float(one.scores[chosen].sum())}
            rows.append(row)
    return pd.DataFrame(rows)


def object_sizes(questions: Sequence[Question]) -> np.ndarray:
    """Pixels that end the type of each question: int64, dims (question,); 0 if none do."""
    matches = [_SIZE.search(question.type) for question in questions]
    return np.array([int(match[1]) if match else 0 for match in matches], np.int64)


def picture_shapes(read: Reader, rows: np.ndarray) -> np.ndarray:
    """Rows and columns in pixels of the picture in each store row: float, dims (question, 2).

    NaN if `read` has no such picture.
    """
    known: dict[int, tuple[float, float]] = {}
    for row in np.unique(rows).tolist():
        picture = read(row)
        known[row] = (np.nan, np.nan) if picture is None else (picture.shape[0], picture.shape[1])
    return np.array([known[row] for row in rows.tolist()], float).reshape(-1, 2)


def base_sides(store: FeatureStore, source: str, shapes: np.ndarray) -> np.ndarray:
    """Pixels of each picture that one side of a source's base image shows: float, dims (question,).

    They are the longer side of a picture that was padded or squashed. A centre crop shows the
    shorter side, or less of it where the image was resized beyond the crop. NaN if the store does
    not tell how the source was made.

    Parameters
    ----------
    shapes : np.ndarray
        Float, dims (question, 2): as :func:`picture_shapes`.
    """
    try:
        transform = recorded_transform(store, source)
    except InputError:
        return np.full(len(shapes), np.nan)
    shown = shapes.min(1) if transform.mode == "centre" else shapes.max(1)
    return np.asarray(shown / transform.resize_ratio)


def examples(found: Mapping[str, Answers], images: np.ndarray, count: int) -> list[int]:
    """Questions for a gallery, each about another image, covering the outcomes of two runs in turn.

    Outcomes alternate: only the first run is right, only the second, both, neither. Within each
    outcome the order is that of the questions. `images`, int, dims (question,), is the image of
    each.
    """
    first, *others = (one.scores >= 0.5 for one in found.values())
    second = others[0] if others else first
    kinds = (first & ~second, second & ~first, first & second, ~first & ~second)
    waiting = [np.flatnonzero(kind).tolist() for kind in kinds]
    chosen: list[int] = []
    while any(waiting) and len(chosen) < count:
        for left in waiting:
            shown = set(images[chosen].tolist())
            fresh = next((n for n in left if images[n] not in shown), None)
            left[:] = [] if fresh is None else left[left.index(fresh) + 1 :]
            if fresh is not None and len(chosen) < count:
                chosen.append(fresh)
    return sorted(chosen)


def _seen(source: str, size: int, sides: np.ndarray) -> float:
    """Mean pixels of an object at the largest scale, over the pictures whose side is known."""
    known = sides[np.isfinite(sides)]
    return seen_pixels(source, size, 1) * float((1 / known).mean()) if len(known) else np.nan
