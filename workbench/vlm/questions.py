"""Questions about images, read from common files: LLaVA, VQAv2, easy-VQA, tables, V*.

Importing this module does not import torch. An image is named as in the file;
:mod:`workbench.vlm.matching` finds its row in a store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from feature_store.errors import InputError
from workbench.results import strict_json
from workbench.results.messages import note
from workbench.vlm.question import Question
from workbench.vlm.question_json import of_folder, of_json
from workbench.vlm.question_tables import of_table


@dataclass(frozen=True, kw_only=True)
class QuestionOptions:
    """Questions that a command asks or trains on."""

    questions: tuple[Path, ...]
    """LLaVA's or easy-VQA's JSON; CSV or TSV with image, question, answer and perhaps choices
    (a|b|c) and type; VQAv2's two JSON files; or V*'s folder."""
    limit: int | None = None
    """Use only the first N questions."""

    def read(self) -> list[Question]:
        """As :func:`read`."""
        return read(self.questions, self.limit)


def read(
    paths: Sequence[Path], limit: int | None = None, log: Callable[[str], None] = note
) -> list[Question]:
    """The questions of one file or folder, or the first of them; VQAv2's annotations are a second.

    Files are ``.json`` (LLaVA's conversations, easy-VQA's questions, or VQAv2's questions and
    annotations), ``.csv`` (columns image or path, question, answer; choices, type), ``.tsv`` (also
    columns A, B, C, ...), or the folder of V*. `log` is told how many entries without an image, and
    which folders of V*, were left out.

    Raises
    ------
    InputError
        A missing file or an unknown form; a question without image, text or answer; an answer that
        is not among its choices; a second file that is not VQAv2's; a limit below 1.
    """
    if limit is not None and limit < 1:
        raise InputError(f"--limit is {limit}; expected at least 1")
    first = Path(paths[0])
    if first.is_dir():
        _require_one(paths)
        found = list(of_folder(first, log))
    elif first.suffix.lower() in (".csv", ".tsv"):
        _require_one(paths)
        found = list(of_table(first))
    elif first.suffix.lower() == ".json":
        found = list(of_json([Path(path) for path in paths], log))
    else:
        raise InputError(f"{first}: questions are .json, .csv or .tsv files, or the folder of V*")
    if not found:
        raise InputError(f"{first} contains no question")
    for number, question in enumerate(found, start=1):
        _check(f"{first}: question {number}", question)
    return found[:limit]


def sha256(questions: Iterable[Question]) -> str:
    """Hash of the questions in their order, independent of the form of their file."""
    digest = hashlib.sha256()
    for question in questions:
        digest.update(strict_json.dumps(asdict(question)).encode())
    return digest.hexdigest()


def _require_one(paths: Sequence[Path]) -> None:
    if len(paths) > 1:
        raise InputError(
            f"{paths[0]} is followed by {paths[1]}; expected one file or folder (VQAv2 alone has "
            f"two, questions and annotations): join the tables"
        )


def _check(where: str, question: Question) -> None:
    for name in ("image", "question", "answer"):
        if not getattr(question, name).strip():
            raise InputError(f"{where} has no {name}; complete it or remove it")
    if not all(choice.strip() for choice in question.choices):
        raise InputError(f"{where} has an empty choice; complete it or remove it")
    if question.choices and question.answer not in question.choices:
        listed = ", ".join(map(repr, question.choices))
        raise InputError(
            f"{where}: the answer {question.answer!r} is not among the choices {listed}"
        )
