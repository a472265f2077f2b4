"""Tables of the runs of multimodal.py and object_tokens.py."""

from __future__ import annotations

from itertools import compress
from pathlib import Path

import numpy as np
import pandas as pd
import runner
from multimodal_studies import RESULTS, ROWS, STUDIES

from analyses import experiments
from analyses.experiments import multimodal as rules
from analyses.statistics.bootstrap import wilson
from analyses.statistics.trials import Mean, over_seeds
from feature_store import InputError
from workbench.results import strict_json
from workbench.results.files import write_csv
from workbench.results.table_files import to_markdown
from workbench.tables.render import case_studies, view
from workbench.vlm.scoring import paired

TOKENS = RESULTS.with_name("object_tokens")
"""Results of object_tokens.py."""
SUMMARIES = Path(experiments.__file__).parent
PAGE = Path(__file__).parents[2] / "docs/vlm_results.md"
Rows = dict[str, dict[int, dict]]
"""Runs of a study: row to seed to result."""


def results() -> list[dict]:
    """The runs that are done: studies from the easiest, rows by cost, the blind one last."""
    studies = list(STUDIES)

    def place(run: dict) -> tuple:
        study = studies.index(run["study"])
        return study, run["row"] == rules.BLIND, run["gmacs"], run["row"], run["seed"]

    return sorted(map(strict_json.read, RESULTS.glob("*-seed*.json")), key=place)


def grouped(runs: list[dict]) -> dict[str, Rows]:
    """Study to its rows, and at their end what the most frequent answers would score.

    Ends where the runs of a study were asked different questions.
    """
    studies: dict[str, Rows] = {}
    for run in runs:
        studies.setdefault(run["study"], {}).setdefault(run["row"], {})[run["seed"]] = run
    for study, rows in studies.items():
        found = {run["seed"]: run for own in rows.values() for run in own.values()}
        if len({run["questions_sha256"] for own in rows.values() for run in own.values()}) > 1:
            raise InputError(f"runs of {study} were asked different questions; repeat them all")
        prior = {"row": rules.PRIOR, "gmacs": 0.0, "image_tokens": 0}
        rows[rules.PRIOR] = {
            seed: {**run, **prior, "scores": run["most_frequent"]} for seed, run in found.items()
        }
    return studies


def by_size(runs: list[dict]) -> pd.DataFrame:
    """Questions and right answers by the two words of a type, such as `attribute 64`."""
    rows = []
    for run in (run for run in runs if run["study"] in rules.STUDIES):
        own = {key: run[key] for key in ("study", "row", "seed", "source")}
        types, scores = np.array(run["types"]), np.array(run["scores"])
        for name in sorted(set(run["types"])):
            (kind, size), found = name.split(), scores[types == name]
            own |= {"kind": kind, "size": int(size)}
            rows.append(own | {"questions": len(found), "right": round(found.sum())})
    return pd.DataFrame(rows, columns=[*rules.SIZE_KEYS, "questions", "right"])


def write_summary() -> None:
    """What `workbench tables --only 1 8 9` shows, and the tables of docs/vlm_results.md."""
    if not (runs := results()):
        return
    write_csv(by_size(runs), SUMMARIES / f"{rules.SIZES}.csv")
    studies, lines = grouped(runs), []
    for study, rows in studies.items():
        types = {name for own in rows.values() for run in own.values() for name in run["types"]}
        kinds = {name.split()[0] for name in types} if study in rules.STUDIES else ()
        for kind in ("", *sorted(kinds)):
            kept = {
                row: {seed: of_kind(run, kind) for seed, run in own.items()}
                for row, own in rows.items()
            }
            lines += [{"study": study, "kind": kind, **line(row, kept)} for row in rows]
    write_csv(pd.DataFrame(lines), SUMMARIES / f"{rules.SUMMARY}.csv")
    runner.write_tables(page_tables(studies), PAGE)


def of_kind(run: dict, kind: str) -> dict:
    """A run with the questions whose type begins with `kind`."""
    kept = [name.startswith(kind) for name in run["types"]]
    return run | {key: list(compress(run[key], kept)) for key in ("scores", "rows", "types")}


def line(row: str, rows: Rows) -> dict:
    """A row of a study: its accuracy over all its seeds, and its differences from the bases.

    A difference is over the seeds that both rows have. The most frequent answers have no seed.
    """
    own = rows[row]
    run = next(iter(own.values()))
    seeds = 0 if row == rules.PRIOR else len(own)
    mean = Mean(float(np.mean(run["scores"])), *wilson(sum(run["scores"]), len(run["scores"])))
    if seeds > 1:
        mean = over_seeds(np.stack([by_image(run) for run in own.values()]))
    value, low, high = np.clip(mean, 0, 1)
    found = {
        "row": row,
        "seeds": seeds,
        "GMACs": round(run["gmacs"], 3),
        "image tokens": run["image_tokens"],
        "questions": len(run["scores"]),
        "accuracy (%)": round(100 * value, 1),
        "low": round(100 * low, 1),
        "high": round(100 * high, 1),
        "by type (%)": by_type(list(own.values())),
    }
    for base in rules.BASES:
        for key, value in difference(row, base, rows).items():
            found[f"minus {base}{key}"] = value
    return found


