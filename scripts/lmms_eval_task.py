"""``lmms-eval`` runs a trained model by its entry point, and scores it as this project does.

    python scripts/lmms_eval_task.py --work runs/lmms-eval --version 0.7.3

The engine pins some 45 packages, so it is installed in an environment of its own in --work, without
its requirements but for the few that are not among this one's libraries, which lie behind it. A
projector is trained for a minute on pictures of the package easy-vqa; then the engine's command
line answers questions about others in words. Tasks of the engine that compare losses of choices are
left out: version 0.7.3 turns a model's losses into text and cannot score them. Expected: 5 minutes.
Writes experiments/results/lmms_eval.json beside this file: scores of both, machine and versions.
(The committed run of 2026-11-29 has the engine's version alone.)
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import easy_vqa
import pandas as pd
from datasets import Dataset, Features, Image, Sequence, Value

from workbench import processors
from workbench.cli import main as workbench
from workbench.results.files import write_csv
from workbench.vlm.questions import Question, read

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "experiments" / "results" / "lmms_eval.json"
MISSING = (
    "chardet", "evaluate", "loguru", "pytablewriter", "DataProperty", "mbstrdecoder",
    "pathvalidate", "tabledata", "tcolorpy", "typepy", "sacrebleu", "portalocker", "colorama",
    "jsonlines", "lxml",
    "tenacity", "pytz", "sqlitedict", "zss", "latex2sympy2", "antlr4-python3-runtime==4.7.2",
)  # fmt: skip
"""What the engine imports beside this project's libraries."""
LIBRARIES = ("torch", "transformers")
SOURCE = "bundled:efficientnet_lite0@224"
QUESTIONS = {"train": 120, "test": 24}
TASK = """\
task: easy_vqa_words
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visual
doc_to_text: question
doc_to_target: answer
generation_kwargs: {{max_new_tokens: 16}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true,
     ignore_punctuation: true}}
"""
UTILS = "def visual(doc):\n    return [doc['image'].convert('RGB')]\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("runs/lmms-eval"))
    parser.add_argument("--version", default="0.7.3", help="of the engine")
    asked = parser.parse_args()
    work = asked.work.resolve()
    run = trained(work)
    ours = accuracy(work, run)
    python = environment(work / "env", asked.version)
    theirs = scores(python, work, run)
    found = {
        "date": str(datetime.date.today()),
        "machine": processors.machine(),
        "lmms_eval": asked.version,
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "questions": QUESTIONS["test"],
        "source": SOURCE,
        "exact_match": {"workbench": ours, "engine": theirs},
    }
    if ours != theirs or not ours:  # no right answer at all would show nothing
        sys.exit(f"scores differ, or nothing is right: {found}")
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


def data(part: str) -> Path:
    return Path(easy_vqa.__path__[0]) / "data" / part


def asked_about(part: str) -> list[Question]:
    return read([data(part) / "questions.json"], QUESTIONS[part])


def command(*words: object) -> None:
    if workbench([str(word) for word in words]):
        sys.exit("stopped; repeat the command to resume")


def trained(work: Path) -> Path:
    """A projector, trained on a few questions."""
    model, _, scale = SOURCE.partition("@")
    for part in QUESTIONS:
        table = work / f"{part}.csv"
        images = dict.fromkeys(data(part) / one.image for one in asked_about(part))
        write_csv(pd.DataFrame({"path": [str(image) for image in images]}), table)
        command(
            "extract", "--dataset", f"csv:{table}", "--model", model, "--scales", scale,
            "--fit", "pad", "--store", work / f"{part}.zarr",
        )  # fmt: skip
    command(
        "vlm", "train", "--store", work / "train.zarr", "--source", SOURCE,
        "--questions", data("train") / "questions.json", "--limit", QUESTIONS["train"],
        "--init", "ridge", "--epochs", 3, "--batch", 1, "--arithmetic", "fp32",
        "--out", work / "run",
    )  # fmt: skip
    return work / "run"


def accuracy(work: Path, run: Path) -> float:
    """By ``workbench vlm eval``."""
    out = work / "exact.csv"
    command(
        "vlm", "eval", "--run", run, "--store", work / "test.zarr", "--score", "exact",
        "--questions", data("test") / "questions.json", "--limit", QUESTIONS["test"], "--out", out,
    )  # fmt: skip
    return round(float(pd.read_csv(out)["score"].mean()), 4)


def environment(folder: Path, version: str) -> str:
    """The interpreter of an environment with the engine and this project."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        (behind,) = (folder / "lib").glob("python*/site-packages")
        (behind / "behind.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [python, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*install, f"lmms-eval=={version}", *MISSING], check=True)
    subprocess.run([*install, "-e", ROOT], check=True)
    return str(python.absolute())


def scores(python: str, work: Path, run: Path) -> float:
    """By the engine's command line, on a local task."""
    tasks = work / "tasks"
    tasks.mkdir(exist_ok=True)
    rows = [
        {"image": str(data("test") / one.image), "question": one.question, "answer": one.answer,
         "choices": list(one.choices)}
        for one in asked_about("test")
    ]  # fmt: skip
    text = Value("string")
    kinds = {"image": Image(), "question": text, "answer": text, "choices": Sequence(text)}
    Dataset.from_list(rows, features=Features(kinds)).to_parquet(tasks / "test.parquet")
    (tasks / "utils.py").write_text(UTILS)
    (tasks / "easy_vqa_words.yaml").write_text(TASK.format(data=tasks / "test.parquet"))
    out = work / "out"
    subprocess.run(
        [python, "-m", "lmms_eval", "--model", "s2_workbench", "--model_args", f"run={run}",
         "--batch_size", "8", "--device", "cpu", "--include_path", tasks, "--output_path", out,
         "--tasks", "easy_vqa_words"],
        check=True,
    )  # fmt: skip
    latest = max(out.rglob("*results.json"), key=lambda path: path.stat().st_mtime)
    found = json.loads(latest.read_text())["results"]
    return round(found["easy_vqa_words"]["exact_match,none"], 4)


if __name__ == "__main__":
    main()
