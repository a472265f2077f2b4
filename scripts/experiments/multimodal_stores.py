"""Pictures, questions and features of multimodal.py's studies: rendered, extracted, read."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import small_objects
from multimodal_studies import EASY_VQA, ROWS, STUDIES

import feature_store
from workbench.extraction import ExtractRequest, extract
from workbench.vlm import questions as asked_of
from workbench.vlm.questions import Question


def pictures_of(study: str, stores: Path) -> Path:
    """Folder of the pictures that a study renders; studies of the same shapes share one."""
    made = STUDIES[study]
    return stores / f"pictures_{made.shapes}_to_{max(made.sizes)}"


def stored(
    name: str, row: str, side: str, data: Path, stores: Path
) -> tuple[feature_store.FeatureStore, list[Question]]:
    """The store of one side of a study with the features of a row, and its questions.

    A store that an earlier version began goes on where this code reproduces its values.
    """
    study, (model, _, scales) = STUDIES[name], ROWS[row].source.partition("@")
    images_name = name
    if study.pictures:
        folder = pictures_of(name, stores)
        photographs = data / "imagenet_sample_500"
        small_objects.render(photographs, folder, study.pictures, study.sizes, study.shapes)
        images_name, file = folder.name, folder / f"{side}_questions.csv"
    elif name == EASY_VQA:
        file = easy_vqa(side)
    else:
        file = data / name / f"{side}.csv"
    questions = asked_of.read([file], (study.questions or {}).get(side))
    stores.mkdir(parents=True, exist_ok=True)
    table = table_of_images(questions, file.parent, stores / f"{images_name}_{side}.csv")
    path = table.with_suffix(".zarr")
    extract(
        ExtractRequest(
            dataset=f"csv:{table}", models=[model], scales=scales.split("+"), store=str(path),
            fit="pad", accept_code=True,
        )
    )  # fmt: skip
    return feature_store.open(str(path)), questions


def table_of_images(questions: list[Question], folder: Path, path: Path) -> Path:
    """Write the table of the images in a folder that questions are about; its path."""
    images = dict.fromkeys(question.image for question in questions)
    small_objects.table(path, ["path"], [[str(folder.resolve() / image)] for image in images])
    return path


def easy_vqa(side: str) -> Path:
    """The questions of the package, beside their pictures."""
    return Path(str(files("easy_vqa"))) / "data" / side / "questions.json"