def difference(row: str, base: str, rows: Rows) -> dict[str, float]:
    """Paired difference of two rows in points, its interval, McNemar's p, and its seeds.

    It is over the seeds that both rows have. p is that of a single seed. NaN where there is nothing
    to compare.
    """
    own, others = rows[row], {} if row == base else rows.get(base, {})
    pairs = [(own[seed], others[seed]) for seed in sorted(own) if seed in others]
    mean, p = Mean(np.nan, np.nan, np.nan), np.nan
    if len(pairs) == 1:
        (one,) = pairs
        found = paired(*(np.array(run["scores"]) for run in one), np.array(one[0]["rows"]))
        mean, p = Mean(*(found[key] for key in ("difference", "low", "high"))), found["p"]
    elif pairs:
        sides = [by_image(one) - by_image(other) for one, other in pairs]
        mean = over_seeds(np.stack(sides))
    value, low, high = (round(100 * one, 1) for one in mean)
    return {"": value, " low": low, " high": high, " p": p, " seeds": len(pairs)}


def by_image(run: dict) -> np.ndarray:
    """Share of each image in the mean score, averaging to it: dims (image,).

    Means over these are means over questions, also where images have different numbers of them.
    """
    _, image = np.unique(run["rows"], return_inverse=True)
    return np.bincount(image, weights=run["scores"]) / np.bincount(image).mean()


def by_type(runs: list[dict]) -> str:
    """Accuracy of each type of question over all seeds; objects have a table by size instead."""
    if runs[0]["study"] in rules.STUDIES:
        return ""
    scores, types = (np.concatenate([run[key] for run in runs]) for key in ("scores", "types"))
    means = {name: 100 * scores[types == name].mean() for name in sorted(set(types))}
    return ", ".join(f"{name} {mean:.1f}" for name, mean in means.items())


def page_tables(studies: dict[str, Rows]) -> str:
    """The committed tables as docs/vlm_results.md has them: of each study and kind of question, by
    size, of single tokens."""
    _, _, frame = case_studies.experiment(rules.SUMMARY)
    probed = {run["study"] for run in token_runs()}
    texts = []
    for study, lines in frame.groupby("study", sort=False):
        shown = {
            ", ".join(filter(None, (study, kind))): found.drop(columns=["study", "kind"])
            for kind, found in lines.groupby("kind", sort=False)
        }
        if study in rules.STUDIES:
            shown[f"{study}, by size"] = sizes_frame(studies[study])
        if study in probed:
            shown[f"{study}, colours that a linear classifier reads from a token"] = tokens_frame(
                study
            )
        for title, table in shown.items():
            filled = table.loc[:, ~(table == "").all()]
            texts += [f"**{title}**", to_markdown(filled, "")]
    return "\n\n".join(texts)


def sizes_frame(rows: Rows) -> pd.DataFrame:
    """A line for each row of a study: right answers by type, in percent over all seeds."""
    sizes = by_size([run for own in rows.values() for run in own.values()])
    sums = sizes.groupby(["row", "kind", "size"])[["right", "questions"]].sum()
    shares = (100 * sums["right"] / sums["questions"]).round(1)
    lines = []
    for row in rows:
        of_row = shares.loc[row].sort_index(ascending=[True, False])
        found = {f"{kind} {size} (%)": share for (kind, size), share in of_row.items()}
        lines.append({"row": row, **found})
    return pd.DataFrame(lines)


def token_runs() -> list[dict]:
    """Results of object_tokens.py, by cost."""
    runs = map(strict_json.read, TOKENS.glob("*.json"))
    return sorted(runs, key=lambda run: (ROWS[run["row"]].gmacs, run["row"]))


def tokens_frame(study: str) -> pd.DataFrame:
    """A line for each token and row of object_tokens.py: colours read right, in percent."""
    runs = {run["row"]: run for run in token_runs() if run["study"] == study}
    base, lines = runs.get(rules.BASE), []
    for token in next(iter(runs.values()))["hits"]:
        for row, run in runs.items():
            sizes, hits = np.array(run["sizes"]), np.array(run["hits"][token])
            found: dict = {"token": token, "row": row}
            for size in sorted(set(run["sizes"]), reverse=True):
                found[f"{size} (%)"] = round(100 * hits[sizes == size].mean(), 1)
            found["all (%)"] = round(100 * hits.mean(), 1)
            found[f"minus {rules.BASE}"] = ""
            if base is not None and run is not base:
                gain = paired(hits, np.array(base["hits"][token]), np.arange(len(hits)))
                ends = (100 * gain[key] for key in ("difference", "low", "high"))
                found[f"minus {rules.BASE}"] = view.paired(*ends, gain["p"])
            lines.append(found)
    return pd.DataFrame(lines)


def summary() -> list[dict]:
    """Every run, by type of question."""
    rows = []
    for run in results():
        row = {key: run[key] for key in ("study", "row", "seed", "gmacs", "questions")}
        row |= {key: round(run[key], 4) for key in ("accuracy", "low", "high")}
        row["last_loss"] = round(run["stages"][-1]["last_loss"], 4)
        row["by_type"] = {name: round(of["accuracy"], 3) for name, of in run["by_type"].items()}
        rows.append(row)
    return rows
