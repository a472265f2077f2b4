"""What does image scaling add to a vision-language model? Tables 1, 8 and 9 with small parts.

    python scripts/experiments/multimodal.py --data DIR [--only daquar] [--row Lite0] [--seed 0]
    python scripts/experiments/multimodal.py --summary

A list of runs, each a study, a row and a seed; a run whose JSON is in results/multimodal/ beside
this file is skipped, and a run that was killed resumes. The language model is SmolLM2-135M,
encoders are frozen, trained are a projector (its start solved in closed form) and low-rank
adapters. Every row has 7 x 7 image tokens but those named "native size" (9 x 9).

daquar: DIR/daquar holds train.csv and test.csv (path, question, answer, type) of photographs of
rooms; scored by exact match. easy-vqa: the first pictures of that package, one large shape on an
empty ground each, scored by the likelihood of the choices.
objects: shapes over photographs at 1344 pixels, from small_objects.py, scored by exact match, since
the likelihood of all choices would take as long as the training; DIR holds imagenet_sample_500.
Half of the training pictures have the largest shapes of their study. Captions come first: they
solve the start, and the projector trains on a quarter of them. Then questions, in studies from the
easiest on. objects-large trains adapters on pictures with one shape of 64 to 512 pixels each;
objects-one-shape trains its models further on shapes of 8 to 64 pixels, and objects-lora those on
two shapes. objects-projector, with two shapes and without adapters, starts from captions again. A
model to start from that is not in --stores is trained again. Two runs of each study are its pilot
(the finest scales, and "blind", which sees another image's tokens). Where the finest scales beat
blind by 20 points on the largest shapes, in one kind of question, all rows of the study are run, in
three seeds, and the next study is tried. From a kind where they do not nothing is concluded, and
the summary and the tables say that. object_tokens.py reads the same tokens with a linear
classifier. --gallery draws answers for the page of Table 1: of easy-vqa from its committed results,
of objects-large by the models in --stores.

Products are taken in bf16, as LLaVA does; a processor without them takes many times as long.
Expected on two idle cores that have them, resumed when repeated: stores of daquar 3 minutes;
pictures of a study of objects 2 minutes and 0.5 GB, and their stores 6 minutes for a row of three
scales; then a run at most 20 minutes. After each run, and by --summary, the tables are written that
`workbench tables` shows, analyses/experiments/tables_1_8_9_{multimodal,sizes}.csv, and those of
docs/vlm_results.md.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import runner
from multimodal_gallery import GALLERIES, gallery
from multimodal_results import by_size, results, summary, write_summary
from multimodal_stores import pictures_of, stored
from multimodal_studies import ASKED, ROWS, STUDIES, Run

import feature_store
from analyses.experiments import multimodal as rules
from workbench.models.info import Arithmetic
from workbench.vlm import questions as asked_of
from workbench.vlm.config import VlmConfig
from workbench.vlm.evaluate import evaluate
from workbench.vlm.evaluation_config import EvaluationConfig
from workbench.vlm.fit import fit
from workbench.vlm.matching import rows_of
from workbench.vlm.questions import Question
from workbench.vlm.run import Run as Trained
from workbench.vlm.scoring import exact

ARITHMETIC: Arithmetic = "bf16"
CAPTIONS = 0.25
"""Passes of the projector over the captions, after they have solved its start."""


def main() -> None:
    parser = runner.parser(__doc__, "write the tables of what is there and print it")
    parser.add_argument("--data", type=Path, help="folder of the datasets")
    parser.add_argument("--stores", type=Path, default=Path("runs/multimodal"))
    parser.add_argument("--only", nargs="+", choices=ASKED, default=list(ASKED), help="studies")
    parser.add_argument(
        "--row", nargs="+", choices=ROWS, default=list(ROWS), help="rows, besides those of pilots"
    )
    parser.add_argument("--seed", nargs="+", type=int, help="instead of those of the study")
    parser.add_argument("--gallery", choices=GALLERIES, help="draw answers of a study, and stop")
    asked = runner.parsed(parser)
    if asked.gallery:
        print(*gallery(asked.gallery, asked.stores))
        return
    if asked.summary:
        write_summary()
        print(
            json.dumps(
                {"conclusion": rules.verdict(by_size(results())), "runs": summary()}, indent=1
            )
        )
        return
    for name in asked.only:
        for run in runs_of(name, asked.row, asked.seed):
            if runner.missing([run]):
                runner.do([run], lambda run: measured(run, asked))
                write_summary()


def runs_of(name: str, rows: Sequence[str], seeds: Sequence[int] | None) -> Iterator[Run]:
    """Runs of a study; of objects, studies in turn as long as the pilot of each learns."""
    for study in rules.STUDIES if name == "objects" else (name,):
        if name == "objects":
            yield from (Run(study=study, row=row, seed=0) for row in (rules.FINEST, rules.BLIND))
            if study not in rules.learned(by_size(results())):
                print(rules.verdict(by_size(results())))
                return
        for seed in seeds or STUDIES[study].seeds:
            for row in (row for row in STUDIES[study].rows if row in rows):
                yield Run(study=study, row=row, seed=seed)


@dataclass(frozen=True)
class Training:
    """One training of a run; it starts where the one before ends."""

    study: str
    store: feature_store.FeatureStore
    questions: list[Question]
    config: VlmConfig
    folder: Path


def plan(run: Run, asked: argparse.Namespace) -> list[Training]:
    """What a run trains in turn: the study before it, or captions if there are any; its questions.

    Trainings that another run has made are there already, and take no time.
    """
    study, row = STUDIES[run.study], ROWS[run.row]
    store, questions = stored(run.study, run.row, "train", asked.data, asked.stores)
    config = VlmConfig(
        stage=study.stage, init=row.init, batch=study.batch, turns=12, blind=row.blind,
        arithmetic=ARITHMETIC,
    )  # fmt: skip
    folder = run.folder(asked.stores)
    before = []
    if study.after:
        before = plan(replace(run, study=study.after), asked)
    elif study.pictures:
        captions = asked_of.read([pictures_of(run.study, asked.stores) / "captions.csv"])
        first = replace(config, stage="projector", epochs=CAPTIONS)
        before = [
            Training(run.study, store, captions, first, folder.with_name(f"{folder.name}-captions"))
        ]
    if before:
        config = replace(config, init="random")  # it starts from the training before
    return [*before, Training(run.study, store, questions, config, folder)]


def measured(run: Run, asked: argparse.Namespace) -> dict:
    study, row = STUDIES[run.study], ROWS[run.row]
    trainings = plan(run, asked)
    stages: list[dict] = []
    for training in trainings:
        found = fit(
            training.store, row.source, training.questions, training.config, seed=run.seed,
            folder=training.folder, log=print, checkpoint_every=25,
            start=trainings[len(stages) - 1].folder if stages else None,
        )  # fmt: skip
        if not found.outcome.finished:
            raise KeyboardInterrupt  # stopped between two steps
        stages.append(
            {
                "study": training.study,
                "conversations": found.conversations,
                "steps": found.outcome.step,
                "seconds": found.outcome.seconds,
                "ridge_r2": found.r2,
                "last_loss": found.loss,
                **asdict(training.config.resolved()),
            }
        )
    test_store, test = stored(run.study, run.row, "test", asked.data, asked.stores)
    last = Trained.open(trainings[-1].folder)
    how = EvaluationConfig(score=study.score, new_tokens=8, seed=run.seed)
    model, writer = last.model("cpu", print)
    watch = runner.Stopwatch()
    result, scores, said = evaluate(last, model, writer, test_store, test, how)
    return {
        **asdict(run),
        "source": last.identity["source"],
        "gmacs": row.gmacs,
        "image_tokens": writer.image_tokens,
        **result,
        "train_questions": len(trainings[-1].questions),
        "parameters": found.parameters,
        "tokens_per_s": found.tokens_per_s,
        "evaluation_seconds": watch.record()["seconds"],
        "most_frequent": most_frequent(trainings[-1].questions, test, study.score),
        "stages": stages,
        "evaluation": asdict(how),
        "questions_sha256": asked_of.sha256(test),
        "rows": rows_of(test, test_store.image_ids, "test").tolist(),
        "types": [question.type for question in test],
        "scores": np.round(scores, 3).tolist(),
        "answers": said,
        **runner.provenance("torch", "transformers"),
    }


def most_frequent(train: list[Question], test: list[Question], score: str) -> list[float]:
    """Scores of answering each type of question as most training questions of it are."""
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for question in train:
        answers[question.type][question.answer] += 1
    said = [answers[question.type].most_common(1)[0][0] for question in test]
    pairs = zip(test, said, strict=True)
    same = exact if score == "exact" else lambda question, answer: float(question.answer == answer)
    return [same(question, answer) for question, answer in pairs]


if __name__ == "__main__":
    runner.run(main)
