"""Read the answers of evaluated runs back from tables of ``workbench vlm eval --out``, or JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analyses.experiments.multimodal import seen_pixels
from feature_store.errors import InputError
from workbench.results import strict_json
from workbench.training.files import IDENTITY
from workbench.vlm.questions import Question

_SIZE = re.compile(r"\b(\d+)$")


@dataclass(frozen=True)
class Answers:
    """Answers of one run, in the order of the questions."""

    answers: list[str]
    scores: np.ndarray
    """(question,) float."""
    source: str
    """Source of the vision tokens; empty if it is not recorded."""


def read(path: Path, questions: Sequence[Question], option: str) -> Answers:
    """Answers to these questions; `option` names the file in messages.

    The file is one of ``workbench vlm eval --out``, whose source is that of the run in its folder;
    or a JSON result of ``scripts/experiments/multimodal.py``.

    Raises
    ------
    InputError
        The file has another form, or answers other questions.
    """
    try:
        if path.suffix == ".json":
            found = strict_json.read(path)
            answers, scores = list(map(str, found["answers"])), np.array(found["scores"], float)
            source, same = str(found["source"]), len(scores) == len(answers) == len(questions)
        else:
            table = pd.read_csv(path, keep_default_na=False)
            answers, scores = table["answer"].astype(str).tolist(), table["score"].to_numpy(float)
            asked = zip(table["image"].astype(str), table["question"], strict=True)
            same = list(asked) == [(one.image, one.question) for one in questions]
            run = path.parent / IDENTITY
            source = strict_json.read(run)["identity"].get("source", "") if run.exists() else ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{option} {path} holds no answers of `workbench vlm eval --out`: {error}"
        ) from error
    if not same:
        raise InputError(
            f"{option} {path} answers {len(scores)} questions; expected these {len(questions)} in "
            f"this order: evaluate both runs on one file"
        )
    return Answers(answers, scores, source)


def by_size(
    questions: Sequence[Question], found: Mapping[str, Answers], side: int | None
) -> pd.DataFrame:
    """Number of right answers by object size: the pixels that end a type, such as ``colour 64``.

    `side` is the longer side of the pictures in pixels, if known.

    Returns
    -------
    pandas.DataFrame
        ``name``, ``size``, ``seen``, ``questions``, ``right``; empty if no type ends in a number.
    """
    matches = [_SIZE.search(question.type) for question in questions]
    sizes = np.array([int(match[1]) if match else 0 for match in matches])
    rows = [
        {
            "name": name,
            "size": size,
            "seen": seen_pixels(one.source, size, side) if one.source and side else np.nan,
            "questions": int((sizes == size).sum()),
            "right": float(one.scores[sizes == size].sum()),
        }
        for name, one in found.items()
        for size in sorted(set(sizes.tolist()) - {0})
    ]
    return pd.DataFrame(rows)


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
