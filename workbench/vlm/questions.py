"""Questions about images, read from common files: LLaVA, VQAv2, easy-VQA, tables, V*.

Importing this module does not import torch. An image is named as in the file;
:mod:`workbench.vlm.matching` finds its row in a store.
"""

from __future__ import annotations

import csv
import hashlib
import io
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from feature_store.errors import InputError
from feature_store.regular_file import read_regular
from workbench.results import strict_json

IMAGE_MARK = "<image>"
SEPARATOR = "|"
"""Separates the choices in a table's cell."""
EASY_VQA = {
    "yes or no": ("yes", "no"),
    "shape": ("circle", "rectangle", "triangle"),
    "colour": ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow"),
}
"""Kind of question in easy-VQA to its answers."""
_ENDS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about an image, with its right answer."""

    image: str
    """Name of the image in the file."""
    question: str
    answer: str
    """The answer to train on, and to compare an exact match with."""
    choices: tuple[str, ...] = ()
    """Options of a multiple choice, in the order of the file; `answer` is one of them."""
    answers: tuple[str, ...] = ()
    """Answers of several people, for the soft accuracy of VQA."""
    type: str = ""
    """Kind of question, for scores by kind; empty if the file names none."""
    conversation: str = ""
    """Conversation that the question belongs to; empty if the file has no conversations."""


def read(paths: Sequence[Path], limit: int | None = None) -> list[Question]:
    """The questions of one file or folder, or the first of them; VQAv2's annotations are a second.

    Files are ``.json`` (LLaVA's conversations, easy-VQA's questions, or VQAv2's questions and
    annotations), ``.csv`` (columns image or path, question, answer; choices, type), ``.tsv`` (also
    columns A, B, C, ...), or the folder of V*.

    Raises
    ------
    InputError
        A missing file or an unknown form; a question without image, text or answer; an answer that
        is not among its choices.
    """
    first = Path(paths[0])
    if first.is_dir():
        found = list(_vstar(first))
    elif first.suffix.lower() in (".csv", ".tsv"):
        found = list(_table(first))
    elif first.suffix.lower() == ".json":
        found = list(_json([Path(path) for path in paths]))
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


def _table(path: Path) -> Iterator[Question]:
    tabs = path.suffix.lower() == ".tsv"
    try:
        text = io.StringIO(read_regular(path).decode("utf-8-sig"), newline="")
        rows = list(csv.DictReader(text, delimiter="\t" if tabs else ",", strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path} as a UTF-8 table: {error}") from None
    columns = [name.lower() for name in rows[0] if name] if rows else []
    image = next((name for name in ("image", "image_path", "path") if name in columns), "image")
    if missing := [name for name in (image, "question", "answer") if rows and name not in columns]:
        raise InputError(
            f"{path} has the columns {columns}; it needs image (or path), question and answer, and "
            f"lacks {', '.join(missing)}"
        )
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(f"{path}: line {number} has more or fewer cells than columns")
        yield _row({name.lower(): cell for name, cell in row.items()}, image)


def _row(row: dict[str, str], image: str) -> Question:
    letters = [name for name in string.ascii_lowercase if row.get(name, "").strip()]
    choices = [row[name] for name in letters]
    if row.get("choices"):
        choices = [part.strip() for part in row["choices"].split(SEPARATOR)]
    answer = row["answer"]
    if letters and answer.lower() in letters and answer not in choices:
        answer = row[answer.lower()]
    hint = row.get("hint", "").strip()
    return Question(
        image=row[image],
        question=f"{hint}\n{row['question']}" if hint else row["question"],
        answer=answer,
        choices=tuple(choices),
        type=row.get("type") or row.get("category") or "",
    )


def _json(paths: list[Path]) -> Iterator[Question]:
    contents = [strict_json.read(path) for path in paths]
    if isinstance(contents[0], list):
        triples = contents[0] and isinstance(contents[0][0], list)
        yield from (_easy_vqa if triples else _llava)(paths[0], contents[0])
    else:
        merged: dict[str, Any] = {}
        for content in contents:
            merged |= content
        yield from _vqa(paths[0], merged)


def _llava(path: Path, entries: list[dict[str, Any]]) -> Iterator[Question]:
    for number, entry in enumerate(entries, start=1):
        where = f"{path}: entry {number}"
        turns = entry.get("conversations")
        if not isinstance(turns, list) or len(turns) % 2:
            raise InputError(f"{where}: 'conversations' is not a list of pairs of turns")
        if not entry.get("image"):
            raise InputError(
                f"{where} (id {entry.get('id')}) has no image; remove text-only entries"
            )
        for human, answer in zip(turns[::2], turns[1::2], strict=True):
            if (human.get("from"), answer.get("from")) != ("human", "gpt"):
                raise InputError(f"{where}: turns must alternate between human and gpt")
            yield Question(
                image=entry["image"],
                question=human["value"].replace(IMAGE_MARK, "").strip(),
                answer=answer["value"],
                conversation=str(number),
            )


def _easy_vqa(path: Path, entries: list[list[Any]]) -> Iterator[Question]:
    """easy-VQA: question, answer, number of the image; every answer of a kind is a choice.

    Source: the package ``easy-vqa``, its ``data/train/questions.json``.
    """
    kinds = {answer: kind for kind, choices in EASY_VQA.items() for answer in choices}
    for number, entry in enumerate(entries, start=1):
        if len(entry) != 3 or entry[1] not in kinds:
            raise InputError(
                f"{path}: entry {number} is {entry}; expected a question, one of easy-VQA's "
                f"answers ({', '.join(kinds)}), and the number of an image"
            )
        question, answer, image = entry
        kind = kinds[answer]
        yield Question(
            image=f"images/{image}.png", question=question, answer=answer, type=kind,
            choices=EASY_VQA[kind],
        )  # fmt: skip


def _vqa(path: Path, content: dict[str, Any]) -> Iterator[Question]:
    if missing := [name for name in ("questions", "annotations") if name not in content]:
        raise InputError(
            f"{path} has no {' and no '.join(map(repr, missing))}; name both files of VQAv2: "
            f"--questions QUESTIONS.json ANNOTATIONS.json"
        )
    annotations = {one["question_id"]: one for one in content["annotations"]}
    subtype = content.get("data_subtype")
    for one in content["questions"]:
        truth = annotations.get(one["question_id"])
        if truth is None:
            raise InputError(f"{path}: question {one['question_id']} has no annotation")
        image = one.get("image")
        if image is None:
            image = f"COCO_{subtype}_{one['image_id']:012d}.jpg" if subtype else one["image_id"]
        answers = tuple(a["answer"] if isinstance(a, dict) else a for a in truth["answers"])
        yield Question(
            image=str(image),
            question=one["question"],
            answer=truth.get("multiple_choice_answer") or max(answers, key=answers.count),
            answers=answers,
            type=truth.get("answer_type", ""),
        )


def _vstar(folder: Path) -> Iterator[Question]:
    """V*: a JSON file of the same stem beside each image; the first option is right.

    Source: penghao-wu/vstar, ``vstar_bench_eval.py``; its folders are the kinds of question.
    """
    for path in sorted(folder.glob("*/*.json")):
        stem = path.name.removesuffix(".json")
        images = [p for p in path.parent.iterdir() if p.stem == stem and p.suffix.lower() in _ENDS]
        if len(images) != 1:
            raise InputError(f"{path}: found {len(images)} images of the same stem, expected 1")
        content = strict_json.read(path)
        options = tuple(content.get("options", ()))
        if not options or not content.get("question"):
            raise InputError(f"{path} has no 'question' with 'options'")
        yield Question(
            image=f"{path.parent.name}/{images[0].name}",
            question=content["question"],
            answer=options[0],
            choices=options,
            type=path.parent.name,
        )
