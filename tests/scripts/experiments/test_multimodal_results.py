"""Tables and figures of the multimodal experiment, from hand-made results."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pandas as pd
import pytest

from analyses import experiments
from analyses.experiments import multimodal as rules
from analyses.published import load
from feature_store import InputError
from workbench.tables.render import case_studies, figures
from workbench.tables.specs import tables

SCRIPT = Path(__file__).parents[3] / "scripts/experiments/multimodal.py"
S2 = rules.FINEST


def test_rows_are_compared_over_the_same_questions(put, table):
    put("easy-vqa", "blind", {"colour": 5})
    put("easy-vqa", "Lite0", {"colour": 20})
    put("easy-vqa", "Lite0-S2", {"colour": 36})
    put("daquar", "Lite0", {"colour": 0})
    found = table()[2].set_index(["study", "row"])
    assert found.loc[("easy-vqa", "Lite0-S2"), "minus Lite0"].startswith("+40.0 [+20.0")
    assert found.loc[("easy-vqa", "Lite0"), "minus blind"].startswith("+37.5 ")
    assert found.loc[("easy-vqa", "Lite0"), "minus Lite0"] == ""
    assert found.loc[("daquar", "Lite0"), "minus blind"] == ""
    prior = found.loc[("easy-vqa", rules.PRIOR)]
    assert prior["accuracy (%)"].startswith("50.0 [")
    assert prior["minus Lite0"].startswith("+0.0 ")
    assert list(found.loc["easy-vqa"].index) == ["Lite0", "Lite0-S2", "blind", rules.PRIOR]


def test_seeds_are_averaged_and_differences_are_over_those_that_both_rows_have(put, table):
    for seed, right in ((0, 5), (1, 7)):
        put("easy-vqa", "blind", {"colour": right, "shape": 0}, seed)
    for seed, right in ((0, 20), (1, 10), (2, 0)):
        put("easy-vqa", "Lite0", {"colour": right, "shape": 0}, seed)
    found = table()[2].set_index("row")
    lite, blind = found.loc["Lite0"], found.loc["blind"]
    assert (lite["seeds"], lite["accuracy (%)"][:6]) == (3, "12.5 [")  # 30 of 240
    assert lite["accuracy (%)"].endswith("[0.0, 44.4]"), "no share is below 0"
    assert lite["minus blind"].startswith("+11.2 [")  # 30 and 12 of 160
    assert lite["minus blind"].endswith("(2 seeds)")
    assert ", p" not in lite["minus blind"], "several seeds"
    assert blind["minus Lite0"].startswith("−11.2 [")
    assert blind["minus Lite0"].endswith("]"), "both seeds that it has"
    assert lite["by type (%)"] == "colour 25.0, shape 0.0"
    put("easy-vqa", "Lite0", {"colour": 20, "shape": 0}, 3, sha256="other")
    with pytest.raises(InputError, match="easy-vqa were asked different questions"):
        table()


def test_rows_of_objects_are_compared_on_each_kind_of_question(put, table):
    study = rules.STUDIES[0]
    for row, right in (("blind", 8), ("Lite0", 10), (S2, 30)):
        put(study, row, {"spatial 64": 20, "attribute 64": right, "attribute 32": right})
    put("daquar", "Lite0", {"colour": 3})
    found = table()[2].set_index(["study", "kind", "row"])
    assert list(dict.fromkeys(found.loc[study].index.get_level_values(0))) == [
        "",
        "attribute",
        "spatial",
    ]
    s2 = found.xs((study, S2), level=("study", "row"))
    assert s2["questions"].tolist() == [120, 80, 40]
    assert [text.partition(" ")[0] for text in s2["accuracy (%)"]] == ["66.7", "75.0", "50.0"]
    assert [text.partition(" ")[0] for text in s2["minus Lite0"]] == ["+33.3", "+50.0", "+0.0"]
    costs = case_studies.by_cost()
    unlearned = f"{study}, spatial\n(the pilot did not learn these)"
    assert costs["study"].unique().tolist() == ["daquar", f"{study}, attribute", unlearned]
    assert costs.loc[costs["row"] == S2, "value"].tolist() == [75, 50]


def test_sizes_are_pooled_over_seeds_and_drawn_as_seen_for_each_kind(put, table, tmp_path):
    assert case_studies.sizes_figure() is None
    for seed in (0, 1):
        put(rules.STUDIES[0], "Lite0", {"attribute 64": 20, "spatial 64": 30}, seed)
        put(rules.STUDIES[0], S2, {"attribute 64": 30, "spatial 8": 20}, seed)
    put("daquar", "Lite0", {"colour": 3})
    _, _, frame = table()
    seeds = frame.loc[frame["kind"] == "", "seeds"].tolist()
    assert seeds == [1, 0, 2, 2, 0], "each study with its prior, without a seed"
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


def test_rows_of_objects_are_told_apart_without_colour(multimodal, put):
    for row in multimodal["STUDIES"][rules.STUDIES[0]].rows:
        put(rules.STUDIES[0], row, {"attribute 64": 20})
    multimodal["write_summary"]()
    curves = case_studies.sizes_figure().axes[0].lines
    looks = {(curve.get_marker(), curve.get_linestyle()) for curve in curves}
    assert len(looks) == len(curves) == len(multimodal["STUDIES"][rules.STUDIES[0]].rows)


def test_figure_3_has_the_printed_benchmarks_and_a_panel_for_each_study(put, table):
    drawn = figures.language_models(*published())
    assert [len(ax.get_lines()) for ax in drawn.axes] == [2, 2, 2]
    _, s2 = drawn.axes[0].get_lines()
    overall = [round(value * 191 / 100) for value in s2.get_ydata()]
    assert overall == [80, 84, 89], "right answers of 191"
    put("easy-vqa", "blind", {"colour": 5})
    put("easy-vqa", "Lite0", {"colour": 20})
    put("easy-vqa", "Lite0, random start", {"colour": 9})
    put(rules.STUDIES[0], "blind", {"attribute 64": 5})
    table()
    drawn = figures.language_models(*published())
    here = [ax for ax in drawn.axes if ax.get_title("left").startswith("here")]
    assert [ax.get_title("left") for ax in here] == ["here: easy-vqa"]
    names = {"Lite0", "Lite0, random start", "blind", rules.PRIOR}
    assert set(here[0].get_legend_handles_labels()[1]) == names
    printed, measured = ({text.get_text() for text in key.texts} for key in drawn.legends)
    assert (len(printed), measured) == (2, names)
    assert "equal costs side by side" in here[0].get_xlabel()


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


@pytest.fixture
def results(monkeypatch):
    """The script on the committed runs."""
    pytest.importorskip("peft", reason="install the extra: vlm")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return runpy.run_path(str(SCRIPT.with_name("multimodal_results.py")))


def test_the_committed_tables_are_the_summary_of_the_committed_runs(results, tmp_path, monkeypatch):
    committed, runner, page = results["SUMMARIES"], results["runner"], tmp_path / "page.md"
    page.write_text(f"{runner.BEGIN}{runner.END}", "utf-8")
    tables = results["write_summary"].__globals__
    monkeypatch.setitem(tables, "SUMMARIES", tmp_path)
    monkeypatch.setitem(tables, "PAGE", page)
    monkeypatch.setattr(experiments, "files", lambda name: tmp_path)
    results["write_summary"]()
    for name in (rules.SUMMARY, rules.SIZES):
        files = (folder / f"{name}.csv" for folder in (committed, tmp_path))
        pd.testing.assert_frame_equal(*map(pd.read_csv, files))
    stored, written = map(runner.tables_of, (results["PAGE"], page))
    assert stored == written, "run multimodal.py --summary"


def test_the_words_of_the_page_have_no_other_figures_than_its_tables(results):
    text, runner = results["PAGE"].read_text("utf-8"), results["runner"]
    tables, prose = runner.tables_of(results["PAGE"]), text.partition(runner.BEGIN)[0]
    in_short, _, of_studies = prose.partition("## Results")
    parts = re.split(r"\n\n(?=\*\*)", tables)
    named = set()
    for paragraph in of_studies.split("\n- **")[1:]:
        paragraph = paragraph.partition("\n\n")[0]
        study = re.match(r"[\w-]+", paragraph)[0]
        named.add(study)
        own = "".join(part for part in parts if f"**{study}" in part[:40])
        figures = set(re.findall(r"\d+\.\d+", paragraph))
        assert figures, paragraph
        assert sorted(figures - set(re.findall(r"\d+\.\d+", own))) == [], study
    assert named == set(re.findall(r"^\*\*([\w-]+)\*\*$", tables, re.M))
    gains = set(re.findall(r"[+−]\d+\.\d", in_short))
    assert gains
    assert sorted(gains - set(re.findall(r"[+−]\d+\.\d", tables))) == []
