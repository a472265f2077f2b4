"""Tables of the runs of multimodal.py and object_tokens.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import runner
from multimodal_studies import RESULTS, ROWS
from small_objects import KINDS

from analyses import experiments
from analyses.experiments import multimodal as rules
from analyses.statistics.bootstrap import wilson
from analyses.statistics.trials import Mean, over_seeds
from workbench.results import strict_json
from workbench.results.files import write_csv
from workbench.results.table_files import to_markdown
from workbench.tables.render import case_studies, view
from workbench.vlm.scoring import paired

TOKENS = RESULTS.with_name("object_tokens")
"""Results of object_tokens.py."""
SUMMARIES = Path(experiments.__file__).parent
PAGE = Path(__file__).parents[2] / "docs/vlm.md"
Rows = dict[str, dict[int, dict]]
"""Runs of a study: row to seed to result."""


def results() -> list[dict]:
    """The runs that are done: studies by name, their rows by cost, the blind one last."""

    def place(run: dict) -> tuple:
        return run["study"], run["row"] == rules.BLIND, run["gmacs"], run["row"], run["seed"]

    return sorted(map(strict_json.read, RESULTS.glob("*-seed*.json")), key=place)


def grouped(runs: list[dict]) -> dict[str, Rows]:
    """Study to its rows, and at their end what the most frequent answers would score."""
    studies: dict[str, Rows] = {}
    for run in runs:
        studies.setdefault(run["study"], {}).setdefault(run["row"], {})[run["seed"]] = run
    for rows in studies.values():
        rows[rules.PRIOR] = {
            run["seed"]: prior(run) for own in rows.values() for run in own.values()
        }
    return studies


def prior(run: dict) -> dict:
    """As a run, what the most frequent answers would score in its study."""
    scores = run["most_frequent"]
    low, high = wilson(sum(scores), len(scores))
    return run | {
        "row": rules.PRIOR, "gmacs": 0.0, "image_tokens": 0, "by_type": {}, "scores": scores,
        "accuracy": float(np.mean(scores)), "low": low, "high": high,
    }  # fmt: skip


def by_size(runs: list[dict]) -> pd.DataFrame:
    """Questions and right answers by the two words of a type, such as `attribute 64`."""
    rows = []
    for run in runs:
        for name, found in run["by_type"].items() if run["study"] in rules.STUDIES else ():
            kind, size = name.split()
            own = {key: run[key] for key in ("study", "row", "seed", "source")}
            right = round(found["accuracy"] * found["questions"])
            own |= {"kind": kind, "size": int(size)}
            rows.append(own | {"questions": found["questions"], "right": right})
    return pd.DataFrame(rows, columns=[*rules.SIZE_KEYS, "questions", "right"])


def write_summary() -> None:
    """What `workbench tables --only 1 8 9` shows of these runs, and the tables of docs/vlm.md."""
    if not (runs := results()):
        return
    write_csv(by_size(runs), SUMMARIES / f"{rules.SIZES}.csv")
    lines = [
        {"study": study, **line(row, rows)} for study, rows in grouped(runs).items() for row in rows
    ]
    write_csv(pd.DataFrame(lines), SUMMARIES / f"{rules.SUMMARY}.csv")
    runner.write_tables(page_tables(), PAGE)


def line(row: str, rows: Rows) -> dict:
    """A row of a study: its accuracy over all seeds, and its differences from the bases."""
    own = rows[row]
    run = next(iter(own.values()))
    mean = Mean(*(run[key] for key in ("accuracy", "low", "high")))
    if len(own) > 1:
        mean = over_seeds(np.stack([by_image(run) for run in own.values()]))
    found = {
        "row": row,
        "seeds": len(own),
        "GMACs": round(run["gmacs"], 3),
        "image tokens": run["image_tokens"],
        "questions": run["questions"],
        "accuracy (%)": round(100 * mean.value, 1),
        "low": round(100 * mean.low, 1),
        "high": round(100 * mean.high, 1),
        "by type (%)": by_type(run),
    }
    for base in rules.BASES:
        columns = dict.fromkeys(("", " low", " high", " p"), np.nan)
        if base != row and (seeds := sorted(set(own) & set(rows.get(base, {})))):
            columns = difference([(own[seed], rows[base][seed]) for seed in seeds])
        found |= {f"minus {base}{end}": value for end, value in columns.items()}
    return found


def difference(pairs: list[tuple[dict, dict]]) -> dict[str, float]:
    """Paired difference in points, its interval, and McNemar's p of a single seed."""
    if len(pairs) == 1:
        (one,) = pairs
        found = paired(*(np.array(run["scores"]) for run in one), np.array(one[0]["rows"]))
        mean, p = Mean(*(found[key] for key in ("difference", "low", "high"))), found["p"]
    else:
        mean = over_seeds(np.stack([by_image(one) - by_image(other) for one, other in pairs]))
        p = np.nan
    value, low, high = (round(100 * one, 1) for one in mean)
    return {"": value, " low": low, " high": high, " p": p}


