"""Questions of JSON files and of V*'s folders. Importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from feature_store.errors import InputError
from workbench.results import strict_json
from workbench.vlm.question import Question

IMAGE_MARK = "<image>"
EASY_VQA = {
    "yes or no": ("yes", "no"),
    "shape": ("circle", "rectangle", "triangle"),
    "colour": ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow"),
}
"""Kind of question in easy-VQA to its answers."""
VSTAR = ("direct_attributes", "relative_position")
"""Folders of V* that its score is over: 115 and 76 questions."""
_ENDS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_SHOWN = 60
"""Characters of a wrong value in a message."""


def of_json(paths: list[Path], log: Callable[[str], None]) -> Iterator[Question]:
    """Yield the questions of LLaVA's or easy-VQA's file, or of VQAv2's two.

    `log` is told how many of LLaVA's entries were left out because they have no image.

    Raises
    ------
    InputError
        Another form; a field that is missing or of another type, with the number of its entry.
    """
    contents = [strict_json.read(path) for path in paths]
    first = contents[0]
    if isinstance(first, list):
        if len(paths) > 1:
            raise InputError(f"{paths[0]} is a list, followed by {paths[1]}; join them in one file")
        if first and isinstance(first[0], list):
            yield from _easy_vqa(paths[0], first)
        else:
            yield from _llava(paths[0], first, log)
    else:
        yield from _vqa(paths[0], _merged(paths, contents))


def of_folder(folder: Path, log: Callable[[str], None]) -> Iterator[Question]:
    """V*: a JSON file of the same stem beside each image; the first option is right.

    Folders are the kinds of question. If both of :data:`VSTAR` are there, others are left out, and
    `log` is told which.

    Source: penghao-wu/vstar, ``vstar_bench_eval.py``, which scores these two.

    Raises
    ------
    InputError
        A JSON file without its image, or without a question and options.
    """
    for path in _vstar_files(folder, log):
        stem = path.name.removesuffix(".json")
        images = [p for p in path.parent.iterdir() if p.stem == stem and p.suffix.lower() in _ENDS]
        if len(images) != 1:
            raise InputError(f"{path}: found {len(images)} images of the same stem, expected 1")
        content = _object(str(path), strict_json.read(path))
        options = content.get("options")
        texts = isinstance(options, list) and all(isinstance(one, str) for one in options)
        if not options or not texts:
            raise InputError(f"{path}: 'options' is {_shown(options)}; expected a list of texts")
        yield Question(
            image=f"{path.parent.name}/{images[0].name}",
            question=_text(str(path), content, "question"),
            answer=options[0],
            choices=tuple(options),
            type=path.parent.name,
        )


def _vstar_files(folder: Path, log: Callable[[str], None]) -> list[Path]:
    """The JSON files whose questions count; `log` is told which folders were left out."""
    paths = sorted(folder.glob("*/*.json"))
    others = {path.parent.name for path in paths} - set(VSTAR)
    counted = [path for path in paths if path.parent.name in VSTAR]
    if len({path.parent for path in counted}) < len(VSTAR):
        return paths
    if others:
        log(
            f"left out of {folder}: {', '.join(sorted(others))}; the score of V* is over "
            f"{' and '.join(VSTAR)}"
        )
    return counted


def _llava(path: Path, entries: list[Any], log: Callable[[str], None]) -> Iterator[Question]:
    numbered = [
        (f"{path}: entry {number}", number, _object(f"{path}: entry {number}", entry))
        for number, entry in enumerate(entries, start=1)
    ]
    kept = [one for one in numbered if one[2].get("image")]
    if left := len(numbered) - len(kept):
        if not kept:
            raise InputError(f"{path}: none of the {left} entries has an image")
        log(f"left out of {path}: {left} of {len(numbered)} entries, which have no image")
    for where, number, entry in kept:
        turns = entry.get("conversations")
        if not isinstance(turns, list) or not turns or len(turns) % 2:
            raise InputError(
                f"{where}: 'conversations' is {_shown(turns)}; expected turns of human and gpt in "
                f"pairs: complete the entry or remove it"
            )
        image = _text(where, entry, "image")
        for human, answer in zip(turns[::2], turns[1::2], strict=True):
            who = [_object(f"{where}: a turn", turn).get("from") for turn in (human, answer)]
            if who != ["human", "gpt"]:
                raise InputError(f"{where}: turns must alternate between human and gpt")
            yield Question(
                image=image,
                question=_text(where, human, "value").replace(IMAGE_MARK, "").strip(),
                answer=_text(where, answer, "value"),
                conversation=str(number),
            )


def _easy_vqa(path: Path, entries: list[Any]) -> Iterator[Question]:
    """easy-VQA: question, answer, number of the image; every answer of a kind is a choice.

    Source: the package ``easy-vqa``, its ``data/train/questions.json``.
    """
    kinds = {answer: kind for kind, choices in EASY_VQA.items() for answer in choices}
    for number, entry in enumerate(entries, start=1):
        whole = isinstance(entry, list) and [type(part) for part in entry] == [str, str, int]
        if not whole or entry[1] not in kinds:
            raise InputError(
                f"{path}: entry {number} is {_shown(entry)}; expected a question, one of "
                f"easy-VQA's answers ({', '.join(kinds)}), and the number of an image"
            )
        question, answer, image = entry
        kind = kinds[answer]
        yield Question(
            image=f"images/{image}.png", question=question, answer=answer, type=kind,
            choices=EASY_VQA[kind],
        )  # fmt: skip


def _merged(paths: list[Path], contents: list[Any]) -> dict[str, Any]:
    """VQAv2's questions and annotations in one object, each in one of the files."""
    merged: dict[str, Any] = {}
    for path, content in zip(paths, contents, strict=True):
        for name in ("questions", "annotations"):
            if name in merged and name in _object(str(path), content):
                raise InputError(f"{path} has {name!r}, as a file before it; name one of them")
        merged |= _object(str(path), content)
    if missing := [name for name in ("questions", "annotations") if name not in merged]:
        raise InputError(
            f"{paths[0]} has no {' and no '.join(map(repr, missing))}; name both files of VQAv2: "
            f"--questions QUESTIONS.json ANNOTATIONS.json"
        )
    return merged


