"""``workbench vlm eval``: scores of a trained vision-language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro

from feature_store import Source
from feature_store.dataset_name import is_dataset_name
from feature_store.errors import InputError
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.files import require_writable, write_csv
from workbench.results.messages import note, show
from workbench.results.rates import rate, rate_difference
from workbench.vlm import questions as asked
from workbench.vlm.evaluation_config import EvaluationConfig


@dataclass(frozen=True, kw_only=True)
class VlmEval:
    r"""Ask a trained model questions about unseen images and score its answers.

    Each question is asked alone. Intervals are Wilson's 95 % intervals, which treat questions about
    one image as independent.

    Examples
    --------
    workbench vlm eval --run runs/lora --store test.zarr --questions test.csv --score exact --json
    workbench vlm eval --run runs/s2 --store test.zarr --questions test.csv \
        --against runs/single/answers.csv --out runs/s2/answers.csv
    """

    trained: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of a run of `workbench vlm train`."""
    store: str
    """Store of the images that the questions are about; or a data set, whose tokens are computed as
    in the training."""
    questions: tuple[Path, ...]
    """LLaVA's or easy-VQA's JSON; CSV or TSV with image, question, answer and perhaps choices
    (a|b|c) and type; VQAv2's two JSON files; or V*'s folder."""
    evaluation: Annotated[EvaluationConfig, options_of(EvaluationConfig)] = field(
        default_factory=EvaluationConfig
    )
    limit: int | None = None
    """Use only the first N questions."""
    encoder: str | None = None
    """run:FOLDER of the frozen model, if `workbench pretrain` trained it."""
    device: str = "cpu"
    """Torch device of the models."""
    out: Path | None = None
    """CSV file for every question with its answer and score."""
    against: Path | None = None
    """The --out file of another run on the same questions: report the paired difference."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from workbench.models.run_names import find_run
        from workbench.vlm.answers import read
        from workbench.vlm.evaluate import evaluate
        from workbench.vlm.run import Run
        from workbench.vlm.scoring import paired
        from workbench.vlm.vision import decoding_as, open_images, running_as

        if self.encoder is not None and not is_dataset_name(self.store):
            raise InputError(
                f"--encoder names the model that computes tokens, and the store {self.store} holds "
                f"them already; leave it out"
            )
        if self.out is not None:
            require_writable(self.out)
        questions = asked.read(self.questions, self.limit)
        other = None if self.against is None else read(self.against, questions, "--against").scores
        run = Run.open(self.trained)
        run.note_unfinished(note)
        model, writer = run.model(self.device, note)
        if is_dataset_name(self.store):
            find_run(Source.parse(run.identity["source"]).model, self.encoder)
        vision = run.identity["vision"]
        running = running_as(vision, note, self.device)
        images = open_images(self.store, running, decoding_as(vision))
        found, scores, answers = evaluate(
            run, model, writer, images, questions, self.evaluation, progress=True
        )
        if other is not None:
            names = pd.factorize(pd.Series([question.image for question in questions]))[0]
            found["against"] = paired(scores, other, names)
        if self.out is not None:
            write_csv(answer_table(questions, answers, scores), self.out)
        if self.json:
            show(strict_json.dumps(found))
        else:
            show(f"all: {_line(found)}")
            for name, part in found["by_type"].items():
                show(f"{name}: {_line(part)}")
            if other is not None:
                show(f"all, minus {self.against}: {rate_difference(found['against'])}")
        return 0


def answer_table(
    questions: Sequence[asked.Question], answers: Sequence[str], scores: np.ndarray
) -> pd.DataFrame:
    """One row per question."""
    rows = [(one.image, one.question, one.answer, one.type) for one in questions]
    table = pd.DataFrame(rows, columns=["image", "question", "expected", "type"])
    return table.assign(answer=answers, score=scores)


def _line(part: dict[str, Any]) -> str:
    return f"{rate(part['accuracy'], part['low'], part['high'])} of {part['questions']} questions"
