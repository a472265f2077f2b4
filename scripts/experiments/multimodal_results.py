"""Tables of the runs of multimodal.py: of each run, and of objects by their size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import runner

from analyses import experiments
from analyses.experiments import multimodal as rules
from analyses.statistics.bootstrap import wilson
from workbench.results import strict_json
from workbench.results.files import write_csv
from workbench.results.table_files import to_markdown
from workbench.tables.render import case_studies
from workbench.vlm.scoring import paired

RESULTS = Path(__file__).parent / "results" / "multimodal"
SUMMARIES = Path(experiments.__file__).parent
PAGE = Path(__file__).parents[2] / "docs/vlm.md"


def results() -> list[dict]:
    """The runs that are done: studies by name, their rows by cost, the blind one last."""

    def place(run: dict) -> tuple:
        return run["study"], run["row"] == rules.BLIND, run["gmacs"], run["row"], run["seed"]

    return sorted(map(strict_json.read, RESULTS.glob("*-seed*.json")), key=place)


def prior(run: dict) -> dict:
    """As a run, what the most frequent answers would score in its study."""
    scores = run["most_frequent"]
    low, high = wilson(sum(scores), len(scores))
    return run | {
        "row": rules.PRIOR, "seed": 0, "gmacs": 0.0, "image_tokens": 0, "by_type": {},
        "scores": scores, "accuracy": float(np.mean(scores)), "low": low, "high": high,
    }  # fmt: skip


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
        if run["study"] in rules.STUDIES
        for name, found in run["by_type"].items()
    ]
    keys = ["study", "row", "seed", "source", "size"]
    table = pd.DataFrame(rows, columns=[*keys, "questions", "right"])
    return table.groupby(keys, sort=False).sum().reset_index()


def write_summary() -> None:
    """What `workbench tables --only 1 8 9` shows of these runs, and the tables of docs/vlm.md."""
    if not (runs := results()):
        return
    write_csv(by_size(runs), SUMMARIES / f"{rules.SIZES}.csv")
    priors = {run["study"]: prior(run) for run in runs}
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
            "by type (%)": by_type(run),
            **minus(differences(run, runs)),
        }
        for study in priors
        for run in [*(run for run in runs if run["study"] == study), priors[study]]
    ]
    write_csv(pd.DataFrame(shown), SUMMARIES / f"{rules.SUMMARY}.csv")
    runner.write_tables(page_tables(), PAGE)


def by_type(run: dict) -> str:
    """Accuracy of each type of question; empty for objects, which have a table by size."""
    if run["study"] in rules.STUDIES:
        return ""
    return ", ".join(f"{name} {100 * of['accuracy']:.1f}" for name, of in run["by_type"].items())


def page_tables() -> str:
    """The committed tables as docs/vlm.md has them: one of each study, one by size of objects."""
    _, _, frame = case_studies.experiment(rules.SUMMARY)
    texts = []
    for study, lines in frame.groupby("study", sort=False):
        shown = lines.drop(columns="study").loc[:, lambda frame: ~(frame == "").all()]
        texts += [f"**{study}**", to_markdown(shown, "")]
    sizes = case_studies.by_size()
    if len(sizes):
        sizes["right (%)"] = (100 * sizes["right"] / sizes["questions"]).round(1)
        keys = ["study", "row", "seed"]
        wide = sizes.pivot(index=keys, columns="size", values="right (%)")
        wide = wide[sorted(wide, reverse=True)].rename(columns=lambda size: f"{size} pixels (%)")
        texts += ["**objects, by size**", to_markdown(wide.reset_index(), "")]
    return "\n\n".join(texts)


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
        if same and other["row"] in rules.BASES and other["row"] != run["row"]:
            scores = (np.array(one["scores"]) for one in (run, other))
            found[other["row"]] = paired(*scores, np.array(run["rows"]))
    return found


def minus(found: dict[str, dict]) -> dict[str, float]:
    """Columns of the differences in points, with interval and p; NaN where there is none."""
    columns = {}
    for base in rules.BASES:
        one = found.get(base, dict.fromkeys(("difference", "low", "high", "p"), np.nan))
        for key, end in (("difference", ""), ("low", " low"), ("high", " high")):
            columns[f"minus {base}{end}"] = round(100 * one[key], 1)
        columns[f"minus {base} p"] = one["p"]
    return columns