def _vqa(path: Path, content: dict[str, Any]) -> Iterator[Question]:
    annotations = {number: truth for _, number, truth in _numbered(path, content, "annotations")}
    for where, number, one in _numbered(path, content, "questions"):
        truth = annotations.get(number)
        if truth is None:
            raise InputError(f"{path}: question {number} has no annotation")
        told = f"{where} (question_id {number}): its annotation"
        answers = _answers(told, truth)
        if not answers and "multiple_choice_answer" not in truth:
            raise InputError(f"{told} has no 'answers' and no 'multiple_choice_answer'")
        yield Question(
            image=_coco(where, one, content.get("data_subtype")),
            question=_text(where, one, "question"),
            answer=_text(told, truth, "multiple_choice_answer")
            if truth.get("multiple_choice_answer")
            else max(answers, key=answers.count, default=""),
            answers=answers,
            type=_text(told, truth, "answer_type") if truth.get("answer_type") else "",
        )


def _numbered(path: Path, content: dict[str, Any], name: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield where it stands, the question_id, and the entry, for each entry of a list.

    No two entries have one question_id.
    """
    if not isinstance(content[name], list):
        raise InputError(f"{path}: {name!r} is {_shown(content[name])}; expected a list")
    seen: set[int | str] = set()
    for number, entry in enumerate(content[name], start=1):
        where = f"{path}: entry {number} of {name!r}"
        found = _object(where, entry).get("question_id")
        if not isinstance(found, int | str):
            raise InputError(f"{where}: 'question_id' is {_shown(found)}; expected a number")
        if found in seen:
            raise InputError(
                f"{where}: 'question_id' is {found}, as that of an entry before it; expected one "
                f"entry for each: remove the other"
            )
        seen.add(found)
        yield where, found, entry


def _answers(where: str, truth: dict[str, Any]) -> tuple[str, ...]:
    given = truth.get("answers", [])
    listed = given if isinstance(given, list) else [None]
    found = [one.get("answer") if isinstance(one, dict) else one for one in listed]
    texts = tuple(one for one in found if isinstance(one, str))
    if len(texts) < len(found):
        raise InputError(f"{where}: 'answers' is {_shown(given)}; expected a list of answers")
    return texts


def _coco(where: str, one: dict[str, Any], subtype: Any) -> str:
    """Name of a question's image: its own, COCO's file of its number, or its number."""
    if one.get("image") is not None:
        return _text(where, one, "image")
    number = one.get("image_id")
    if not isinstance(number, int if subtype else int | str):
        expected = f"a number, because 'data_subtype' is {subtype!r}" if subtype else "a name"
        raise InputError(f"{where}: 'image_id' is {_shown(number)}; expected {expected}")
    return f"COCO_{subtype}_{number:012d}.jpg" if subtype else str(number)


def _object(where: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise InputError(f"{where} is {_shown(entry)}; expected a JSON object with named fields")
    return entry


def _text(where: str, entry: dict[str, Any], name: str) -> str:
    found = entry.get(name)
    if not isinstance(found, str):
        raise InputError(f"{where}: {name!r} is {_shown(found)}; expected text")
    return found


def _shown(value: Any) -> str:
    """The beginning of a value as JSON, or ``missing``."""
    text = "missing" if value is None else strict_json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
