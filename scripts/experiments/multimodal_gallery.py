"""Galleries of answers for the page of Table 1 (the paper's Figures 4 and 9).

Both show pictures that may be passed on: those that come with the package easy-vqa, and shapes over
the two photographs that come with scikit-learn. The other studies show photographs that are not
committed; `workbench vlm show` draws those.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import runner
import small_objects
from multimodal_results import SUMMARIES
from multimodal_stores import easy_vqa, table_of_images
from multimodal_studies import EASY_VQA, ROWS, STUDIES, Run
from PIL import Image
from sklearn.datasets import load_sample_images

from analyses import experiments
from analyses.experiments import multimodal as rules
from feature_store import InputError
from workbench.figures import style
from workbench.figures.answers import draw_gallery
from workbench.results import strict_json
from workbench.training.files import IDENTITY
from workbench.vlm import answers
from workbench.vlm import questions as asked_of
from workbench.vlm.answers import Answers
from workbench.vlm.evaluate import evaluate
from workbench.vlm.evaluation_config import EvaluationConfig
from workbench.vlm.questions import Question
from workbench.vlm.run import Run as Trained
from workbench.vlm.vision import decoding_as, open_images, running_as

GALLERIES = {
    EASY_VQA: ("Lite0-S2", rules.BASE, rules.BLIND),
    "objects-large": (rules.FINEST, rules.BASE, rules.BLIND),
    "objects-one-shape": (rules.FINEST, rules.BASE, rules.BLIND),
}
"""Study to the rows whose answers are shown, of seed 0."""
PICTURES = 48
"""Shapes over scikit-learn's photographs, of which some are shown."""
EXAMPLES = 9


def gallery(study: str, stores: Path) -> tuple[Path, ...]:
    """Draw answers of a study for the page of Table 1."""
    runs = {row: Run(study=study, row=row, seed=0) for row in GALLERIES[study]}
    return of_easy_vqa(runs) if study == EASY_VQA else of_shapes(study, runs, stores)


def of_easy_vqa(runs: dict[str, Run]) -> tuple[Path, ...]:
    """From the committed answers."""
    if missing := runner.missing(runs.values()):
        raise InputError(f"{missing[0].path.stem} is not run yet; run it first")
    questions = asked_of.read([easy_vqa("test")], (STUDIES[EASY_VQA].questions or {}).get("test"))
    found = {row: answers.read(run.path, questions, "the result") for row, run in runs.items()}
    rows = np.array(strict_json.read(runs[rules.BASE].path)["rows"])
    return drawn(EASY_VQA, easy_vqa("test").parent, questions, found, rows)


def of_shapes(name: str, runs: dict[str, Run], stores: Path) -> tuple[Path, ...]:
    """From the trained models, asked for colours over photographs that they have not seen."""
    trained = {row: run.folder(stores) for row, run in runs.items()}
    if missing := [where for where in trained.values() if not (where / IDENTITY).exists()]:
        raise InputError(
            f"{missing[0]} holds no trained model; run multimodal.py --only objects first"
        )
    folder, study = stores / f"gallery-{name}", STUDIES[name]
    photographs = folder / "photographs"
    photographs.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(load_sample_images().images):
        for twin in "ab":  # test pictures take every second file
            Image.fromarray(pixels).save(photographs / f"{number}{twin}.jpg", quality=95)
    small_objects.render(photographs, folder, {"test": PICTURES}, study.sizes, study.shapes)
    questions = asked_of.read([folder / "test_questions.csv"])
    questions = [one for one in questions if one.type.startswith(small_objects.KINDS[0])]
    table = table_of_images(questions, folder, folder / "images.csv")
    how = EvaluationConfig(score=study.score, new_tokens=8)
    found = {}
    for row, where in trained.items():
        last = Trained.open(where)
        vision = last.identity["vision"]
        model, writer = last.model("cpu", print)
        images = open_images(f"csv:{table}", running_as(vision, print), decoding_as(vision))
        _, scores, said = evaluate(last, model, writer, images, questions, how)
        found[row] = Answers(said, scores, ROWS[row].source)
    return drawn(name, folder, questions, found, np.arange(len(questions)))


def drawn(
    study: str, folder: Path, questions: list[Question], found: dict[str, Answers], rows: np.ndarray
) -> tuple[Path, ...]:
    """The picture of some questions about the images of a folder; `rows` is the image of each."""
    chosen = answers.examples(found, rows, EXAMPLES)
    figure = draw_gallery(
        [np.asarray(Image.open(folder / questions[n].image).convert("RGB")) for n in chosen],
        [(questions[n].question, questions[n].answer) for n in chosen],
        {row: [(of.answers[n], of.scores[n]) for n in chosen] for row, of in found.items()},
    )
    name = f"table01_{study}{experiments.GALLERY}".removesuffix(".png")
    paths = style.save(figure, SUMMARIES / name, ["png"])
    for path in paths:  # smaller, since it is committed; small areas keep their colours
        picture = Image.open(path).convert("RGB")
        picture.quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    return paths