def by_image(run: dict) -> np.ndarray:
    """Mean score of the questions about each image: float, dims (image,)."""
    _, image = np.unique(run["rows"], return_inverse=True)
    return np.bincount(image, weights=run["scores"]) / np.bincount(image)


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
    for study, sizes in case_studies.by_size().groupby("study", sort=False):
        right = sizes.groupby(["row", "kind", "size"])[["right", "questions"]].sum()
        wide = (100 * right["right"] / right["questions"]).round(1).unstack(["kind", "size"])
        wide = wide.loc[list(dict.fromkeys(sizes["row"]))]
        wide = wide[sorted(wide, key=lambda column: (column[0], -column[1]))]
        wide.columns = [f"{kind} {size} (%)" for kind, size in wide]
        texts += [f"**{study}, by size**", to_markdown(wide.reset_index(), "")]
    for study, lines in tokens_frame().groupby("study", sort=False):
        texts += [f"**{study}, read from a token linearly**", to_markdown(lines.iloc[:, 1:], "")]
    return "\n\n".join(texts)


def tokens_frame() -> pd.DataFrame:
    """A line for each row and token of object_tokens.py: right answers in percent.

    The difference from the first of :data:`~analyses.experiments.multimodal.BASES` is over colours
    of all sizes.
    """
    runs = {(run["study"], run["row"]): run for run in map(strict_json.read, TOKENS.glob("*.json"))}
    lines = []
    for study, row in sorted(runs, key=lambda key: (key[0], ROWS[key[1]].gmacs, key[1])):
        run, base = runs[study, row], runs.get((study, rules.BASES[0]))
        sizes = np.array(run["sizes"])
        for token, kinds in run["hits"].items():
            found: dict = {"study": study, "row": row, "token": token}
            for kind, hits in kinds.items():
                for size in sorted(set(run["sizes"]), reverse=True):
                    share = np.array(hits)[sizes == size].mean()
                    found[f"{kind} {size} (%)"] = round(100 * share, 1)
            if base is not None and row != base["row"]:
                colours = (np.array(one["hits"][token][KINDS[0]]) for one in (run, base))
                gain = paired(*colours, np.arange(len(sizes)))
                ends = (100 * gain[key] for key in ("difference", "low", "high"))
                found[f"{KINDS[0]} minus {rules.BASES[0]}"] = view.paired(*ends, gain["p"])
            lines.append(found)
    return pd.DataFrame(lines, columns=None if lines else ["study"]).fillna("")


def summary() -> list[dict]:
    """Every run, by type of question."""
    rows = []
    for run in results():
        row = {key: run[key] for key in ("study", "row", "seed", "gmacs", "questions")}
        row |= {key: round(run[key], 4) for key in ("accuracy", "low", "high", "last_loss")}
        row["by_type"] = {name: round(of["accuracy"], 3) for name, of in run["by_type"].items()}
        rows.append(row)
    return rows
