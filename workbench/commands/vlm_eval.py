"""``workbench vlm eval``: scores of a trained vision-language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import tyro

from feature_store import Source
from feature_store.dataset_name import is_dataset_name
from feature_store.errors import InputError
from workbench.code_hash import parts_sha256
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.files import require_writable
from workbench.results.messages import note, show
from workbench.results.rates import rate, rate_difference
from workbench.vlm.evaluation_config import EvaluationConfig
from workbench.vlm.question import Question
from workbench.vlm.questions import QuestionOptions, sha256

if TYPE_CHECKING:  # they import torch
    from workbench.vlm.run import Run
    from workbench.vlm.vision import Images


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
    """Store of the images that the questions are about; or a dataset, whose tokens are computed as
    in the training."""
    asked: Annotated[QuestionOptions, tyro.conf.arg(name="")]
    evaluation: Annotated[EvaluationConfig, options_of(EvaluationConfig)] = field(
        default_factory=EvaluationConfig
    )
    encoder: str | None = None
    """run:FOLDER of the frozen model, if `workbench pretrain` trained it."""
    device: str = "cpu"
    """Torch device of the models."""
    out: Path | None = None
    """CSV file for every question with its answer and score; a file beside it, named the same with
    .json at the end, records where they come from, and goes with it."""
    against: Path | None = None
    """The --out file of another run on the same questions with the same --score and order of
    choices: report the paired difference."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from workbench.vlm import answers as files
        from workbench.vlm.evaluate import prepared, scored
        from workbench.vlm.run import Run
        from workbench.vlm.scoring import paired

        self._check()
        questions, other = self.asked.read(), None
        if self.against is not None:
            like = files.scored_by(self.evaluation.recorded())
            other = files.read(self.against, questions, "--against", like).scores
        run = Run.open(self.trained)
        run.note_unfinished(note)
        images = self._images(run)
        inputs = prepared(run, images, questions, self.evaluation)
        model, writer = run.model(self.device, note)
        origin = self._origin(run, images, questions)
        found, scores, answers = scored(
            run, model, writer, inputs, questions, self.evaluation, progress=True
        )
        found |= origin
        if other is not None:
            names = pd.factorize(pd.Series([question.image for question in questions]))[0]
            found["against"] = {"file": str(self.against), **paired(scores, other, names)}
        if self.out is not None:
            files.write(questions, answers, scores, found, self.out)
        if self.json:
            show(strict_json.dumps(found))
        else:
            show(f"all: {_line(found)}")
            for name, part in found["by_type"].items():
                show(f"{name}: {_line(part)}")
            if other is not None:
                show(f"all, minus {self.against}: {rate_difference(found['against'])}")
        return 0

    def _check(self) -> None:
        from workbench.vlm.answers import record_of

        if self.encoder is not None and not is_dataset_name(self.store):
            raise InputError(
                f"--encoder names the model that computes tokens, and the store {self.store} holds "
                f"them already; leave it out"
            )
        if self.out is not None:
            require_writable(self.out)
            require_writable(record_of(self.out))

    def _images(self, run: Run) -> Images:
        """Images of --store; a dataset's tokens are computed as in the training."""
        from workbench.models.run_names import find_run
        from workbench.vlm.vision import decoding_as, open_images, running_as

        if is_dataset_name(self.store):
            find_run(Source.parse(run.identity["source"]).model, self.encoder)
        vision = run.identity["vision"]
        return open_images(self.store, running_as(vision, note, self.device), decoding_as(vision))

    def _origin(self, run: Run, images: Images, questions: Sequence[Question]) -> dict[str, Any]:
        """Run, features, questions, options, code and date of the answers."""
        from workbench.tables.records import provenance
        from workbench.vlm.fit import CODE, LIBRARIES

        stamp = provenance.stamp()
        libraries = stamp["libraries"] | {name: version(name) for name in LIBRARIES}
        return {
            "run": str(run.folder.resolve()),
            "checkpoint": run.checkpoint.name,
            "source": run.identity["source"],
            "store": images.path,
            "questions_sha256": sha256(questions),
            "evaluation": asdict(self.evaluation),
            "code": stamp | {"code_sha256": parts_sha256(CODE), "libraries": libraries},
            "date": provenance.now(),
        }


def _line(part: dict[str, Any]) -> str:
    return f"{rate(part['accuracy'], part['low'], part['high'])} of {part['questions']} questions"
